// Exact mode: where nothing has to be rounded, the limit is 0, and an honest backend keeps to it.
#include "harness/exact.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>
#include <set>

#include <gmock/gmock.h>

#include "harness/cases.h"
#include "harness/isolated.h"
#include "models/tensor_inventory.h"
#include "tests/harness/around.h"
#include "tests/harness/bounds_of.h"

namespace mlbench::harness {
namespace {

using ref::Tensor;

std::vector<VerifyCase> exact_cases(Architecture architecture) {
  const Inputs exact = Inputs::exact;
  return make_cases(preset_config(small_preset(architecture)), {}, {&exact, 1}, 1);
}

void verify(const Model& model, const Plan& plan, Inputs inputs, DType dtype, backends::Backend& backend,
            const Report& report) {
  Workers workers{1};
  const auto session = backend.load(model, {.dtype = dtype, .threads = 1});
  const ref::Reference reference(model, workers);
  const ErrorModel errors(model, session->arithmetic(), workers);
  for (const Story& story : plan) verify_isolated(story, reference, errors, *session, {inputs, nullptr}, report);
}

std::optional<Tap> tap_of(const TapCheck& check, const ModelConfig& config) {
  for (const TapSpec& spec : tap_specs(config)) {
    if (name(spec.tap) == check.kind) return spec.tap;
  }
  return std::nullopt;
}

// Entries that the first row of each call sees.
std::map<std::string, Index> first_visible(const Plan& plan) {
  std::map<std::string, Index> out;
  Index seen = 1;
  for (const Call& call : plan.front().calls) {
    out[call.label] = seen;
    seen += call.rows();
  }
  return out;
}

using ArchitectureAndType = std::tuple<Architecture, DType>;
class ExactMode : public ::testing::TestWithParam<ArchitectureAndType> {};
INSTANTIATE_TEST_SUITE_P(, ExactMode,
                         ::testing::Combine(::testing::ValuesIn(kArchitectures),
                                            ::testing::Values(DType::f32, DType::bf16, DType::f16)),
                         [](const auto& test) {
                           return std::string(name(std::get<0>(test.param))) + "_" +
                                  std::string(name(std::get<1>(test.param)));
                         });

// Products and logits: every element. Attention: in the last layer, where all scores are equal, the rows that see a
// power of two of entries, and in no layer one that sees another number.
TEST_P(ExactMode, AllowsNoErrorWhereNothingIsRounded) {
  const auto [architecture, dtype] = GetParam();
  const auto backend = test::cpu_backend();
  std::set<std::string> products;
  for (const VerifyCase& one : exact_cases(architecture)) {
    const std::map<std::string, Index> seen = first_visible(one.plan);
    Index exact_rows = 0, other_rows = 0;
    const auto look = [&](const TapCheck& check, const Sight* sight) {
      EXPECT_TRUE(check.passed) << one.name << " " << check.call << " " << check.tap << " " << check.error;
      EXPECT_EQ(check.mode, VerifyMode::exact);
      const auto tap = tap_of(check, *one.config);
      if (sight == nullptr || !tap) return;
      const Tensor& x = sight->expected;
      if (product_input(*tap, *one.config)) {
        products.insert(check.kind);
        for (Index i = 0; i < x.size(); ++i) ASSERT_EQ(sight->limit(i), 0.0) << check.tap << " " << check.call;
      }
      if (*tap != Tap::probs && *tap != Tap::context) return;
      const Index rows = *tap == Tap::probs ? x.dim(1) : x.rows();
      for (Index r = 0; r < x.rows(); ++r) {
        const auto visible = static_cast<std::uint64_t>(seen.at(check.call) + r % rows);
        if (check.layer == 0 && std::has_single_bit(visible)) continue;  // by chance: a query may be 0 there too
        const bool exact = std::has_single_bit(visible);
        (exact ? exact_rows : other_rows) += 1;
        for (Index i = r * x.cols(); i < (r + 1) * x.cols(); ++i) {
          // What a row does not see is 0, allowed no error either way.
          if (exact || x.values()[static_cast<std::size_t>(i)] == 0.0) continue;
          ASSERT_GT(sight->limit(i), 0.0) << check.tap << " " << check.call << " sees " << visible;
        }
        if (!exact) continue;
        for (Index i = r * x.cols(); i < (r + 1) * x.cols(); ++i) ASSERT_EQ(sight->limit(i), 0.0) << check.tap;
      }
    };
    verify(make_exact(*one.config, dtype), one.plan, Inputs::exact, dtype, *backend, look);
    EXPECT_GT(exact_rows, 0) << one.name;
    EXPECT_GT(other_rows, 0) << one.name;
  }
  EXPECT_GE(products.size(), architecture == Architecture::gpt_bigcode ? 5U : 6U);
  EXPECT_TRUE(products.contains("logits"));
}

// ---- what it finds ----

// Moves every value of one tap by one unit in the last place of float32.
class OffByOne final : public test::SessionAround {
 public:
  OffByOne(std::unique_ptr<backends::Session> inner, Tap tap) : SessionAround(std::move(inner)), tap_(tap) {}
  void get_logits(const ConstTensorView& hidden, const TensorView& out) override {
    SessionAround::get_logits(hidden, out);
    if (tap_ != Tap::logits) return;
    for (float& value : test::floats(out)) value = std::nextafter(value, 1e30F);
  }
  void run_part(const backends::Part& part, const ConstTensorView& x, backends::KvCache& cache, const TensorView& out,
                backends::TapSink* taps) override {
    Moved moved(*taps, tap_);
    SessionAround::run_part(part, x, cache, out, &moved);
  }

