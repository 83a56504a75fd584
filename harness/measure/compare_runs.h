// Whether two runs, or two sets of runs, of a benchmark differ: same, faster, slower, or undecided.
#pragma once

#include <cstdint>
#include <span>

#include "core/bench_results.h"

namespace mlbench::measure {

struct CompareOptions {
  double confidence = 0.95;    // of the interval of each ratio
  double floor = 0.02;         // a change of the median that is smaller does not matter
  double family_error = 0.01;  // chance of any false alarm among the rows, by Holm's correction
  std::uint64_t seed = 1;      // of the bootstrap
  // Relative standard deviation of the medians of runs of one build, where it is known from comparing a build with
  // itself. Nothing inside of one run tells it; where there is one run of a side, it widens the interval.
  double between_runs = 0.0;
  // The runs were interleaved, repetition by repetition: the i-th sample of the i-th run of one side is a neighbour of
  // the other's.
  bool paired = false;
  bool force = false;  // compare what was measured in different surroundings
};

// How rows are compared:
//   paired            the median of log(next_i / base_i), its interval by order statistics, p by signed ranks; of three
//                     runs a side or more, of the runs' medians of that;
//   >= 3 runs a side  by the median of each run, which count as independent;
//   else              by samples in the order of time, each series worth its effective_samples.
// slower (faster): the whole interval of the ratio lies above 1 + floor (below 1 - floor), the corrected p is below
// the family error, and no side's own parts differ as much as the sides do. same: the whole interval lies between.
// All else is undecided. Throws a request error (usage) where the options contradict themselves or a side has no run.
[[nodiscard]] BenchComparison compare_runs(std::span<const BenchRun> base, std::span<const BenchRun> next,
                                           const CompareOptions& options);

}  // namespace mlbench::measure
