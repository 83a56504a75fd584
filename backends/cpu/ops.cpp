#include "backends/cpu/ops.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

namespace mlbench::cpu {
namespace {

// Partial sums: enough for two vectors of any machine at a time, and shorter chains of roundings.
constexpr Index kLanes = 16;

template <class Term>
float lane_sum(Index count, Term term) {
  float lanes[kLanes] = {};
  Index i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (Index lane = 0; lane < kLanes; ++lane) lanes[lane] += term(i + lane);
  }
  for (Index lane = 0; i < count; ++i, ++lane) lanes[lane] += term(i);
  for (Index half = kLanes / 2; half > 0; half /= 2) {
    for (Index lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
  }
  return lanes[0];
}

float mean_of_squares(const float* x, Index width, float about) {
  const float squares = lane_sum(width, [=](Index i) { return (x[i] - about) * (x[i] - about); });
  return squares / static_cast<float>(width);
}

template <class Formula>
void apply(float* x, Index count, Formula formula) {
  for (Index i = 0; i < count; ++i) x[i] = formula(x[i]);
}

float gelu_tanh(float v) {
  constexpr float kFactor = 0.79788456080286536F;  // sqrt(2 / pi); gelu_fast's 0.7978845608 is the same float32
  return 0.5F * v * (1.0F + std::tanh(kFactor * (v + 0.044715F * v * v * v)));
}

}  // namespace

float sum(const float* x, Index count) {
  return lane_sum(count, [=](Index i) { return x[i]; });
}

float dot(const float* a, const float* b, Index count) {
  return lane_sum(count, [=](Index i) { return a[i] * b[i]; });
}

void normalize(const NormRule& rule, const Norm& norm, const float* x, float* y, Index width) {
  const float mean = rule.kind == NormKind::layer ? sum(x, width) / static_cast<float>(width) : 0.0F;
  const float scale = 1.0F / std::sqrt(mean_of_squares(x, width, mean) + rule.eps);
  for (Index i = 0; i < width; ++i) y[i] = (x[i] - mean) * scale;
  if (!norm.weight.empty()) {
    const float* g = norm.weight.data();
    for (Index i = 0; i < width; ++i) y[i] *= g[i];
  }
  if (!norm.bias.empty()) {
    const float* b = norm.bias.data();
    for (Index i = 0; i < width; ++i) y[i] += b[i];
  }
}

void activate(Activation activation, float* x, Index count) {
  constexpr float kSqrtHalf = 1.0F / std::numbers::sqrt2_v<float>;
  switch (activation) {
    case Activation::silu: return apply(x, count, [](float v) { return v / (1.0F + std::exp(-v)); });
    case Activation::gelu_erf:
      return apply(x, count, [](float v) { return 0.5F * v * (1.0F + std::erf(v * kSqrtHalf)); });
    case Activation::gelu_tanh:
    case Activation::gelu_fast: return apply(x, count, gelu_tanh);
    case Activation::relu: return apply(x, count, [](float v) { return v < 0.0F ? 0.0F : v; });
  }
}

void clamp(float* x, Index count, float limit) {
  apply(x, count, [=](float v) { return v > limit ? limit : v < -limit ? -limit : v; });
}

void softmax(float* scores, Index count) {
  float largest = -std::numeric_limits<float>::infinity();
  for (Index i = 0; i < count; ++i) largest = std::max(largest, scores[i]);
  apply(scores, count, [=](float s) { return std::exp(s - largest); });
  const float total = sum(scores, count);
  apply(scores, count, [=](float e) { return e / total; });
}

}  // namespace mlbench::cpu