 private:
  class Moved final : public backends::TapSink {
   public:
    Moved(backends::TapSink& to, Tap tap) : to_(to), tap_(tap) {}
    [[nodiscard]] bool wants(TapId id) const override { return to_.wants(id); }
    void take(TapId id, const ConstTensorView& value) override {
      if (id.tap != tap_) return to_.take(id, value);
      HostTensor copy(value.dtype, value.shape);
      std::copy_n(value.data, copy.bytes().size(), copy.bytes().begin());
      const std::span<float> values = test::floats(copy.view());
      for (float& one : values) one = std::nextafter(one, 1e30F);
      to_.take(id, copy.view());
    }

   private:
    backends::TapSink& to_;
    Tap tap_;
  };
  Tap tap_;
};

TEST(ExactModel, ShowsAUnitInTheLastPlaceThatRandomValuesHide) {
  for (const Tap tap : {Tap::logits, Tap::up, Tap::attn_out}) {
    const auto backend = test::cpu_backend(
        [tap](std::unique_ptr<backends::Session> inner) { return std::make_unique<OffByOne>(std::move(inner), tap); });
    const VerifyCase one = exact_cases(Architecture::llama)[1];
    const auto failed = [&](const Model& model, Inputs inputs) {
      Index out = 0;
      verify(model, one.plan, inputs, DType::f32, *backend, [&](const TapCheck& check, const Sight*) {
        if (check.kind == name(tap) && !check.passed) ++out;
      });
      return out;
    };
    Workers workers{1};
    const Index calls = total_calls(one.plan);
    EXPECT_EQ(failed(make_synthetic(*one.config, DType::f32, 1, workers), Inputs::random), 0) << name(tap);
    EXPECT_EQ(failed(make_exact(*one.config, DType::f32), Inputs::exact), tap == Tap::logits ? calls : 2 * calls)
        << name(tap);
  }
}

// ---- the model ----

std::vector<double> values_of(const Model& model, const std::string& tensor) {
  return model.weights->get(tensor).widened();
}

TEST(ExactModel, HasSelectionsThatPickEveryColumn) {
  for (const Architecture architecture : kArchitectures) {
    for (const VerifyCase& one : exact_cases(architecture)) {
      const Model model = make_exact(*one.config, DType::bf16);
      for (const TensorSpec& spec : layer_tensors(*one.config, 0)) {
        if (spec.bias || spec.shape.size() != 2) continue;
        const std::vector<double> w = values_of(model, spec.name);
        const Index rows = spec.shape[0], cols = spec.shape[1];
        std::set<Index> picked;
        for (Index r = 0; r < rows; ++r) {
          Index terms = 0;
          for (Index c = 0; c < cols; ++c) {
            const double value = w[static_cast<std::size_t>(r * cols + c)];
            if (value == 0.0) continue;
            ++terms;
            EXPECT_TRUE(std::fabs(value) == 0.5 || std::fabs(value) == 1.0 || std::fabs(value) == 2.0) << value;
            if (r < cols) picked.insert(c);
          }
          ASSERT_EQ(terms, 1) << spec.name << " row " << r;
        }
        EXPECT_EQ(static_cast<Index>(picked.size()), std::min(rows, cols)) << one.name << " " << spec.name;
      }
    }
  }
}

// In the last layer queries, keys and values are 0, so that all scores are equal.
TEST(ExactModel, HasNoQueriesInItsLastLayerAndNoBiases) {
  for (const Architecture architecture : kArchitectures) {
    const ModelConfig config = exact_cases(architecture)[0].config.value();
    const Model model = make_exact(config, DType::f32);
    for (const TensorSpec& spec : layer_tensors(config, 1)) {
      const std::vector<double> w = values_of(model, spec.name);
      const bool zero = std::ranges::all_of(w, [](double value) { return value == 0.0; });
      const bool projection = spec.role == TensorRole::q_proj || spec.role == TensorRole::k_proj ||
                              spec.role == TensorRole::v_proj || spec.role == TensorRole::qkv_proj;
      EXPECT_EQ(zero, spec.bias || projection) << spec.name;
    }
  }
}

TEST(ExactModel, HasAnOutputLayerWhoseSumsStaySmall) {
  for (const VerifyCase& one : exact_cases(Architecture::llama)) {
    const Model model = make_exact(*one.config, DType::f16);
    const WeightView& head = model.weights->get(kLmHeadName);
    const Tensor x = integer_rows(20, one.config->hidden_size, 1);
    std::set<double> seen(x.values().begin(), x.values().end());
    EXPECT_EQ(seen, (std::set<double>{-4, -3, -2, -1, 0, 1, 2, 3, 4}));
    std::vector<double> w(static_cast<std::size_t>(head.cols));
    for (Index v = 0; v < head.rows; ++v) {
      head.widen_row(v, w);
      const double magnitude =
          std::accumulate(w.begin(), w.end(), 0.0, [](double a, double b) { return a + std::fabs(b); });
      EXPECT_LE(4.0 * magnitude, 128.0);
      EXPECT_GT(magnitude, 0.0) << "token " << v << " has no logit of its own";
    }
  }
}

// ---- what is recognised, and what is not ----

TEST(ExactTap, LeavesTheBoundsOfAnEverydayModelAlone) {
  test::BoundsOf bounds(test::one_layer(Architecture::phi), stored_arithmetic(DType::f32));
  const Tensor x = integer_rows(3, bounds.model().config.hidden_size, 1);
  const KnownTaps known = {{Tap::attn_norm, {x, {}}}};
  const Tensor y(Shape{3, bounds.model().config.intermediate_size}, 1.0);
  const Tensor bound(y.shape(), 0.25);
  EXPECT_EQ(exact_tap({Tap::up, 0}, y, bound, known, {}, bounds.errors()).error, bound);
}

// What is only known up to an error leaves something to forgive.
TEST(ExactTap, ForgivesWhereTheInputWasNotGiven) {
  const ModelConfig config = exact_cases(Architecture::llama)[0].config.value();
  const Model model = make_exact(config, DType::f32);
  Workers workers{1};
  const ErrorModel errors(model, stored_arithmetic(DType::f32), workers);
  const Tensor x = integer_rows(3, config.hidden_size, 1), y(Shape{3, config.intermediate_size}, 1.0);
  const Tensor bound(y.shape(), 0.25);
  const KnownTaps given = {{Tap::mlp_norm, {x, {}}}}, guessed = {{Tap::mlp_norm, {x, Tensor(x.shape(), 1e-6)}}};
  EXPECT_EQ(exact_tap({Tap::up, 0}, y, bound, given, {}, errors).error, Tensor(y.shape(), 0.0));
  EXPECT_EQ(exact_tap({Tap::up, 0}, y, bound, guessed, {}, errors).error, bound);
  EXPECT_EQ(exact_tap({Tap::up, 0}, y, bound, {}, {}, errors).error, bound);
  EXPECT_EQ(exact_tap({Tap::layer_out, 0}, y, bound, given, {}, errors).error, bound) << "no product";
}

// 1 + 2^-10 is no value of bf16, nor is any power of two times it.
TEST(ExactTap, ForgivesTheRoundingToATypeThatCannotHoldTheResult) {
  const ModelConfig config = exact_cases(Architecture::llama)[0].config.value();
  const Model model = make_exact(config, DType::bf16);
  Workers workers{1};
  const ErrorModel errors(model, stored_arithmetic(DType::bf16), workers);
  Tensor x(Shape{1, config.hidden_size}, 1.0 + 0x1p-10);  // as a backend that keeps more than it says would give it
  const Tensor y(Shape{1, config.intermediate_size}, 1.0), bound(y.shape(), 0.25);
  EXPECT_EQ(exact_tap({Tap::up, 0}, y, bound, {{Tap::mlp_norm, {x, {}}}}, {}, errors).error, bound);
}

}  // namespace
}  // namespace mlbench::harness
