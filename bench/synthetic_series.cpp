#include "bench/synthetic_series.h"

#include <cmath>
#include <numbers>

#include "core/hash.h"

namespace mlbench::measure {
namespace {

constexpr double kOutliers = 0.05;  // share of a skewed series
constexpr double kOutlier = 3.0;

}  // namespace

Dice::Dice(std::uint64_t seed, std::string_view name) : seed_(fnv1a(name, scattered(seed))) {}

double Dice::uniform() { return (static_cast<double>(scattered(seed_, place_++) >> 11U) + 0.5) * 0x1p-53; }

double Dice::normal() {
  const double radius = std::sqrt(2.0 * exponential());
  return radius * std::cos(2.0 * std::numbers::pi * uniform());
}

double Dice::exponential() { return -std::log(uniform()); }

double true_median(const Noise& noise) {
  if (!noise.skewed) return 1.0;
  // Outliers lie above it, so that of the others a share of 0.5 / (1 - kOutliers) lies below.
  return 1.0 - noise.size * std::log1p(-0.5 / (1.0 - kOutliers));
}

Run::Run(const Noise& noise, Index length, Dice& dice)
    : noise_(noise),
      dice_(dice),
      length_(static_cast<double>(length)),
      level_(std::exp(noise.between * dice.normal())),
      drift_(noise.drift * dice.sign()),
      step_at_(length_ * dice.uniform()),
      state_(dice.normal()) {}

double Run::noisy() {
  if (noise_.skewed) {
    const double time = 1.0 + noise_.size * dice_.exponential();
    return dice_.uniform() < kOutliers ? kOutlier * time : time;
  }
  const double time = std::exp(noise_.size * state_);
  state_ = noise_.rho * state_ + std::sqrt(1.0 - noise_.rho * noise_.rho) * dice_.normal();
  return time;
}

double Run::next() {
  const double drifted = noise_.drift > 0.0 ? 1.0 + drift_ * at_ / length_ : 1.0;
  const double stepped = noise_.step > 0.0 && at_ >= step_at_ ? 1.0 + noise_.step : 1.0;
  at_ += 1.0;
  return level_ * drifted * stepped * noisy();
}

Times run_of(const Noise& noise, Index length, Dice& dice) {
  Run run(noise, length, dice);
  Times out(static_cast<std::size_t>(length));
  for (double& time : out) time = run.next();
  return out;
}

}  // namespace mlbench::measure
