// What stands between products, row by row.
#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <numbers>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "backends/cpu/ops.h"
#include "bench/cpu_operators.h"
#include "bench/cpu_rows.h"

namespace mlbench::cpu::bench {
namespace {

// ---- norms ----

// Float32 sums of n terms are off by n roundings of each at most. Half of the squares' relative error reaches the root;
// in LayerNorm the mean's error shifts every value, and changes the squares by less than the rest of the bound.
Expected expected_norm(const NormRule& rule, const Norm& norm, const float* x, Index i) {
  const auto n = static_cast<Index>(norm.weight.size());
  const auto count = static_cast<double>(n);
  double sum = 0.0, magnitude = 0.0, squares = 0.0;
  for (Index j = 0; j < n; ++j) {
    sum += double{x[j]};
    magnitude += std::fabs(double{x[j]});
  }
  const double mean = rule.kind == NormKind::layer ? sum / count : 0.0;
  for (Index j = 0; j < n; ++j) squares += (double{x[j]} - mean) * (double{x[j]} - mean);
  const auto at = static_cast<std::size_t>(i);
  const double factor = double{norm.weight[at]} / std::sqrt(squares / count + double{rule.eps});
  const double centred = (double{x[i]} - mean) * factor;
  const double bias = norm.bias.empty() ? 0.0 : double{norm.bias[at]};
  const double shift = rule.kind == NormKind::layer ? (count + 2.0) * kU * magnitude / count * std::fabs(factor) : 0.0;
  const double limit =
      std::fabs(centred) * (count / 2.0 + 10.0) * kU + shift + kU * (std::fabs(centred) + std::fabs(bias));
  return {centred + bias, limit};
}

// RMSNorm squares, adds, scales and weighs; LayerNorm also takes and subtracts the mean, twice, and adds a bias.
RowFormula norm_formula(NormKind kind, Index width) {
  const NormRule rule{.kind = kind, .eps = 1e-5F};
  Norm norm{.weight = random_floats(10, width), .bias = {}};
  if (kind == NormKind::layer) norm.bias = random_floats(11, width);
  return {.in_place = false,
          .bytes = 8.0,
          .flops = kind == NormKind::rms ? 4.0 : 8.0,
          .beside = sizeof(float) * static_cast<double>(norm.weight.size() + norm.bias.size()),
          .run = [=](const float* x, float* y, Index) { normalize(rule, norm, x, y, width); },
          .expected = [=](const float* x, Index, Index i) { return expected_norm(rule, norm, x, i); }};
}

// ---- activations ----

// Exponentials, and the tail that stands for erf, are within a few units in the last place, and what goes into them
// within a few roundings, of which z e^-z and z^2 e^-(z^2), below 1, are left; all of it times v.
Expected expected_activation(Activation activation, double v) {
  constexpr double kFactor = std::numbers::sqrt2_v<double> * std::numbers::inv_sqrtpi_v<double>;  // sqrt(2 / pi)
  switch (activation) {
    case Activation::silu: {
      const double y = v / (1.0 + std::exp(-v));
      return {y, 8.0 * kU * std::fabs(y)};
    }
    case Activation::gelu_erf:
      return {0.5 * v * std::erfc(-v / std::numbers::sqrt2_v<double>), 8.0 * kU * std::fabs(v)};
    case Activation::gelu_tanh:
    case Activation::gelu_fast:
      return {0.5 * v * (1.0 + std::tanh(kFactor * (v + 0.044715 * v * v * v))), 8.0 * kU * std::fabs(v)};
    case Activation::relu: break;
  }
  return {std::max(v, 0.0), 0.0};
}

constexpr std::array kActivations = {
    std::pair{Activation::silu, "activation.silu"}, std::pair{Activation::gelu_erf, "activation.gelu_erf"},
    std::pair{Activation::gelu_tanh, "activation.gelu_tanh"}, std::pair{Activation::gelu_fast, "activation.gelu_fast"},
    std::pair{Activation::relu, "activation.relu"}};

RowFormula activation_formula(Activation activation, Index width) {
  return {.bytes = 8.0,
          .run = [=](const float*, float* y, Index) { activate(activation, y, width); },
          .expected = [=](const float* x, Index, Index i) { return expected_activation(activation, double{x[i]}); }};
}

RowFormula clamp_formula(Index width) {
  static constexpr float kLimit = 2.0F;
  return {.bytes = 8.0,
          .run = [=](const float*, float* y, Index) { clamp(y, width, kLimit); },
          .expected =
              [](const float* x, Index, Index i) {
                return Expected{double{std::clamp(x[i], -kLimit, kLimit)}, 0.0};
              }};
}

// ---- two rows to one: the residual and the gate ----

// `run` and `combine` are the same, of rows in float32 and of values in float64.
template <class Combine>
RowFormula two_rows(Index rows, Index width, void (*run)(float*, const float*, Index), Combine combine) {
  auto other = std::make_shared<const std::vector<float>>(random_floats(12, rows * width));
  return {.bytes = 12.0,
          .flops = 1.0,
          .run = [=](const float*, float* y, Index row) { run(y, other->data() + row * width, width); },
          .expected =
              [=](const float* x, Index row, Index i) {
                const double value = combine(double{x[i]}, double{(*other)[static_cast<std::size_t>(row * width + i)]});
                return Expected{value, kU * std::fabs(value)};
              }};
}

// The gate through its activation times the other row, in one pass: one rounding more, of the product.
RowFormula gate_formula(Activation activation, Index rows, Index width) {
  auto up = std::make_shared<const std::vector<float>>(random_floats(12, rows * width));
  return {
      .bytes = 12.0,
      .run = [=](const float*, float* y, Index row) { activate_gate(activation, y, up->data() + row * width, width); },
      .expected =
          [=](const float* x, Index row, Index i) {
            const Expected activated = expected_activation(activation, double{x[i]});
            const auto factor = double{(*up)[static_cast<std::size_t>(row * width + i)]};
            const double value = activated.value * factor;
            return Expected{value, activated.limit * std::fabs(factor) + 2.0 * kU * std::fabs(value)};
          }};
}

// ---- softmax ----

// Its exponentials, of the scores of a row and a head, in [-4, 4). The difference that is raised is rounded, and so is
// exp.
RowFormula exponentials_formula(Index width) {
  constexpr double kWidest = 8.0;
  return {.bytes = 8.0,
          .run = [=](const float*, float* y, Index) { benchmark::DoNotOptimize(exponentials(y, width)); },
          .expected =
              [=](const float* x, Index, Index i) {
                const double e = std::exp(double{x[i]} - double{*std::max_element(x, x + width)});
                return Expected{e, e * (kWidest + 4.0) * kU};
              }};
}

}  // namespace

void add_rows(Suite& suite) {
  const auto& [model, config] = suite.first_model();
  const Index h = config.hidden_size, inner = config.intermediate_size;
  const auto named = [&](std::string_view what) { return fmt::format("{}/{}", what, suite.first_model().name); };
  add_formula(suite, named("norm.rms"), h, suite.threads(), [=](Index) { return norm_formula(NormKind::rms, h); });
  add_formula(suite, named("norm.layer"), h, suite.threads(), [=](Index) { return norm_formula(NormKind::layer, h); });
  for (const auto& [activation, what] : kActivations) {
    add_formula(suite, named(what), inner, suite.threads(),
                [=, kind = activation](Index) { return activation_formula(kind, inner); });
  }
  add_formula(suite, named("gate"), inner, suite.threads(),
              [=](Index rows) { return two_rows(rows, inner, multiply, std::multiplies<>()); });
  add_formula(suite, named("gate.silu"), inner, suite.threads(),
              [=](Index rows) { return gate_formula(Activation::silu, rows, inner); });
  add_formula(suite, named("residual"), h, suite.threads(),
              [=](Index rows) { return two_rows(rows, h, add, std::plus<>()); });
  const Index projected = config.q_width() + 2 * config.kv_width();
  add_formula(suite, named("clamp"), projected, {0}, [=](Index) { return clamp_formula(projected); });
  for (const Index context : {128, 1024, 4096}) {
    add_formula(suite, fmt::format("exponentials/context:{}", context), context, {0},
                [=](Index) { return exponentials_formula(context); });
  }
}

}  // namespace mlbench::cpu::bench
