#include "cli/progress.h"

#include <cstdio>

#include <fmt/format.h>

namespace mlbench::cli {

void ProgressLine::show(const std::string& doing, double done) {
  const auto now = Clock::now();
  if (!enabled_ || now - last_ < std::chrono::milliseconds(100)) return;
  last_ = now;
  const std::chrono::duration<double> spent = now - start_;
  // Too early, an estimate is worth nothing.
  const bool known = done > 0.03 && spent.count() > 2.0;
  const std::string left = known ? fmt::format(", about {:.0f} s left", spent.count() * (1.0 - done) / done) : "";
  fmt::print(stderr, "\r\x1b[K{:3.0f}% {:.0f} s{}  {}", 100.0 * done, spent.count(), left, doing);
  std::fflush(stderr);
  shown_ = true;
}

void ProgressLine::clear() {
  if (shown_) fmt::print(stderr, "\r\x1b[K");
  shown_ = false;
}

}  // namespace mlbench::cli
