#include "harness/selftest/subject_ops.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace mlbench::selftest {
namespace {

template <class Formula>
Rows by_element(DType type, const Rows& a, Formula formula) {
  Rows out(a.shape());
  for (std::size_t i = 0; i < out.values().size(); ++i) out.values()[i] = rounded(type, formula(i));
  return out;
}

float gelu_tanh(float v) {
  constexpr float kRootOfTwoOverPi = 0.797884560802865F;
  return 0.5F * v * (1.0F + std::tanh(kRootOfTwoOverPi * (v + 0.044715F * v * v * v)));
}

float gelu_erf(float v) { return 0.5F * v * (1.0F + std::erf(v / std::numbers::sqrt2_v<float>)); }

float silu(float v) { return v / (1.0F + std::exp(-v)); }

}  // namespace

// ---- products ----

float Ops::product_input(float value) const {
  if (!planted_.at(Mistake::product_inputs_coarse)) return value;
  return with_fraction(value, type_ == DType::f32 ? 10U : 3U);  // TF32, and an 8-bit float
}

float Ops::dot(const float* x, const float* w, Index count) const {
  if (count % 8 != 0 && planted_.at(Mistake::product_tail_dropped)) count -= count % 8;
  const bool in_bf16 = planted_.at(Mistake::product_sums_bf16);
  const bool lost =
      planted_.at(Mistake::run_to_run) && planted_.hits() % 4099 == 0;  // a prime: no loop has that length
  if (lost) --count;
  float sum = 0.0F;
  for (Index i = 0; i < count; ++i) {
    sum += product_input(x[i]) * w[i];
    if (in_bf16) sum = rounded_to_bf16(sum);
  }
  return sum;
}

Rows Ops::linear(const Rows& x, const Linear& layer, DType to) const {
  Rows out({x.rows(), layer.out});
  for (Index t = 0; t < x.rows(); ++t) {
    const bool repeated = t > 0 && t == x.rows() - 1 && planted_.at(Mistake::product_last_row_repeated);
    const float* row = x.row(repeated ? t - 1 : t).data();
    for (Index o = 0; o < layer.out; ++o) {
      const float bias = layer.bias.empty() ? 0.0F : layer.bias[static_cast<std::size_t>(o)];
      const float sum = dot(row, layer.weight.data() + o * layer.in, layer.in) + bias;
      out.row(t)[static_cast<std::size_t>(o)] = rounded(to, sum);
    }
  }
  return out;
}

// ---- norms ----

float Ops::variance(const float* x, Index width, float mean) const {
  const auto n = static_cast<float>(width);
  float squares = 0.0F;
  if (mean != 0.0F && planted_.at(Mistake::norm_one_pass_variance)) {
    for (Index i = 0; i < width; ++i) squares += x[i] * x[i];
    return std::max(0.0F, squares / n - mean * mean);
  }
  for (Index i = 0; i < width; ++i) squares += (x[i] - mean) * (x[i] - mean);
  return squares / (planted_.at(Mistake::norm_divides_by_n_minus_1) ? n - 1.0F : n);
}

float Ops::scale(float variance) const {
  const auto eps = static_cast<float>(config_.norm_eps);
  if (planted_.at(Mistake::norm_eps_missing)) return 1.0F / std::sqrt(variance);
  if (planted_.at(Mistake::norm_eps_outside_root)) return 1.0F / (std::sqrt(variance) + eps);
  if (planted_.at(Mistake::norm_eps_default)) return 1.0F / std::sqrt(variance + 1e-6F);
  return 1.0F / std::sqrt(variance + eps);
}

Ops::Statistics Ops::statistics(const float* x, Index width) const {
  const bool rms = config_.architecture == Architecture::llama;
  float sum = 0.0F;
  for (Index i = 0; i < width; ++i) sum += x[i];
  const bool keeps_mean = rms || planted_.at(Mistake::norm_keeps_mean);
  const float mean = keeps_mean ? 0.0F : sum / static_cast<float>(width);
  return {mean, scale(variance(x, width, mean))};
}

Rows Ops::norm(const Rows& x, const Norm& norm, Index width) const {
  const bool no_gain = !norm.weight.empty() && planted_.at(Mistake::norm_gain_dropped);
  const bool gain_plus_one = !norm.weight.empty() && planted_.at(Mistake::norm_gain_plus_one);
  const bool no_bias = !norm.bias.empty() && planted_.at(Mistake::norm_bias_dropped);
  Rows out(x.shape());
  for (Index first = 0; first < x.size(); first += width) {
    const auto [mean, scale] = statistics(x.data() + first, width);
    for (Index i = 0; i < width; ++i) {
      const auto at = static_cast<std::size_t>(i);
      float y = (x.data()[first + i] - mean) * scale;
      if (!norm.weight.empty() && !no_gain) y *= gain_plus_one ? norm.weight[at] + 1.0F : norm.weight[at];
      if (!norm.bias.empty() && !no_bias) y += norm.bias[at];
      out.data()[first + i] = rounded(type_, y);
    }
  }
  return out;
}

// ---- activations and sums ----

Activation Ops::activation() const {
  const Activation kind = config_.activation;
  const bool tanh = kind == Activation::gelu_tanh || kind == Activation::gelu_fast;
  if (kind == Activation::silu && planted_.at(Mistake::act_silu_is_gelu)) return Activation::gelu_tanh;
  if (tanh && planted_.at(Mistake::act_tanh_is_erf)) return Activation::gelu_erf;
  if (kind == Activation::gelu_erf && planted_.at(Mistake::act_erf_is_tanh)) return Activation::gelu_tanh;
  if (kind != Activation::silu && planted_.at(Mistake::act_of_config_ignored)) return Activation::silu;
  return kind;
}

float Ops::activated(Activation kind, float value) const {
  switch (kind) {
    case Activation::silu: return silu(value);
    case Activation::gelu_erf: return gelu_erf(value);
    case Activation::gelu_tanh:
    case Activation::gelu_fast: return gelu_tanh(value);
    case Activation::relu: return std::max(0.0F, value);
  }
  return value;
}

Rows Ops::activate(const Rows& x) const {
  const Activation kind = activation();
  return by_element(type_, x, [&](std::size_t i) { return activated(kind, x.values()[i]); });
}

Rows Ops::add(const Rows& a, const Rows& b) const {
  return by_element(type_, a, [&](std::size_t i) { return a.values()[i] + b.values()[i]; });
}

Rows Ops::add(const Rows& a, const Rows& b, const Rows& c) const {
  return by_element(type_, a, [&](std::size_t i) { return a.values()[i] + b.values()[i] + c.values()[i]; });
}

Rows Ops::multiply(const Rows& a, const Rows& b) const {
  return by_element(type_, a, [&](std::size_t i) { return a.values()[i] * b.values()[i]; });
}

}  // namespace mlbench::selftest
