// Backends against the live reference: honest ones pass, and a mistake is reported at the tap where it was made, in
// both modes.
#include "harness/verify_backend.h"

#include <algorithm>
#include <map>
#include <set>

#include <gmock/gmock.h>

#include "harness/reference_backend.h"
#include "models/presets.h"
#include "models/synthetic.h"
#include "models/tensor_inventory.h"
#include "reference/rope.h"
#include "tests/harness/around.h"
#include "tests/harness/wrong_backend.h"

namespace mlbench::harness {
namespace {

using ref::Tensor;
using ::testing::HasSubstr;

// Two layers, so that a run takes a second.
ModelConfig small(Architecture architecture) {
  const char* layers = architecture == Architecture::gpt_bigcode ? "n_layer" : "num_hidden_layers";
  return preset_config(small_preset(architecture), {{layers, 2}});
}

class VerifyBackend : public ::testing::Test {
 protected:
  BackendVerification verify(const ModelConfig& config, backends::Backend& backend, DType dtype) {
    const Model model = make_synthetic(config, dtype, 1, workers_);
    BackendOptions options;
    options.run.dtype = dtype;
    options.run.threads = 1;
    return verify_backend(model, backend, make_plan(config, Extent::quick, 1), options, workers_);
  }
  // In f32; the first two stories of the plan, or cases.
  BackendVerification run(const Model& model, backends::Backend& backend, std::span<const VerifyCase> cases = {}) {
    BackendOptions options;
    options.run = {.dtype = DType::f32, .threads = 1};
    if (!cases.empty()) return verify_backend(model, backend, cases, options, workers_);
    Plan plan = make_plan(model.config, Extent::quick, 1);
    plan.resize(2);
    return verify_backend(model, backend, plan, options, workers_);
  }

