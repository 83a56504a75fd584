// What a selftest counted, for people and for programs.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "core/selftest_results.h"

namespace mlbench::reports {

// A row per type, then one per mistake, the alarms, and the verdict with what is short of what is required.
[[nodiscard]] std::string to_text(const SelftestResults& results, bool color);

// Documented in docs/selftest.md. Numbers that are not finite are null.
[[nodiscard]] nlohmann::ordered_json to_json(const SelftestResults& results);

}  // namespace mlbench::reports
