// What the dashboard is made from: runs as the store keeps them.
#pragma once

#include <vector>

#include "reports/store/store.h"

namespace mlbench::reports::dashboard {

struct History {
  std::vector<RunHead> runs;  // by time, then by id
  // Of these runs, in any order; of others they are left out.
  std::vector<StoredVerification> verifications;
  std::vector<StoredTap> taps;
  std::vector<StoredRow> rows;
  std::vector<StoredProbe> probes;
  std::vector<StoredFact> facts;  // those of a run in their order
};

// Heat maps are drawn of so many of the newest verifications of each model, backend, device, type and split.
inline constexpr std::size_t kHeatMapsPerSeries = 5;

// The runs whose taps that needs. Taps of other runs are not drawn.
[[nodiscard]] std::vector<RunId> runs_with_heat_maps(const std::vector<RunHead>& runs,
                                                     const std::vector<StoredVerification>& verifications);

}  // namespace mlbench::reports::dashboard