  Workers workers_{2};
};

const TapCheck* first_failure(const BackendVerification& result, VerifyMode mode) {
  const auto it =
      std::ranges::find_if(result.checks, [&](const TapCheck& check) { return check.mode == mode && !check.passed; });
  return it == result.checks.end() ? nullptr : &*it;
}

class EveryArchitecture : public VerifyBackend, public ::testing::WithParamInterface<Architecture> {};

TEST_P(EveryArchitecture, TheReferencePassesItsOwnVerification) {
  const auto backend = make_reference_backend();
  const BackendVerification result = verify(small(GetParam()), *backend, DType::f64);
  EXPECT_EQ(result.error, "");
  EXPECT_TRUE(result.passed());
  EXPECT_TRUE(result.unsupported.empty());
  EXPECT_TRUE(result.untrusted.empty());
  EXPECT_TRUE(std::ranges::any_of(  // keys that are rotated where they stand now
      result.checks,
      [](const TapCheck& check) { return check.call == "window/3 prefill" && check.kind == "attn.probs"; }));
  // Every tap of every call, in both modes.
  for (const VerifyMode mode : {VerifyMode::isolated, VerifyMode::chained}) {
    for (const TapId id : all_taps(small(GetParam()))) {
      EXPECT_TRUE(std::ranges::any_of(
          result.checks, [&](const TapCheck& check) { return check.mode == mode && check.tap == to_string(id); }))
          << name(mode) << " " << to_string(id);
    }
  }
}

// One row of one weight matrix: the product with it is the first tap that strays, in that element.
TEST_P(EveryArchitecture, AWrongWeightRowIsReportedAtItsTapInBothModes) {
  const bool bigcode = GetParam() == Architecture::gpt_bigcode;
  const std::string layer = bigcode ? "transformer.h.1.mlp." : "model.layers.1.mlp.";
  const bool phi = GetParam() == Architecture::phi;
  const std::string tensor = layer + (bigcode ? "c_fc" : phi ? "fc1" : "up_proj") + ".weight";
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const auto backend =
        test::with_changed_model([&](const Model& model) { return test::with_row_repeated(model, tensor, 7); });
    const BackendVerification result = verify(small(GetParam()), *backend, dtype);
    for (const VerifyMode mode : {VerifyMode::isolated, VerifyMode::chained}) {
      const TapCheck* first = first_failure(result, mode);
      ASSERT_NE(first, nullptr) << name(mode) << " " << name(dtype);
      EXPECT_EQ(first->tap, "layers.1.mlp.up") << name(mode) << " " << name(dtype);
      EXPECT_EQ(first->worst->element, "[7]") << name(mode) << " " << name(dtype);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Architectures, EveryArchitecture, ::testing::ValuesIn(kArchitectures),
                         [](const auto& arch) { return std::string(name(arch.param)); });

// Queries of one position are rotated as if they stood one further.
TEST_F(VerifyBackend, AWrongPositionIsReportedAtItsTapInBothModes) {
  const ModelConfig config = small(Architecture::llama);
  const ref::Rope rope(config.rope, ref::RopeCompat::f64);
  const ref::Rope::Angles one = rope.angles(1, rope.frequencies(1));
  constexpr Index kRow = 3;
  const auto backend = make_reference_backend([&](TapId id, const Tensor& value) -> std::optional<Tensor> {
    if (id != TapId{Tap::q, 1} || value.dim(1) <= kRow) return std::nullopt;
    Tensor wrong = value;
    for (Index h = 0; h < wrong.dim(0); ++h) {
      ref::rotate(wrong.row(h * wrong.dim(1) + kRow).data(), one.cos.data(), one.sin.data(), rope.rotary_dim());
    }
    return wrong;
  });
  const BackendVerification result = verify(config, *backend, DType::f64);
  for (const VerifyMode mode : {VerifyMode::isolated, VerifyMode::chained}) {
    const TapCheck* first = first_failure(result, mode);
    ASSERT_NE(first, nullptr) << name(mode);
    EXPECT_EQ(first->tap, "layers.1.attn.q") << name(mode);
    EXPECT_EQ(first->worst->position, kRow) << name(mode);
    EXPECT_EQ(first->call, "single/0 prefill") << name(mode);
  }
}

// An error is seen where it is made: what comes after is right for what it was given.
TEST_F(VerifyBackend, IsolatedBlamesNoOtherTapThanTheWrongOne) {
  const auto backend = make_reference_backend([](TapId id, const Tensor& value) -> std::optional<Tensor> {
    if (id != TapId{Tap::context, 0}) return std::nullopt;
    Tensor wrong = value;
    wrong.values()[5] *= 1.0001;
    return wrong;
  });
  const BackendVerification result = verify(small(Architecture::olmo), *backend, DType::f64);
  Index failed = 0;
  for (const TapCheck& check : result.checks) {
    if (check.passed || check.mode == VerifyMode::chained) continue;
    ++failed;
    EXPECT_EQ(check.tap, "layers.0.attn.context");
    EXPECT_EQ(check.straying, 1);
  }
  EXPECT_GT(failed, 0);
}

TEST_F(VerifyBackend, ANumberThatIsNoneFails) {
  const auto backend = make_reference_backend([](TapId id, const Tensor& value) -> std::optional<Tensor> {
    if (id != TapId{Tap::mlp_out, 1}) return std::nullopt;
    Tensor wrong = value;
    wrong.values().back() = std::numeric_limits<double>::quiet_NaN();
    return wrong;
  });
  const BackendVerification result = verify(small(Architecture::phi), *backend, DType::f64);
  for (const VerifyMode mode : {VerifyMode::isolated, VerifyMode::chained}) {
    const TapCheck* first = first_failure(result, mode);
    ASSERT_NE(first, nullptr) << name(mode);
    EXPECT_EQ(first->tap, "layers.1.mlp.out") << name(mode);
  }
}

TEST_F(VerifyBackend, WhatTheBackendThrowsIsItsErrorAndWhatItLacksIsListed) {
  const auto backend = test::that_breaks();
  const BackendVerification result = verify(small(Architecture::llama), *backend, DType::f32);
  EXPECT_THAT(result.error, HasSubstr("the device fell off the bus"));
  EXPECT_FALSE(result.passed());
  ASSERT_EQ(result.unsupported.size(), 2U);  // and the story with a window
  EXPECT_EQ(result.unsupported[0].what, "isolated mode");
  EXPECT_EQ(result.unsupported[0].reason, "it keeps its layers to itself");
  EXPECT_TRUE(std::ranges::all_of(result.checks, [](const TapCheck& check) {
    return check.mode == VerifyMode::chained && check.call == "single/0 prefill" && check.passed;
  }));
}

// Says that it gives what it keeps to itself.
class Silent final : public test::SessionAround {
 public:
  using SessionAround::SessionAround;
  void forward(backends::Method method, const ConstTensorView& x, std::span<const std::int32_t> positions,
               backends::KvCache& cache, const TensorView& out, backends::TapSink* taps) override {
    if (taps == nullptr) return SessionAround::forward(method, x, positions, cache, out, nullptr);
    struct But final : backends::TapSink {
      explicit But(backends::TapSink& to) : shown(to) {}
      [[nodiscard]] bool wants(TapId id) const override { return id != TapId{Tap::context, 1} && shown.wants(id); }
      void take(TapId id, const ConstTensorView& value) override { shown.take(id, value); }
      backends::TapSink& shown;
    } but(*taps);
    SessionAround::forward(method, x, positions, cache, out, &but);
  }
};

TEST_F(VerifyBackend, ATapThatIsPromisedAndDoesNotComeIsAFault) {
  const BackendVerification result = verify(small(Architecture::llama), *test::cpu_with_session<Silent>(), DType::f32);
  EXPECT_EQ(result.error, "");
  EXPECT_EQ(result.first_failure(), nullptr) << "what came is right";
  ASSERT_EQ(result.faults.size(), 1U);
  EXPECT_EQ(result.faults[0].code, "tap.not_given");
  EXPECT_EQ(result.faults[0].where, "single/0 prefill layers.1.attn.context");
  EXPECT_EQ(result.verdict(), BackendVerification::Verdict::failed);
}

// ---- what passed and means nothing ----

std::set<std::string> untrusted_codes(const BackendVerification& result) {
  std::set<std::string> out;
  for (const Finding& finding : result.untrusted) out.insert(finding.code);
  return out;
}

// Weights that are all zero: logits are, whatever is asked.
TEST_F(VerifyBackend, OfAModelThatIsDeafIsNotTrusted) {
  const ModelConfig config = small(Architecture::llama);
  Model model = make_synthetic(config, DType::f32, 1, workers_);
  const auto zeros =
      std::make_shared<std::vector<float>>(static_cast<std::size_t>(config.vocab_size * config.hidden_size));
  const auto weights = std::make_shared<Weights>(*model.weights);
  weights->keep(model.weights);
  weights->keep(zeros);
  weights->put(kLmHeadName, {.dtype = DType::f32,
                             .rows = config.vocab_size,
                             .cols = config.hidden_size,
                             .data = reinterpret_cast<const std::byte*>(zeros->data())});
  model.weights = weights;
  const BackendVerification result = run(model, *test::cpu_backend());
  EXPECT_EQ(result.error, "");
  EXPECT_EQ(result.first_failure(), nullptr);
  EXPECT_THAT(untrusted_codes(result), ::testing::Contains("untrusted.deaf"));
  EXPECT_EQ(result.verdict(), BackendVerification::Verdict::untrusted);
}

// Logits of its own making: each stays the same, whatever is asked. That also strays.
class Constant final : public test::SessionAround {
 public:
  using SessionAround::SessionAround;
  void forward(backends::Method method, const ConstTensorView& x, std::span<const std::int32_t> positions,
               backends::KvCache& cache, const TensorView& out, backends::TapSink* taps) override {
    SessionAround::forward(method, x, positions, cache, out, taps);
    if (!backends::returns_hidden(method)) std::ranges::fill(test::floats(out), 0.5F);
  }
};

TEST_F(VerifyBackend, OfABackendThatAnswersTheSameToEverythingIsNotTrusted) {
  const ModelConfig config = small(Architecture::phi);
  const BackendVerification result =
      run(make_synthetic(config, DType::f32, 1, workers_), *test::cpu_with_session<Constant>());
  EXPECT_THAT(untrusted_codes(result), ::testing::Contains("untrusted.constant"));
  EXPECT_EQ(result.verdict(), BackendVerification::Verdict::failed);
}

// A backend that declares sums in bf16: so much is forgiven that nothing can be found.
class DeclaresTooMuch final : public test::SessionAround {
 public:
  using SessionAround::SessionAround;
  [[nodiscard]] backends::Arithmetic arithmetic() const override {
    backends::Arithmetic out = SessionAround::arithmetic();
    out.accumulation = DType::bf16;
    return out;
  }
};

TEST_F(VerifyBackend, WithLimitsLargerThanTheSignalIsNotTrusted) {
  const Model model = make_synthetic(small(Architecture::llama), DType::f32, 1, workers_);
  EXPECT_TRUE(run(model, *test::cpu_backend()).untrusted.empty());
  const BackendVerification result = run(model, *test::cpu_with_session<DeclaresTooMuch>());
  EXPECT_EQ(result.error, "");
  EXPECT_EQ(result.first_failure(), nullptr);
  EXPECT_EQ(untrusted_codes(result), std::set<std::string>{"untrusted.loose"});
  EXPECT_EQ(result.verdict(), BackendVerification::Verdict::untrusted);
}

// ---- cases ----

TEST_F(VerifyBackend, RunsEveryCaseThatTheBackendSupportsAndListsTheOthers) {
  const ModelConfig config = small(Architecture::olmo);
  std::vector<VerifyCase> cases = make_cases(config, {}, kInputs, 1);
  const BackendVerification result = run(make_synthetic(config, DType::f32, 1, workers_), *test::cpu_backend(), cases);
  EXPECT_EQ(result.error, "");
  EXPECT_TRUE(result.passed());
  std::set<std::string> unsupported;
  for (const Unsupported& what : result.unsupported) unsupported.insert(what.what);
  EXPECT_EQ(unsupported, (std::set<std::string>{"scaled-dynamic", "scaled-yarn", "scaled-longrope"}));
  std::map<Inputs, std::set<VerifyMode>> modes;
  for (const TapCheck& check : result.checks) modes[check.inputs].insert(check.mode);
  EXPECT_EQ(modes[Inputs::exact], std::set<VerifyMode>{VerifyMode::exact});
  EXPECT_EQ(modes[Inputs::adversarial], (std::set<VerifyMode>{VerifyMode::isolated, VerifyMode::chained}));
}

}  // namespace
}  // namespace mlbench::harness
