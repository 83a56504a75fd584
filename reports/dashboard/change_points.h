// Where the level of a series of throughputs changed: offline, over the whole series at once.
//
// Method: least squares on log(throughput), segments of constant level, by PELT (Killick, Fearnhead and Eckley, Journal
// of the American Statistical Association 107, 2012), which finds the best segmentation exactly. A run's weight is 1 /
// (noise between runs^2 + its own^2), its own from its confidence interval. The noise between runs is estimated from
// differences of runs 1 to 12 apart, which a change of level hardly touches. Single runs that stray are pulled back
// to 2.5 times the noise from the median of their neighbours. docs/dashboard.md says how often it is right.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "core/bench_results.h"

namespace mlbench::reports::dashboard {

inline constexpr std::size_t kChangeWindow = 2000;  // newest runs of a series that are looked at
inline constexpr std::size_t kShortestSeries = 8;   // in shorter ones nothing is found
inline constexpr std::size_t kShortestLevel = 3;    // runs that a level lasts at least
inline constexpr double kSmallestChange = 0.02;     // a smaller one does not count, as in comparisons

struct ChangePoint {
  std::size_t first = 0;  // of the series: the first run at the new level
  Estimate ratio;         // new level / old; low and high: of the noise of both levels, at 95%
};

// In the order of the series; its intervals are taken as 95% ones, and values that are not positive are an error of the
// caller.
[[nodiscard]] std::vector<ChangePoint> change_points(std::span<const Estimate> series);

}  // namespace mlbench::reports::dashboard
