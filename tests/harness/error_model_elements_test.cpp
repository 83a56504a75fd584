// The bounds of what is computed element by element, activations, gated products and sums, against float32 in the forms
// in which engines write it.
#include <algorithm>
#include <cmath>
#include <functional>

#include <gmock/gmock.h>

#include "reference/ops.h"
#include "tests/harness/bounds_of.h"
#include "tests/harness/float_operators.h"

namespace mlbench::harness {
namespace {

using backends::Arithmetic;
using ref::Tensor;
using test::BoundsOf;
using test::Within;

class ElementBounds : public ::testing::TestWithParam<test::NamedArithmetic> {};
INSTANTIATE_TEST_SUITE_P(Arithmetics, ElementBounds, ::testing::ValuesIn(test::arithmetics()),
                         [](const auto& which) { return which.param.name; });

// Everywhere: a fine sweep over where functions bend, the tails where exponentials overflow and underflow, magnitudes
// of all sizes. `width` a row.
Tensor sweep(DType type, Index width) {
  std::vector<double> x;
  for (int i = -9000; i <= 9000; ++i) x.push_back(i * 0.00133);
  for (int i = -2600; i <= 2600; ++i) x.push_back(i * 0.05);
  for (int e = -40; e <= (type == DType::f16 ? 4 : 9); ++e) {
    for (const double v : {1.0, 1.7, 5.3}) {
      x.push_back(v * std::pow(10.0, e));
      x.push_back(-v * std::pow(10.0, e));
    }
  }
  x.resize((x.size() / static_cast<std::size_t>(width) + 1) * static_cast<std::size_t>(width), 0.0);
  const auto rows = static_cast<Index>(x.size()) / width;
  return test::narrowed(type, Tensor({rows, width}, std::move(x)));
}

float tanh_argument(float x) { return 0.79788456F * (x + 0.044715F * x * x * x); }

struct Form {
  const char* activation;  // the name of config.json
  Activation kind;
  std::function<float(float)> compute;
};

std::vector<Form> forms() {
  return {
      {"silu", Activation::silu, [](float x) { return x / (1.0F + std::exp(-x)); }},
      {"silu", Activation::silu, [](float x) { return x * (1.0F / (1.0F + std::exp(-x))); }},
      {"silu", Activation::silu,
       [](float x) { return x < 0.0F ? x * std::exp(x) / (1.0F + std::exp(x)) : x / (1.0F + std::exp(-x)); }},
      {"gelu", Activation::gelu_erf, [](float x) { return 0.5F * x * (1.0F + std::erf(x * 0.70710678F)); }},
      {"gelu", Activation::gelu_erf, [](float x) { return 0.5F * x * std::erfc(x * -0.70710678F); }},
      {"gelu_new", Activation::gelu_tanh, [](float x) { return 0.5F * x * (1.0F + std::tanh(tanh_argument(x))); }},
      {"gelu_new", Activation::gelu_tanh,
       [](float x) { return 0.5F * x * (1.0F + std::tanh(x * 0.79788456F * (1.0F + 0.044715F * x * x))); }},
      {"gelu_new", Activation::gelu_tanh, [](float x) { return x / (1.0F + std::exp(-2.0F * tanh_argument(x))); }},
      {"gelu_fast", Activation::gelu_fast,
       [](float x) { return 0.5F * x * (1.0F + std::tanh(x * 0.7978845608F * (1.0F + 0.044715F * x * x))); }},
      {"relu", Activation::relu, [](float x) { return std::max(x, 0.0F); }},
  };
}

Tensor by_element(const Tensor& x, const std::function<float(float)>& compute) {
  Tensor out(x.shape());
  std::ranges::transform(x.values(), out.values().begin(),
                         [&](double value) { return static_cast<double>(compute(static_cast<float>(value))); });
  return out;
}

// `form` of the gate, in float32, within the bounds of its activation.
Within activated(BoundsOf& bounds, const Tensor& x, const Form& form) {
  const Tensor exact = ref::Ops(bounds.workers()).activate(x, form.kind);
  Within within;
  within.add(exact, test::narrowed(bounds.arithmetic().activations, by_element(x, form.compute)),
             bounds.of({Tap::act, 0}, exact, {{Tap::gate, {x, {}}}}));
  return within;
}

TEST_P(ElementBounds, HoldForEveryActivationInEveryForm) {
  const Arithmetic& arithmetic = GetParam().arithmetic;
  const DType type = arithmetic.activations;
  const Tensor everywhere = sweep(type, 16), normal = test::normal_values({100, 16}, type, 1);
  for (const Form& form : forms()) {
    BoundsOf bounds(test::one_layer(Architecture::llama, {{"hidden_act", form.activation}}), arithmetic);
    ASSERT_EQ(bounds.model().config.activation, form.kind);
    EXPECT_EQ(activated(bounds, everywhere, form).beyond(), 0)
        << form.activation << " worst " << activated(bounds, everywhere, form).worst();
    if (type == DType::bf16 && form.kind != Activation::relu) {
      EXPECT_GT(activated(bounds, normal, form).median(), 0.05) << form.activation;
    }
  }
}

// What GPUs have an instruction for. The rounding of the exponent grows with it.
TEST(ErrorModel, SiluByPowersOfTwoIsWithinItsBound) {
  const Form form = {"silu", Activation::silu, [](float x) { return x / (1.0F + std::exp2(-1.44269504F * x)); }};
  BoundsOf bounds(test::one_layer(Architecture::llama), {});
  const Within within = activated(bounds, sweep(DType::f32, 16), form);
  EXPECT_EQ(within.beyond(), 0) << "worst " << within.worst();
}

// Slopes reach 1.13 for GELU and 1.10 for SiLU, and are 1 or 0 for ReLU.
TEST(ErrorModel, ActivationsPassOnWhatTheirInputErrs) {
  const Tensor x = sweep(DType::f32, 16);
  for (const Form& form : forms()) {
    BoundsOf bounds(test::one_layer(Architecture::phi, {{"hidden_act", form.activation}}), {});
    const ref::Ops ops(bounds.workers());
    const Tensor exact = ops.activate(x, form.kind);
    for (const double size : {1e-4, 1e-2, 1.0}) {
      const Tensor errors(x.shape(), size);
      const Tensor bound = bounds.of({Tap::act, 0}, exact, {{Tap::up, {x, errors}}});
      Within within;
      for (const std::uint64_t seed : {1U, 2U, 3U}) {
        within.add(exact, ops.activate(test::moved(x, errors, seed), form.kind), bound);
      }
      EXPECT_EQ(within.beyond(), 0) << form.activation << " worst " << within.worst();
      EXPECT_GT(within.worst(), 0.8) << form.activation;
    }
  }
}

// One kind for another is no rounding error.
TEST(ErrorModel, ActivationsOfAnotherKindAreBeyondTheBound) {
  const Tensor x = test::normal_values({4, 16}, DType::f32, 1);
  BoundsOf bounds(test::one_layer(Architecture::phi, {{"hidden_act", "gelu"}}), {});
  const ref::Ops ops(bounds.workers());
  const Tensor exact = ops.activate(x, Activation::gelu_erf);
  const Tensor bound = bounds.of({Tap::act, 0}, exact, {{Tap::up, {x, {}}}});
  Within within;
  within.add(exact, ops.activate(x, Activation::gelu_tanh), bound);
  EXPECT_GT(within.beyond(), 50);
}

TEST_P(ElementBounds, HoldForGatedProducts) {
  const DType type = GetParam().arithmetic.activations;
  BoundsOf bounds(test::one_layer(Architecture::llama), GetParam().arithmetic);
  const Tensor act = test::nasty_rows(520, type, 1);
  Tensor up = test::nasty_rows(520, type, 2);
  if (type == DType::f16)
    std::ranges::for_each(up.values(), [](double& v) { v = std::clamp(v, -8.0, 8.0); });  // of 65504
  const ref::Ops ops(bounds.workers());
  const Tensor exact = ops.multiply(act, up);
  Tensor got(exact.shape());
  for (std::size_t i = 0; i < got.values().size(); ++i) {
    got.values()[i] = static_cast<double>(static_cast<float>(act.values()[i]) * static_cast<float>(up.values()[i]));
  }
  Within rounding;
  rounding.add(exact, test::narrowed(type, got),
               bounds.of({Tap::mlp_hidden, 0}, exact, {{Tap::act, {act, {}}}, {Tap::up, {up, {}}}}));
  EXPECT_EQ(rounding.beyond(), 0) << rounding.worst();
  if (type == DType::bf16) {
    EXPECT_GT(rounding.median(), 0.05);
  }
}

// Also where a value is smaller than its error: two of them together leave the product of their errors.
TEST(ErrorModel, GatedProductsPassOnWhatTheirFactorsErr) {
  BoundsOf bounds(test::one_layer(Architecture::llama), {});
  const ref::Ops ops(bounds.workers());
  for (const double scale : {1.0, 1e-6}) {
    const Tensor act = test::normal_values({13, 520}, DType::f32, 1, scale);
    const Tensor up = test::normal_values({13, 520}, DType::f32, 2, scale);
    const Tensor act_errors = test::errors_of(act, 1e-3), up_errors = test::errors_of(up, 1e-3);
    const Tensor exact = ops.multiply(act, up);
    const Tensor bound =
        bounds.of({Tap::mlp_hidden, 0}, exact, {{Tap::act, {act, act_errors}}, {Tap::up, {up, up_errors}}});
    Within within;
    for (const std::uint64_t seed : {1U, 2U, 3U}) {
      within.add(exact, ops.multiply(test::moved(act, act_errors, seed), test::moved(up, up_errors, seed + 10)), bound);
    }
    EXPECT_EQ(within.beyond(), 0) << "values of " << scale << ", worst " << within.worst();
    EXPECT_GT(within.worst(), 0.5);
  }
}

// x + attention, and Phi's x + attention + MLP in every order; terms that cancel as well.
struct SumCase {
  Architecture architecture;
  TapId id;
  std::vector<Tap> terms;
};

TEST_P(ElementBounds, HoldForSumsInAnyOrder) {
  const auto row = [](const Tensor& x) { return Tensor({1, x.cols()}, {x.row(0).begin(), x.row(0).end()}); };
  const DType type = GetParam().arithmetic.activations;
  const SumCase cases[] = {{Architecture::llama, {Tap::attn_residual, 0}, {kPartInput, Tap::attn_out}},
                           {Architecture::llama, {Tap::layer_out, 0}, {Tap::attn_residual, Tap::mlp_out}},
                           {Architecture::phi, {Tap::layer_out, 0}, {kPartInput, Tap::attn_out, Tap::mlp_out}}};
  for (const SumCase& which : cases) {
    BoundsOf bounds(test::one_layer(which.architecture), GetParam().arithmetic);
    std::vector<Tensor> terms;
    KnownTaps known, erring;
    Tensor exact({13, 240});
    for (const Tap tap : which.terms) {
      terms.push_back(test::nasty_rows(240, type, terms.size() + 1));
      ASSERT_EQ(terms.back().shape(), exact.shape());
      if (terms.size() == 2) std::ranges::transform(terms[0].row(1), terms[1].row(1).begin(), std::negate<>());
      known[tap] = {terms.back(), {}};
      erring[tap] = {terms.back(), test::errors_of(terms.back(), 1e-3)};
      for (std::size_t i = 0; i < exact.values().size(); ++i) exact.values()[i] += terms.back().values()[i];
    }
    const Tensor bound = bounds.of(which.id, exact, known), wider = bounds.of(which.id, exact, erring);
    Within rounding, passing, first_row;
    for (std::size_t first = 0; first < terms.size(); ++first) {
      Tensor got(exact.shape()), other(exact.shape());
      for (std::size_t n = 0; n < terms.size(); ++n) {
        const Tap tap = which.terms[(first + n) % terms.size()];
        const Tensor near = test::moved(erring[tap].value, erring[tap].error, first * 10 + n);
        for (std::size_t i = 0; i < got.values().size(); ++i) {
          const double term = known[tap].value.values()[i];
          got.values()[i] = static_cast<double>(static_cast<float>(got.values()[i]) + static_cast<float>(term));
          other.values()[i] += near.values()[i];
        }
      }
      rounding.add(exact, test::narrowed(type, got), bound);
      first_row.add(row(exact), row(test::narrowed(type, got)), row(bound));
      passing.add(exact, other, wider);
    }
    EXPECT_EQ(rounding.beyond(), 0) << to_string(which.id) << " worst " << rounding.worst();
    EXPECT_EQ(passing.beyond(), 0) << to_string(which.id) << " worst " << passing.worst();
    EXPECT_GT(passing.worst(), 0.5) << to_string(which.id);
    if (type == DType::bf16) {
      EXPECT_GT(first_row.median(), 0.05) << to_string(which.id);
    }
  }
}

// Rows of the embedding are copied: nothing is forgiven where nothing is rounded.
TEST(ErrorModel, CopiedRowsHaveNoError) {
  for (const auto& [name, arithmetic] : test::arithmetics()) {
    BoundsOf bounds(test::one_layer(Architecture::llama), arithmetic);
    const Tensor rows = test::normal_values({3, 192}, arithmetic.weights, 1);
    EXPECT_THAT(bounds.of({Tap::embed, -1}, rows, {}).values(), ::testing::Each(0.0)) << name;
  }
}

TEST_P(ElementBounds, HoldForTheSumOfTwoEmbeddings) {
  const Arithmetic& arithmetic = GetParam().arithmetic;
  BoundsOf bounds(test::one_layer(Architecture::gpt_bigcode), arithmetic);
  const Index width = bounds.model().config.hidden_size;
  const Tensor token = test::nasty_rows(width, arithmetic.weights, 1);
  const Tensor position = test::normal_values(token.shape(), arithmetic.weights, 2);
  const Tensor exact = ref::Ops(bounds.workers()).add(token, position);
  Tensor got(exact.shape());
  for (std::size_t i = 0; i < got.values().size(); ++i) {
    got.values()[i] =
        static_cast<double>(static_cast<float>(token.values()[i]) + static_cast<float>(position.values()[i]));
  }
  Within within;
  within.add(exact, test::narrowed(arithmetic.activations, got), bounds.of({Tap::embed, -1}, exact, {}));
  EXPECT_EQ(within.beyond(), 0) << within.worst();
}

}  // namespace
}  // namespace mlbench::harness
