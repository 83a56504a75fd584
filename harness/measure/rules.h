// When a measurement is warm, and when it has repetitions enough. Both are fed one time after the other and know
// nothing of clocks or backends.
#pragma once

#include <cstddef>
#include <vector>

#include "core/bench_results.h"

namespace mlbench::measure {

struct WarmUpOptions {
  double tolerance = 0.02;    // relative; a drift that stays below it is none
  double max_seconds = 10.0;  // of repetitions, then it gives up
};

// Times have settled when over the last two thirds of the repetitions (at least 6) the slope of log(seconds), with
// 1.645 times its standard error added to its size, amounts to no more than the tolerance over that window or over 30
// repetitions, whichever is longer; and that at two looks in a row, which lie an eighth of the repetitions apart.
// Where noise is so large that this would take hundreds of them, a drift of twice its standard deviation is tolerated.
// The slope is the median of the slopes of all pairs (Theil 1950, Sen 1968) and the noise comes from the median
// distance to that line, so that single outliers, the first repetition among them, change nothing.
// A confirmed absence of drift is asked for: that a test sees no drift in six repetitions says little.
class WarmUp {
 public:
  explicit WarmUp(const WarmUpOptions& options = {});

  void add(double seconds);
  [[nodiscard]] bool settled() const { return settled_; }
  [[nodiscard]] bool gave_up() const { return !settled_ && seconds_ >= options_.max_seconds; }
  [[nodiscard]] bool done() const { return settled_ || gave_up(); }

 private:
  [[nodiscard]] bool flat() const;
  void look();

  WarmUpOptions options_;
  std::vector<double> logs_;  // of means of `each_` repetitions; halved in number when there are too many
  Index each_ = 1;
  double open_ = 0.0;  // sum of the repetitions that make no full mean yet
  Index in_open_ = 0;
  double seconds_ = 0.0;
  std::size_t next_look_ = 8;  // at so many means
  bool flat_before_ = false;
  bool settled_ = false;
};

struct StoppingOptions {
  double precision = 0.01;  // half-width of the median's interval / median
  double confidence = 0.95;
  Index least = 5;            // repetitions that precision needs at least
  double max_seconds = 10.0;  // of repetitions
};

// The interval is looked at when there is a twentieth more repetitions than the last time: looking after each would
// stop at the luckiest moment, and take quadratic time.
class StoppingRule {
 public:
  // Throws a request error (usage) where no series could fulfil the options.
  explicit StoppingRule(const StoppingOptions& options = {});

  void add(double seconds);
  [[nodiscard]] bool done() const { return precise_ || seconds_ >= options_.max_seconds; }
  // Once it is done.
  [[nodiscard]] BenchStop reason() const { return precise_ ? BenchStop::precision : BenchStop::max_time; }
  // Half-width of the median's interval / median at the last look; infinite where there are too few samples.
  [[nodiscard]] double half_width() const { return half_width_; }
  // How many more repetitions it will take, as far as one can tell: widths shrink with the square root of their number.
  [[nodiscard]] Index left() const;
  [[nodiscard]] double progress() const;  // from 0 to 1

 private:
  StoppingOptions options_;
  std::vector<double> samples_;
  double seconds_ = 0.0;
  double half_width_;
  Index looked_at_ = 0;  // samples at the last look
  bool precise_ = false;
};

}  // namespace mlbench::measure
