// Which rows of two runs, or sets of runs, measured the same thing.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/bench_results.h"

namespace mlbench::measure {

// What one side has of one row.
struct Measured {
  BenchPoint point;
  std::string method;
  std::vector<const BenchRow*> rows;  // run by run
};
[[nodiscard]] std::vector<Measured> measured_in(std::span<const BenchRun> runs);

struct Pair {
  const Measured* base;
  const Measured* next;
  std::string differs;  // "device differs: 0 and 1"
};

// Rows of the same point first; then of those left, what was measured on another device or backend, where there is but
// one such row.
[[nodiscard]] std::vector<Pair> matched(const std::vector<Measured>& base, const std::vector<Measured>& next);

// Rows of one side that no pair has.
[[nodiscard]] std::vector<std::string> left_over(const std::vector<Measured>& all, const std::vector<Pair>& pairs,
                                                 const Measured* Pair::*side);

// The first fact that is known of two runs, not the same, and may not differ; "" where there is none.
[[nodiscard]] std::string surroundings_differ(std::span<const BenchRun> base, std::span<const BenchRun> next);

// Why the times of a side are none to compare; "": they are.
[[nodiscard]] std::string unfit(std::string_view side, const Measured& measured);

}  // namespace mlbench::measure
