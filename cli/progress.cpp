#include "cli/progress.h"

#include <cstdio>

#include <fmt/format.h>

namespace mlbench::cli {

void ProgressLine::show(const std::string& doing, double done) {
  const auto now = Clock::now();
  if (!enabled_ || now - last_ < std::chrono::milliseconds(100)) return;
  last_ = now;
  const std::chrono::duration<double> spent = now - start_;
  fmt::print(stderr, "\r\x1b[K{:3.0f}% {:.0f} s  {}", 100.0 * done, spent.count(), doing);
  std::fflush(stderr);
  shown_ = true;
}

void ProgressLine::clear() {
  if (shown_) fmt::print(stderr, "\r\x1b[K");
  shown_ = false;
}

}  // namespace mlbench::cli
