#include "backends/cpu/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace mlbench::cpu {
namespace {

// Llama 3.1: the share s of the unscaled frequency runs from 0, where fewer than low_freq_factor turns fit into the
// trained length, to 1, where more than high_freq_factor do.
double llama3_frequency(const RopeConfig& c, double w) {
  const double turns = static_cast<double>(c.original_max_positions) * w / (2.0 * std::numbers::pi);
  const double s = std::clamp((turns - c.low_freq_factor) / (c.high_freq_factor - c.low_freq_factor), 0.0, 1.0);
  return (1.0 - s) * w / c.factor + s * w;
}

}  // namespace

std::vector<double> rope_frequencies(const RopeConfig& c) {
  std::vector<double> out;
  for (Index i = 0; i < c.rotary_dim / 2; ++i) {
    const double w = std::pow(c.theta, -2.0 * static_cast<double>(i) / static_cast<double>(c.rotary_dim));
    const bool linear = c.kind == RopeKind::linear;
    out.push_back(c.kind == RopeKind::llama3 ? llama3_frequency(c, w) : linear ? w / c.factor : w);
  }
  return out;
}

void Rotation::set(const std::vector<Index>& positions) {
  cos_.clear();
  sin_.clear();
  for (const Index position : positions) {
    for (const double w : frequencies_) {
      const double angle = static_cast<double>(position) * w;
      cos_.push_back(static_cast<float>(std::cos(angle)));
      sin_.push_back(static_cast<float>(std::sin(angle)));
    }
  }
}

void Rotation::rotate(const Heads& heads, Index row) const {
  const Index half = this->half();
  const float* c = cos(row);
  const float* s = sin(row);
  for (Index head = 0; head < heads.count; ++head) {
    float* low = heads.at(row, head);
    float* high = low + half;
    for (Index i = 0; i < half; ++i) {
      const float a = low[i];
      const float b = high[i];
      low[i] = a * c[i] - b * s[i];
      high[i] = b * c[i] + a * s[i];
    }
  }
}

}  // namespace mlbench::cpu
