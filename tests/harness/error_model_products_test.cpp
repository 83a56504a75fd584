// The bounds of linear layers and norms against float32 in several orders of summation.
#include <algorithm>
#include <cmath>

#include <gmock/gmock.h>

#include "harness/check_tap.h"
#include "reference/ops.h"
#include "reference/product.h"
#include "tests/harness/bounds_of.h"
#include "tests/harness/float_operators.h"

namespace mlbench::harness {
namespace {

using backends::Arithmetic;
using ref::Tensor;
using test::BoundsOf;
using test::Floats;
using test::Order;
using test::Within;

// A median below this would be a bound that no mistake of a few roundings meets: where an element is rounded to bf16
// last, its error is spread evenly over half a step, of which the bound takes at most 2 |y| u: half, a quarter.
constexpr double kLeastMedian = 0.05;

// The layer of a tap, and rows that enter it: hard ones, and ones whose product with the first weight rows cancels.
struct Layer {
  ref::Linear linear;
  Tensor x;
};

Layer layer_of(BoundsOf& bounds, TapId id) {
  const std::string module = bounds.errors().module_of(id);
  const Weights& weights = *bounds.model().weights;
  Layer out{ref::bind_linear(weights, module, weights.has(module + ".bias")), {}};
  const Index width = out.linear.weight.cols;
  const DType type = bounds.arithmetic().activations;
  const Tensor hard = test::nasty_rows(width, type, 1);
  out.x = Tensor({hard.rows() + 8, width});
  std::ranges::copy(hard.values(), out.x.values().begin());
  const Tensor normal = test::normal_values({8, width}, type, 2);
  std::vector<double> w(static_cast<std::size_t>(width));
  for (Index r = 0; r < 8; ++r) {
    out.linear.weight.widen_row(r, w);
    const auto row = out.x.row(hard.rows() + r);
    const double part = ref::dot(normal.row(r), w) / ref::dot(w, w);
    for (std::size_t i = 0; i < w.size(); ++i) row[i] = normal.row(r)[i] - part * w[i];
  }
  out.x = test::narrowed(type, out.x);
  return out;
}

Tensor in_float(const Layer& layer, const Tensor& inputs, DType type, Order order) {
  Tensor out({inputs.rows(), layer.linear.weight.rows});
  std::vector<double> w(static_cast<std::size_t>(inputs.cols()));
  for (Index o = 0; o < out.cols(); ++o) {
    layer.linear.weight.widen_row(o, w);
    const Floats weight = test::floats(w);
    for (Index r = 0; r < inputs.rows(); ++r) {
      float y = test::dot(order, test::floats(inputs.row(r)), weight);
      if (!layer.linear.bias.empty()) y += static_cast<float>(layer.linear.bias[static_cast<std::size_t>(o)]);
      out.row(r)[static_cast<std::size_t>(o)] = static_cast<double>(y);
    }
  }
  return test::narrowed(type, out);
}

class ProductsAndNorms : public ::testing::TestWithParam<test::NamedArithmetic> {};
INSTANTIATE_TEST_SUITE_P(Arithmetics, ProductsAndNorms, ::testing::ValuesIn(test::arithmetics()),
                         [](const auto& which) { return which.param.name; });

struct Place {
  TapId id;
  Architecture architecture;
  Tap input;
};

// With a bias and without one, of the stack and of the output layer.
const Place kLinear[] = {{{Tap::gate, 0}, Architecture::llama, Tap::mlp_norm},
                         {{Tap::up, 0}, Architecture::phi, Tap::attn_norm},
                         {{Tap::mlp_out, 0}, Architecture::phi, Tap::act},
                         {{Tap::qkv_proj, 0}, Architecture::gpt_bigcode, Tap::attn_norm},
                         {{Tap::logits, -1}, Architecture::olmo, kPartInput}};

TEST_P(ProductsAndNorms, ALinearLayerInAnyOrderIsWithinItsBound) {
  const Arithmetic& arithmetic = GetParam().arithmetic;
  for (const Place& place : kLinear) {
    BoundsOf bounds(test::one_layer(place.architecture), arithmetic);
    const Layer layer = layer_of(bounds, place.id);
    const Tensor exact = ref::product(bounds.workers(), layer.x, layer.linear.weight, layer.linear.bias);
    const Tensor bound = bounds.of(place.id, exact, {{place.input, {layer.x, {}}}});
    const Tensor inputs = test::narrowed(arithmetic.product_inputs, layer.x);
    const DType type = bounds.errors().type_of(place.id.tap);
    for (const Order order : {Order::forward, Order::lanes, Order::fused}) {
      Within within;
      within.add(exact, in_float(layer, inputs, type, order), bound);
      EXPECT_EQ(within.beyond(), 0) << to_string(place.id) << " " << name(order) << " worst " << within.worst();
      if (type == DType::bf16) {
        EXPECT_GT(within.median(), kLeastMedian) << to_string(place.id);
      }
    }
  }
}

// Sums of thousands, where the probabilistic bound is below the worst case.
TEST(ErrorModel, ALongSumInAnyOrderIsWithinItsBound) {
  BoundsOf bounds(test::one_layer(Architecture::llama, {{"intermediate_size", 8192}, {"hidden_size", 96}}),
                  test::arithmetics()[0].arithmetic);
  const TapId id{Tap::mlp_out, 0};
  Layer layer = layer_of(bounds, id);
  const Tensor exact = ref::product(bounds.workers(), layer.x, layer.linear.weight, {});
  const Tensor bound = bounds.of(id, exact, {{Tap::mlp_hidden, {layer.x, {}}}});
  for (const Order order : test::kOrders) {
    Within within;
    within.add(exact, in_float(layer, layer.x, DType::f32, order), bound);
    EXPECT_EQ(within.beyond(), 0) << name(order) << " worst " << within.worst();
  }
}

TEST_P(ProductsAndNorms, ALinearLayerPassesOnWhatItsInputErrs) {
  for (const Place& place : kLinear) {
    BoundsOf bounds(test::one_layer(place.architecture), GetParam().arithmetic);
    const Layer layer = layer_of(bounds, place.id);
    const Tensor errors = test::errors_of(layer.x, 1e-3);
    const Tensor exact = ref::product(bounds.workers(), layer.x, layer.linear.weight, layer.linear.bias);
    const Tensor bound = bounds.of(place.id, exact, {{place.input, {layer.x, errors}}});
    Within within;
    for (const std::uint64_t seed : {1U, 2U, 3U}) {
      const Tensor other =
          ref::product(bounds.workers(), test::moved(layer.x, errors, seed), layer.linear.weight, layer.linear.bias);
      within.add(exact, other, bound);
    }
    EXPECT_EQ(within.beyond(), 0) << to_string(place.id) << " worst " << within.worst();
  }
}

// What a matrix unit that drops bits makes of a long sum of terms of one sign is forgiven where it is declared, and not
// where it is not.
TEST(ErrorModel, ATruncatedSumIsWithinItsBoundWhereItIsDeclared) {
  Arithmetic arithmetic = test::arithmetics()[0].arithmetic;
  const ModelConfig config = test::one_layer(Architecture::llama, {{"intermediate_size", 8192}, {"hidden_size", 96}});
  const TapId id{Tap::mlp_out, 0};
  for (const bool declared : {true, false}) {
    arithmetic.product_sums.truncates = declared;
    BoundsOf bounds(config, arithmetic);
    const Layer layer = layer_of(bounds, id);
    Tensor x({1, 8192});
    std::vector<double> w(8192);
    layer.linear.weight.widen_row(0, w);
    // Terms of one sign, the first one large: whatever follows is cut.
    for (std::size_t i = 0; i < w.size(); ++i) x.row(0)[i] = std::copysign(i == 0 ? 64.0 : 0x1p-10, w[i]);
    const Tensor exact = ref::product(bounds.workers(), x, layer.linear.weight, {});
    const Tensor bound = bounds.of(id, exact, {{Tap::mlp_hidden, {x, {}}}});
    double sum = 0.0;
    for (std::size_t i = 0; i < w.size(); ++i) sum = test::cut(sum + test::cut(w[i] * x.row(0)[i]));
    const double error = std::fabs(sum - exact.row(0)[0]);
    EXPECT_EQ(error <= bound.row(0)[0], declared) << error << " of " << bound.row(0)[0];
  }
}

// What the declared arithmetic does not forgive: the same layer with its inputs in bf16 where float32 was declared.
TEST(ErrorModel, InputsCoarserThanDeclaredAreBeyondTheBound) {
  BoundsOf bounds(test::one_layer(Architecture::llama), test::arithmetics()[0].arithmetic);
  const TapId id{Tap::gate, 0};
  const Layer layer = layer_of(bounds, id);
  const Tensor exact = ref::product(bounds.workers(), layer.x, layer.linear.weight, {});
  const Tensor bound = bounds.of(id, exact, {{Tap::mlp_norm, {layer.x, {}}}});
  const Tensor coarse = in_float(layer, test::narrowed(DType::bf16, layer.x), DType::f32, Order::forward);
  Within first_row;
  const auto row = [](const Tensor& x) { return Tensor({1, x.cols()}, {x.row(0).begin(), x.row(0).end()}); };
  first_row.add(row(exact), row(coarse), row(bound));
  EXPECT_GT(first_row.beyond(), exact.cols() / 2);
}

TEST_P(ProductsAndNorms, AnElementThatIsAHundredBoundsOffFailsAlone) {
  const ModelConfig config = test::one_layer(Architecture::llama);
  BoundsOf bounds(config, GetParam().arithmetic);
  const TapId id{Tap::gate, 0};
  const Layer layer = layer_of(bounds, id);
  const Tensor exact = ref::product(bounds.workers(), layer.x, layer.linear.weight, {});
  const Tensor bound = bounds.of(id, exact, {{Tap::mlp_norm, {layer.x, {}}}});
  Call call;
  call.ids = {0};
  const auto rows = static_cast<std::size_t>(exact.rows());
  const TapPlace place{
      VerifyMode::isolated, Inputs::random, &call, {std::vector<std::int32_t>(rows, 0), std::vector<Index>(rows, 0)}};
  const auto limit = [&](Index i) { return bound.values()[static_cast<std::size_t>(i)]; };
  for (const std::size_t at : {std::size_t{0}, exact.values().size() / 2, exact.values().size() - 1}) {
    Tensor got = exact;
    got.values()[at] += 100.0 * bound.values()[at];
    const TapCheck check =
        check_tap(place, spec_of(tap_specs(config), id.tap), id, bounds.errors().type_of(id.tap), exact, got, limit);
    EXPECT_FALSE(check.passed);
    EXPECT_EQ(check.straying, 1);
    EXPECT_GT(check.ratio, 99.0);
  }
}

// ---- norms ----

struct NormCase {
  Architecture architecture;
  const char* epsilon;  // the field of config.json
};
const NormCase kNorms[] = {{Architecture::llama, "rms_norm_eps"},
                           {Architecture::orion, "rms_norm_eps"},
                           {Architecture::olmo, nullptr},
                           {Architecture::phi, "layer_norm_eps"},
                           {Architecture::gpt_bigcode, "layer_norm_epsilon"}};

constexpr Index kWide = 3840;

float mean_of_squares(std::span<const float> x, Order order) {
  return test::dot(order, x, x) / static_cast<float>(x.size());
}

Floats rms_norm(const Floats& x, const ref::Norm& norm, float eps, Order order) {
  const float scale = 1.0F / std::sqrt(mean_of_squares(x, order) + eps);
  Floats out(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) out[i] = static_cast<float>(norm.weight[i]) * (x[i] * scale);
  return out;
}

Floats layer_norm(const Floats& x, const ref::Norm& norm, float eps, Order order) {
  const float mean = test::sum(order, x) / static_cast<float>(x.size());
  Floats out(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) out[i] = x[i] - mean;
  const float root = std::sqrt(mean_of_squares(out, order) + eps);
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (!norm.weight.empty()) out[i] = out[i] / root * static_cast<float>(norm.weight[i]);
    if (norm.weight.empty()) out[i] = out[i] * (1.0F / root);
    if (!norm.bias.empty()) out[i] += static_cast<float>(norm.bias[i]);
  }
  return out;
}

class NormUnderTest {
 public:
  NormUnderTest(Architecture architecture, BoundsOf& bounds)
      : rms_(architecture == Architecture::llama), eps_(bounds.model().config.norm_eps), ops_(bounds.workers()) {
    const std::string module = bounds.errors().module_of({Tap::attn_norm, 0});
    if (!module.empty()) norm_ = ref::bind_norm(*bounds.model().weights, module, !rms_);
  }

