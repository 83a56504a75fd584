// Heat maps of error / limit for the page: which verifications get one, and what stands in it.
#pragma once

#include <map>
#include <span>
#include <utility>
#include <vector>

#include "reports/dashboard/columns.h"
#include "reports/dashboard/history.h"

namespace mlbench::reports::dashboard {

// What makes verifications one series.
[[nodiscard]] std::string series_of(const StoredVerification& part);

using PartKey = std::pair<RunId, Index>;  // a run and a place among its verifications

// Those that get one: the newest kHeatMapsPerSeries of each series.
[[nodiscard]] std::vector<PartKey> newest_parts(const std::vector<RunHead>& runs,
                                                const std::vector<StoredVerification>& verifications);

// Of the taps of one verification.
[[nodiscard]] nlohmann::ordered_json heat_map(const std::vector<const StoredTap*>& taps, Texts& texts);

}  // namespace mlbench::reports::dashboard
