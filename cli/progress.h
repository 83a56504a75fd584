// One line on the terminal that says how far a long run is. Nothing where standard error is none.
#pragma once

#include <chrono>
#include <string>

namespace mlbench::cli {

class ProgressLine {
 public:
  explicit ProgressLine(bool enabled) : enabled_(enabled) {}
  ~ProgressLine() { clear(); }
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  // `done` in [0, 1]. Redrawn at most ten times a second.
  void show(const std::string& doing, double done);
  void clear();

 private:
  using Clock = std::chrono::steady_clock;
  bool enabled_;
  bool shown_ = false;
  Clock::time_point start_ = Clock::now();
  Clock::time_point last_{};
};

}  // namespace mlbench::cli
