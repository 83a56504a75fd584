// What an earlier benchmark result has of a sweep.
#pragma once

#include <cstddef>
#include <map>
#include <set>
#include <string>

#include "cli/bench_options.h"
#include "core/bench_results.h"

namespace mlbench::cli {

// No file of results is larger.
inline constexpr std::size_t kLargestRun = std::size_t{1} << 30U;

// Rows of an earlier run that need not be run again.
class Resumed {
 public:
  // `file`: empty for none. Throws bench.resume unless it was measured as `own` is going to be.
  Resumed(const std::string& file, const BenchRun& own);

  [[nodiscard]] const BenchRow* find(const PlannedRow& row) const;
  // Points of which the earlier run has every row, by their number in the sweep: methods of one point are timed
  // together.
  [[nodiscard]] std::set<std::size_t> whole_points(const PlannedSweep& sweep) const;

 private:
  BenchRun run_;
  std::map<std::string, const BenchRow*> whole_;
};

}  // namespace mlbench::cli