  [[nodiscard]] Tensor exact(const Tensor& x) const {
    return rms_ ? ops_.rms_norm(x, norm_, eps_) : ops_.layer_norm(x, norm_, eps_);
  }
  [[nodiscard]] Tensor in_float(const Tensor& x, DType type, Order order) const {
    Tensor out(x.shape());
    for (Index r = 0; r < x.rows(); ++r) {
      const Floats y = (rms_ ? rms_norm : layer_norm)(test::floats(x.row(r)), norm_, static_cast<float>(eps_), order);
      std::ranges::copy(y, out.row(r).begin());
    }
    return test::narrowed(type, out);
  }

 private:
  bool rms_;
  double eps_;
  ref::Ops ops_;
  ref::Norm norm_;
};

TEST_P(ProductsAndNorms, ANormInAnyOrderIsWithinItsBound) {
  const Arithmetic& arithmetic = GetParam().arithmetic;
  for (const NormCase& which : kNorms) {
    BoundsOf bounds(test::one_layer(which.architecture), arithmetic);
    const NormUnderTest norm(which.architecture, bounds);
    for (const std::uint64_t seed : {1U, 2U, 3U, 4U, 5U, 6U, 7U, 8U}) {
      const Tensor x = test::nasty_rows(bounds.model().config.hidden_size, arithmetic.activations, seed);
      const Tensor exact = norm.exact(x);
      const Tensor bound = bounds.of({Tap::attn_norm, 0}, exact, {{kPartInput, {x, {}}}});
      for (const Order order : test::kOrders) {
        Within within;
        within.add(exact, norm.in_float(x, arithmetic.activations, order), bound);
        EXPECT_EQ(within.beyond(), 0) << name(which.architecture) << " " << name(order) << " worst " << within.worst();
        if (arithmetic.activations == DType::bf16) {
          EXPECT_GT(within.median(), kLeastMedian) << name(which.architecture);
        }
      }
    }
  }
}

BoundsOf wide(const NormCase& which) {
  const bool bigcode = which.architecture == Architecture::gpt_bigcode;
  nlohmann::json overrides = {{bigcode ? "n_embd" : "hidden_size", kWide},
                              {bigcode ? "n_inner" : "intermediate_size", 32}};
  if (!bigcode) overrides["vocab_size"] = 64;
  if (which.architecture == Architecture::llama) overrides["head_dim"] = 32;
  if (which.epsilon != nullptr) overrides[which.epsilon] = 1e-12;
  return BoundsOf(test::one_layer(which.architecture, overrides), test::arithmetics()[0].arithmetic);
}

// The width of published models, and an epsilon that hides nothing.
TEST(ErrorModel, AWideNormIsWithinItsBound) {
  for (const NormCase& which : {kNorms[0], kNorms[2]}) {  // RMSNorm, LayerNorm
    BoundsOf bounds = wide(which);
    const NormUnderTest norm(which.architecture, bounds);
    const Tensor hard = test::nasty_rows(kWide, DType::f32, 1);
    const Index rows = 11;  // without the row of zeros with one channel, which is the next test's
    const Tensor x({rows, kWide}, {hard.values().begin(), hard.values().begin() + rows * kWide});
    const Tensor exact = norm.exact(x);
    const Tensor bound = bounds.of({Tap::attn_norm, 0}, exact, {{kPartInput, {x, {}}}});
    for (const Order order : test::kOrders) {
      Within within;
      within.add(exact, norm.in_float(x, DType::f32, order), bound);
      EXPECT_EQ(within.beyond(), 0) << name(which.architecture) << " " << name(order) << " worst " << within.worst();
    }
  }
}

// One channel so large that the square of every other one rounds away, or up: errors of one sign, which do not average
// out. Trained models have such channels.
TEST(ErrorModel, AWideNormWithAMassiveChannelIsWithinItsBound) {
  for (const NormCase& which : {kNorms[0], kNorms[2]}) {  // RMSNorm, LayerNorm
    BoundsOf bounds = wide(which);
    const NormUnderTest norm(which.architecture, bounds);
    for (const double massive : {100.0, 300.0, 1000.0, 3000.0}) {
      Tensor x = test::normal_values({4, kWide}, DType::f32, 1, massive == 100.0 ? 0.0 : 0.15);
      for (Index r = 0; r < x.rows(); ++r) x.row(r)[static_cast<std::size_t>(r)] = massive;
      const Tensor exact = norm.exact(x);
      const Tensor bound = bounds.of({Tap::attn_norm, 0}, exact, {{kPartInput, {x, {}}}});
      for (const Order order : test::kOrders) {
        Within within;
        within.add(exact, norm.in_float(x, DType::f32, order), bound);
        EXPECT_EQ(within.beyond(), 0) << name(which.architecture) << " " << massive << " " << name(order) << " worst "
                                      << within.worst();
      }
    }
  }
}

TEST(ErrorModel, ANormPassesOnWhatItsInputErrs) {
  for (const NormCase& which : kNorms) {
    BoundsOf bounds(test::one_layer(which.architecture), test::arithmetics()[0].arithmetic);
    const NormUnderTest norm(which.architecture, bounds);
    const Tensor x = test::normal_values({16, bounds.model().config.hidden_size}, DType::f32, 1);
    const Tensor errors = test::errors_of(x, 1e-3), exact = norm.exact(x);
    const Tensor bound = bounds.of({Tap::attn_norm, 0}, exact, {{kPartInput, {x, errors}}});
    Within within;
    for (const std::uint64_t seed : {1U, 2U, 3U, 4U})
      within.add(exact, norm.exact(test::moved(x, errors, seed)), bound);
    // All errors away from zero or all towards it change the scale most.
    within.add(exact, norm.exact(test::moved(x, errors, 5)), bound);
    for (const double sign : {1.0, -1.0}) {
      Tensor grown = x;
      for (std::size_t i = 0; i < grown.values().size(); ++i) {
        grown.values()[i] += std::copysign(errors.values()[i], x.values()[i] * sign);
      }
      within.add(exact, norm.exact(grown), bound);
    }
    EXPECT_EQ(within.beyond(), 0) << name(which.architecture) << " worst " << within.worst();
    EXPECT_GT(within.worst(), 0.05);
  }
}

TEST_P(ProductsAndNorms, ANormOfHeadsIsWithinItsBound) {
  const Arithmetic& arithmetic = GetParam().arithmetic;
  BoundsOf bounds(test::one_layer(Architecture::phi, {{"qk_layernorm", true}}), arithmetic);
  const ModelConfig& config = bounds.model().config;
  const ref::Norm weights = ref::bind_norm(*bounds.model().weights, bounds.errors().module_of({Tap::k_norm, 0}), true);
  const ref::Ops ops(bounds.workers());
  const Tensor heads = test::nasty_rows(config.head_dim, arithmetic.activations, 1);  // one token's, H = rows
  const Index tokens = heads.rows() / config.num_kv_heads, H = config.num_kv_heads, d = config.head_dim;
  Tensor rows({tokens, H * d}), by_head({H, tokens, d});
  for (Index t = 0; t < tokens; ++t) {
    for (Index h = 0; h < H; ++h) {
      const auto from = heads.row(t * H + h);
      std::ranges::copy(from, rows.row(t).begin() + h * d);
      std::ranges::copy(from, by_head.row(h * tokens + t).begin());
    }
  }
  const Tensor exact = ops.layer_norm(by_head, weights, config.norm_eps);
  const Tensor bound = bounds.of({Tap::k_norm, 0}, exact, {{Tap::k_proj, {rows, {}}}});
  for (const Order order : test::kOrders) {
    Tensor got(exact.shape());
    for (Index r = 0; r < exact.rows(); ++r) {
      const Floats y = layer_norm(test::floats(by_head.row(r)), weights, static_cast<float>(config.norm_eps), order);
      std::ranges::copy(y, got.row(r).begin());
    }
    Within within;
    within.add(exact, test::narrowed(arithmetic.activations, got), bound);
    EXPECT_EQ(within.beyond(), 0) << name(order) << " worst " << within.worst();
  }
}

}  // namespace
}  // namespace mlbench::harness
