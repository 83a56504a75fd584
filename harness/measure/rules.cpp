#include "harness/measure/rules.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

#include <fmt/format.h>

#include "core/error.h"
#include "harness/measure/statistics.h"

namespace mlbench::measure {
namespace {

constexpr std::size_t kLeastWindow = 6, kMostMeans = 40;
constexpr double kHorizon = 30.0;     // repetitions over which a drift is foreseen
constexpr double kOneSided = 1.645;   // 95% quantile of the normal distribution
constexpr double kOfNormal = 1.4826;  // standard deviation / median absolute deviation
// A time of 0 has no logarithm; clocks tick in nanoseconds.
constexpr double kTick = 1e-9;

struct Line {
  double slope = 0.0;  // per element
  double noise = 0.0;  // standard deviation of the elements about it
};

Line fit(std::span<const double> y) {
  std::vector<double> slopes;
  for (std::size_t i = 0; i < y.size(); ++i) {
    for (std::size_t j = i + 1; j < y.size(); ++j) slopes.push_back((y[j] - y[i]) / static_cast<double>(j - i));
  }
  const double slope = median(slopes);
  std::vector<double> rests;
  for (std::size_t i = 0; i < y.size(); ++i) rests.push_back(y[i] - slope * static_cast<double>(i));
  // Two of the deviations are spent on the line itself.
  const auto n = static_cast<double>(y.size());
  return {slope, kOfNormal * median_absolute_deviation(rests) * std::sqrt(n / (n - 2.0))};
}

}  // namespace

WarmUp::WarmUp(const WarmUpOptions& options) : options_(options) {}

void WarmUp::add(double seconds) {
  seconds_ += seconds;
  open_ += seconds;
  if (++in_open_ < each_) return;
  logs_.push_back(std::log(std::max(kTick, open_ / static_cast<double>(each_))));
  open_ = 0.0;
  in_open_ = 0;
  if (!settled_ && logs_.size() >= next_look_) look();
  if (logs_.size() < kMostMeans) return;
  // The window always reaches back to the first third, however quick the repetitions.
  for (std::size_t i = 0; i < kMostMeans / 2; ++i) logs_[i] = (logs_[2 * i] + logs_[2 * i + 1]) / 2.0;
  logs_.resize(kMostMeans / 2);
  each_ *= 2;
  next_look_ = (next_look_ + 1) / 2;
}

void WarmUp::look() {
  const bool now = flat();
  settled_ = now && flat_before_;
  flat_before_ = now;
  next_look_ = logs_.size() + std::max(std::size_t{2}, logs_.size() / 8);
}

bool WarmUp::flat() const {
  const std::size_t window = std::max(kLeastWindow, logs_.size() * 2 / 3);
  const Line line = fit(std::span(logs_).last(window));
  const auto n = static_cast<double>(window);
  const double error = line.noise * std::sqrt(12.0 / (n * n * n));  // of a slope by least squares, as good as Theil's
  const double ahead = std::max(n, kHorizon / static_cast<double>(each_));
  return (std::fabs(line.slope) + kOneSided * error) * ahead <= std::max(options_.tolerance, 2.0 * line.noise);
}

StoppingRule::StoppingRule(const StoppingOptions& options)
    : options_(options), half_width_(std::numeric_limits<double>::infinity()) {
  if (!(options.precision > 0.0))
    throw request_error("usage", fmt::format("precision {}: expected a number above 0", options.precision));
  if (!(options.confidence > 0.0 && options.confidence < 1.0))
    throw request_error("usage", fmt::format("confidence {}: expected a number between 0 and 1", options.confidence));
  if (!(options.max_seconds >= 0.0))
    throw request_error("usage", fmt::format("max-time {}: expected seconds, not below 0", options.max_seconds));
}

void StoppingRule::add(double seconds) {
  samples_.push_back(seconds);
  seconds_ += seconds;
  const auto n = static_cast<Index>(samples_.size());
  if (n < options_.least || n - looked_at_ < looked_at_ / 20) return;
  looked_at_ = n;
  const Estimate median = median_interval(samples_, options_.confidence);
  half_width_ = median.high > median.low ? (median.high - median.low) / (2.0 * median.value) : 0.0;
  precise_ = precise_ || half_width_ <= options_.precision;
}

Index StoppingRule::left() const {
  if (done()) return 0;
  const auto n = static_cast<double>(samples_.size());
  const auto least = static_cast<double>(std::max(options_.least, samples_for_median(options_.confidence)));
  const double ratio = half_width_ / options_.precision;
  // With too few samples for a width nothing better is known than that there must be that many.
  double wanted = std::isfinite(half_width_) ? static_cast<double>(looked_at_) * ratio * ratio : least;
  wanted = std::max(wanted, least);
  if (seconds_ > 0.0) wanted = std::min(wanted, std::ceil(n * options_.max_seconds / seconds_));
  return std::max(Index{1}, static_cast<Index>(std::ceil(std::min(wanted, 1e15) - n)));
}

double StoppingRule::progress() const {
  if (done()) return 1.0;
  const auto n = static_cast<double>(samples_.size());
  return n / (n + static_cast<double>(left()));
}

}  // namespace mlbench::measure
