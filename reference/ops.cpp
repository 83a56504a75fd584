#include "reference/ops.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <numbers>

#include "reference/product.h"

namespace mlbench::ref {
namespace {

double gelu_tanh(double x, double sqrt_2_over_pi) {
  return 0.5 * x * (1.0 + std::tanh(sqrt_2_over_pi * (x + 0.044715 * x * x * x)));
}

double sum(std::span<const double> values) {
  double total = 0.0;
  for (const double value : values) total += value;
  return total;
}

double scaled(const Vector& weight, std::size_t i, double value) { return weight.empty() ? value : weight[i] * value; }
double shifted(const Vector& bias, std::size_t i, double value) { return bias.empty() ? value : value + bias[i]; }

}  // namespace

Linear bind_linear(const Weights& weights, const std::string& module, bool with_bias) {
  return {weights.get(module + ".weight"), with_bias ? weights.get(module + ".bias").widened() : Vector{}};
}

Norm bind_norm(const Weights& weights, const std::string& module, bool with_bias) {
  return {weights.get(module + ".weight").widened(), with_bias ? weights.get(module + ".bias").widened() : Vector{}};
}

// Calls row(in, out) for every row, shared out in blocks that are worth waking a thread for.
template <class Row>
Tensor Ops::by_row(const Tensor& x, const Row& row) const {
  Tensor out(x.shape());
  constexpr Index kValuesPerBlock = 1 << 14;
  const Index rows_per_block = std::max<Index>(1, kValuesPerBlock / std::max<Index>(1, x.cols()));
  workers_->each((x.rows() + rows_per_block - 1) / rows_per_block, [&](Index block) {
    const Index end = std::min(x.rows(), (block + 1) * rows_per_block);
    for (Index r = block * rows_per_block; r < end; ++r) row(r, x.row(r), out.row(r));
  });
  return out;
}

Tensor Ops::linear(const Tensor& x, const Linear& layer) const {
  return product(*workers_, x, layer.weight, layer.bias);
}

Tensor Ops::rms_norm(const Tensor& x, const Norm& norm, double eps) const {
  return by_row(x, [&](Index, std::span<const double> in, std::span<double> out) {
    double squares = 0.0;
    for (const double value : in) squares += value * value;
    const double root = std::sqrt(squares / static_cast<double>(in.size()) + eps);
    for (std::size_t i = 0; i < in.size(); ++i) out[i] = scaled(norm.weight, i, in[i] / root);
  });
}

Tensor Ops::layer_norm(const Tensor& x, const Norm& norm, double eps) const {
  return by_row(x, [&](Index, std::span<const double> in, std::span<double> out) {
    const auto width = static_cast<double>(in.size());
    const double mean = sum(in) / width;
    double squares = 0.0;
    for (const double value : in) squares += (value - mean) * (value - mean);
    const double root = std::sqrt(squares / width + eps);
    for (std::size_t i = 0; i < in.size(); ++i) {
      out[i] = shifted(norm.bias, i, scaled(norm.weight, i, (in[i] - mean) / root));
    }
  });
}

Tensor Ops::activate(const Tensor& x, Activation kind) const {
  return by_row(x, [&](Index, std::span<const double> in, std::span<double> out) {
    for (std::size_t i = 0; i < in.size(); ++i) out[i] = activation(kind, in[i]);
  });
}

Tensor Ops::add(const Tensor& a, const Tensor& b) const {
  assert(a.shape() == b.shape());
  return by_row(a, [&](Index r, std::span<const double> in, std::span<double> out) {
    const auto other = b.row(r);
    for (std::size_t i = 0; i < in.size(); ++i) out[i] = in[i] + other[i];
  });
}

Tensor Ops::multiply(const Tensor& a, const Tensor& b) const {
  assert(a.shape() == b.shape());
  return by_row(a, [&](Index r, std::span<const double> in, std::span<double> out) {
    const auto other = b.row(r);
    for (std::size_t i = 0; i < in.size(); ++i) out[i] = in[i] * other[i];
  });
}

Tensor Ops::clamp(const Tensor& x, double limit) const {
  return by_row(x, [&](Index, std::span<const double> in, std::span<double> out) {
    for (std::size_t i = 0; i < in.size(); ++i) out[i] = in[i] > limit ? limit : in[i] < -limit ? -limit : in[i];
  });
}

double activation(Activation kind, double x) {
  static const double kSqrt2OverPi = std::sqrt(2.0 / std::numbers::pi);
  switch (kind) {
    case Activation::silu: return x / (1.0 + std::exp(-x));
    case Activation::gelu_erf: return 0.5 * x * (1.0 + std::erf(x / std::numbers::sqrt2));
    case Activation::gelu_tanh: return gelu_tanh(x, kSqrt2OverPi);
    case Activation::gelu_fast: return gelu_tanh(x, 0.7978845608);
    case Activation::relu: return x < 0.0 ? 0.0 : x;  // a NaN stays one
  }
  return x;
}

double dot(std::span<const double> a, std::span<const double> b) {
  assert(a.size() == b.size());
  constexpr std::size_t kLanes = 8;
  double lanes[kLanes] = {};
  std::size_t i = 0;
  for (; i + kLanes <= a.size(); i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) lanes[lane] += a[i + lane] * b[i + lane];
  }
  for (std::size_t lane = 0; i < a.size(); ++i, ++lane) lanes[lane] += a[i] * b[i];
  return sum(lanes);
}

void softmax(std::span<double> scores) {
  const double largest = *std::max_element(scores.begin(), scores.end());
  double total = 0.0;
  for (double& score : scores) {
    score = std::exp(score - largest);
    total += score;
  }
  for (double& score : scores) score /= total;
}

}  // namespace mlbench::ref
