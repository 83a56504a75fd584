#include "backends/stack/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include <fmt/format.h>

namespace mlbench::stack {
namespace {

// Llama 3.1: the share s of the unscaled frequency runs from 0, where fewer than low_freq_factor turns fit into the
// trained length, to 1, where more than high_freq_factor do.
double llama3_frequency(const RopeConfig& c, double w) {
  const double turns = static_cast<double>(c.original_max_positions) * w / (2.0 * std::numbers::pi);
  const double s = std::clamp((turns - c.low_freq_factor) / (c.high_freq_factor - c.low_freq_factor), 0.0, 1.0);
  return (1.0 - s) * w / c.factor + s * w;
}

}  // namespace

backends::Support rotates(std::string_view backend, const RopeConfig& config) {
  if (config.kind != RopeKind::dynamic && config.kind != RopeKind::longrope && config.kind != RopeKind::yarn) return {};
  return backends::Support::no(
      fmt::format("RoPE scaling {}: the {} backend has default, linear and llama3", name(config.kind), backend));
}

std::vector<double> rope_frequencies(const RopeConfig& c) {
  std::vector<double> out;
  for (Index i = 0; i < c.rotary_dim / 2; ++i) {
    const double w = std::pow(c.theta, -2.0 * static_cast<double>(i) / static_cast<double>(c.rotary_dim));
    const bool linear = c.kind == RopeKind::linear;
    out.push_back(c.kind == RopeKind::llama3 ? llama3_frequency(c, w) : linear ? w / c.factor : w);
  }
  return out;
}

}  // namespace mlbench::stack
