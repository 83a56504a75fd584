#include "reference/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

namespace mlbench::ref {
namespace {

constexpr double kTwoPi = 2.0 * std::numbers::pi;

// Wavelengths well inside the trained length stay, those beyond it are stretched, with a linear blend between
// (Llama 3.1; transformers, _compute_llama3_parameters).
double llama3_frequency(const RopeConfig& c, double w) {
  const double wavelength = kTwoPi / w;
  const auto trained = static_cast<double>(c.original_max_positions);
  if (wavelength < trained / c.high_freq_factor) return w;
  if (wavelength > trained / c.low_freq_factor) return w / c.factor;
  const double s = (trained / wavelength - c.low_freq_factor) / (c.high_freq_factor - c.low_freq_factor);
  return (1.0 - s) * w / c.factor + s * w;
}

// The dimension whose frequency turns `rotations` times over the trained length (YaRN, arXiv:2309.00071, section 3.2).
double yarn_dimension(const RopeConfig& c, double rotations) {
  const auto trained = static_cast<double>(c.original_max_positions);
  return static_cast<double>(c.rotary_dim) * std::log(trained / (rotations * kTwoPi)) / (2.0 * std::log(c.theta));
}

struct Ramp {
  double low, high;
};

Ramp yarn_ramp(const RopeConfig& c) {
  double low = yarn_dimension(c, c.beta_fast);
  double high = yarn_dimension(c, c.beta_slow);
  if (c.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(c.rotary_dim - 1));
  if (low == high) high += 0.001;
  return {low, high};
}

double yarn_magnitude(double factor, double a) { return factor <= 1.0 ? 1.0 : 0.1 * a * std::log(factor) + 1.0; }

}  // namespace

Rope::Rope(RopeConfig config, RopeCompat compat) : config_(std::move(config)), compat_(compat) {}

double Rope::rounded(double value) const {
  return compat_ == RopeCompat::f32 ? static_cast<double>(static_cast<float>(value)) : value;
}

// theta^(-2i/D): the denominator is the rotary size, not the head's.
double Rope::base_frequency(double theta, Index i) const {
  const double exponent = rounded(static_cast<double>(2 * i) / static_cast<double>(config_.rotary_dim));
  return rounded(1.0 / rounded(std::pow(theta, exponent)));
}

std::vector<double> Rope::frequencies(Index total_length) const {
  const RopeConfig& c = config_;
  double theta = c.theta;
  if (c.kind == RopeKind::dynamic) {  // "NTK-aware": the base grows with the length
    const auto trained = static_cast<double>(c.max_positions);
    const auto length = static_cast<double>(std::max(c.max_positions, total_length));
    const auto d = static_cast<double>(c.rotary_dim);
    theta = rounded(theta * std::pow(c.factor * length / trained - (c.factor - 1.0), d / (d - 2.0)));
  }
  const Ramp ramp = c.kind == RopeKind::yarn ? yarn_ramp(c) : Ramp{0.0, 1.0};
  const std::vector<double>& stretch = total_length > c.original_max_positions ? c.long_factor : c.short_factor;

  std::vector<double> out(static_cast<std::size_t>(c.rotary_dim / 2));
  for (std::size_t i = 0; i < out.size(); ++i) {
    const double w = base_frequency(theta, static_cast<Index>(i));
    switch (c.kind) {
      case RopeKind::none:
      case RopeKind::plain:
      case RopeKind::dynamic: out[i] = w; break;
      case RopeKind::linear: out[i] = w / c.factor; break;
      case RopeKind::llama3: out[i] = llama3_frequency(c, w); break;
      case RopeKind::yarn: {
        const double g = std::clamp((static_cast<double>(i) - ramp.low) / (ramp.high - ramp.low), 0.0, 1.0);
        out[i] = g * w / c.factor + (1.0 - g) * w;
        break;
      }
      case RopeKind::longrope: out[i] = w / stretch[i]; break;
    }
    out[i] = rounded(out[i]);
  }
  return out;
}

double Rope::attention_scaling() const {
  const RopeConfig& c = config_;
  if (c.kind == RopeKind::yarn) {
    if (c.attention_factor) return *c.attention_factor;
    if (c.mscale != 0.0 && c.mscale_all_dim != 0.0) {
      return yarn_magnitude(c.factor, c.mscale) / yarn_magnitude(c.factor, c.mscale_all_dim);
    }
    return yarn_magnitude(c.factor, 1.0);
  }
  if (c.kind == RopeKind::longrope) {
    if (c.attention_factor) return *c.attention_factor;
    if (c.factor <= 1.0) return 1.0;
    return std::sqrt(1.0 + std::log(c.factor) / std::log(static_cast<double>(c.original_max_positions)));
  }
  return 1.0;
}

Rope::Angles Rope::angles(Index position, const std::vector<double>& frequencies) const {
  const double m = attention_scaling();
  Angles out{std::vector<double>(frequencies.size()), std::vector<double>(frequencies.size())};
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    const double angle = rounded(static_cast<double>(position) * frequencies[i]);
    out.cos[i] = m * std::cos(angle);
    out.sin[i] = m * std::sin(angle);
  }
  return out;
}

void rotate(double* head, const double* cos, const double* sin, Index rotary_dim) {
  const Index half = rotary_dim / 2;
  for (Index i = 0; i < half; ++i) {
    const double a = head[i];
    const double b = head[i + half];
    head[i] = a * cos[i] - b * sin[i];
    head[i + half] = b * cos[i] + a * sin[i];
  }
}

}  // namespace mlbench::ref
