// Repetitions of many points, interleaved in random order so that drift hits all alike: warmed up, repeated until the
// median is precise enough or the time is spent, and checked.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "harness/measure/output_check.h"
#include "harness/measure/testbed.h"

namespace mlbench::measure {

// A point and what is timed at it.
struct PointPlan {
  BenchPoint point;
  std::vector<backends::Method> methods;
};

// Who runs the points of a sweep: this program, or another build of it in a process of its own. What it throws is the
// error of that point's rows.
class Contender {
 public:
  virtual ~Contender() = default;
  virtual std::vector<TimedMethod> repeat(std::size_t point) = 0;
  // Of all repetitions so far, by method.
  virtual std::vector<Verified> check(std::size_t point) = 0;
  // Most bytes that its process has held so far.
  virtual std::uint64_t peak_memory() = 0;
  // The points of a group are done, what they needed may go.
  virtual void release() {}
};

struct MeasureOptions {
  double precision = 0.01;  // half-width of the median's interval, relative
  double confidence = 0.95;
  double max_time = 10.0;  // seconds of repetitions of one point, after its warm-up
  double max_warmup = 3.0;
  bool check = true;
  std::uint64_t seed = 1;             // of the order
  std::function<bool()> interrupted;  // asked between repetitions
  std::function<void(const std::string& doing, double done)> progress;
};

// Measures the points of `groups`, one group after the other, those within one interleaved; with several contenders
// each repetition is run by all of them, in random order. Rows by contender, then in the order of the points and their
// methods; those that an interruption left without a sample are missing.
[[nodiscard]] std::vector<std::vector<BenchRow>> measure(std::span<Contender* const> contenders,
                                                         std::span<const PointPlan> points,
                                                         const std::vector<std::vector<std::size_t>>& groups,
                                                         const MeasureOptions& options);

}  // namespace mlbench::measure
