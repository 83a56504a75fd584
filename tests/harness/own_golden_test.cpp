// Goldens of our own: made, verified by the reference, trusted against backends; and those that fit nothing refused.
#include <algorithm>
#include <functional>
#include <limits>
#include <ostream>

#include <gmock/gmock.h>

#include "backends/registry.h"
#include "harness/golden_make.h"
#include "harness/plan_json.h"
#include "harness/reference_backend.h"
#include "harness/verify_own_golden.h"
#include "models/presets.h"
#include "models/rounded.h"
#include "models/synthetic.h"
#include "tests/harness/wrong_backend.h"
#include "tests/support/expect_error.h"
#include "tests/support/hdf5_edit.h"
#include "tests/support/temp_dir.h"

namespace mlbench::harness {
namespace {

using mlbench::test::add_to_element;
using mlbench::test::error_of;
using mlbench::test::read_file;
using mlbench::test::TempDir;
using mlbench::test::write_attribute;
using ::testing::HasSubstr;

ModelConfig two_layers(Architecture architecture) {
  const char* layers = architecture == Architecture::gpt_bigcode ? "n_layer" : "num_hidden_layers";
  return preset_config(small_preset(architecture), {{layers, 2}});
}

std::unique_ptr<backends::Backend> cpu() {
  const auto entries = backends::built_in();
  return std::ranges::find(entries, "cpu", &backends::Entry::name)->make();
}

class OwnGoldens : public ::testing::Test {
 protected:
  Model model_of(Architecture architecture, std::uint64_t seed = 1) {
    return make_synthetic(two_layers(architecture), DType::f32, seed, workers_);
  }
  // One sequence: the first story of the quick plan.
  static Plan brief(const Model& model) { return {make_plan(model.config, Extent::quick, 1).front()}; }
  std::string make(const Model& model, DType dtype, const std::string& name = "golden.h5") {
    return make(model, dtype, brief(model), workers_, name);
  }
  std::string make_quick(const Model& model, DType dtype) {
    return make(model, dtype, make_plan(model.config, Extent::quick, 1), workers_, "quick.h5");
  }
  std::string make(const Model& model, DType dtype, const Plan& plan, Workers& workers, const std::string& name) {
    std::string path = dir_ / name;
    make_golden(model, plan, path, {.dtype = dtype, .seed = 1, .program_version = "test", .progress = nullptr},
                workers);
    return path;
  }

  GoldenVerification by_reference(const Model& model, const std::string& path, const GoldenOptions& options = {}) {
    golden::GoldenFile file(path);
    golden::OwnGolden golden(file);
    return verify_own_golden(model, golden, path, workers_, options);
  }
  BackendVerification trusted(const Model& model, const std::string& path, backends::Backend& backend, DType dtype) {
    golden::GoldenFile file(path);
    golden::OwnGolden golden(file);
    BackendOptions options;
    options.run.dtype = dtype;
    options.run.threads = 1;
    const Plan plan = parse_plan(golden.manifest().plan, path);
    return verify_trusted(model, backend, golden, path, plan, options, workers_);
  }

  // Puts another text in the place of an attribute, and the digest of all of them right again.
  static void replace_attribute(const std::string& path, const std::string& attribute, const std::string& text) {
    write_attribute(path, attribute, text);
    put_digest_right(path);
  }
  static void put_digest_right(const std::string& path) {
    std::string digest;
    {
      const golden::GoldenFile file(path);
      digest = golden::digest_of_attributes(file.info());
    }
    write_attribute(path, "digest", digest);
  }
  static std::string plan_text(const std::string& path) { return *golden::GoldenFile(path).attribute("plan"); }

  TempDir dir_;
  Workers workers_{2};
};

TEST_F(OwnGoldens, AreTheSameBytesWhateverTheThreads) {
  Workers one(1);
  for (const DType dtype : {DType::f64, DType::bf16}) {
    const Model model = model_of(Architecture::llama);
    const Plan plan = make_plan(model.config, Extent::quick, 1);
    const std::string a = make(model, dtype, plan, one, "a.h5"), b = make(model, dtype, plan, workers_, "b.h5");
    EXPECT_TRUE(read_file(a) == read_file(b)) << name(dtype);
  }
}

TEST_F(OwnGoldens, HoldEveryTapOfEveryCall) {
  const Model model = model_of(Architecture::phi);
  const std::string path = make_quick(model, DType::bf16);
  golden::GoldenFile file(path);
  const golden::OwnGolden golden(file);
  const Plan plan = make_plan(model.config, Extent::quick, 1);
  ASSERT_EQ(static_cast<Index>(golden.steps().size()), total_calls(plan));
  std::size_t next = 0;
  for (const Story& story : plan) {
    for (const Call& call : story.calls) {
      const golden::StepInfo& step = golden.steps()[next++];
      EXPECT_EQ(step.label, call.label);
      const std::size_t logits = backends::returns_hidden(call.method) ? 0U : 1U;
      EXPECT_EQ(step.taps.size(), all_taps(model.config).size() - 1 + logits) << call.label;
      EXPECT_EQ(step.limits.size(), step.taps.size()) << call.label;
    }
  }
}

class EveryArchitecturesGolden : public OwnGoldens, public ::testing::WithParamInterface<Architecture> {};
INSTANTIATE_TEST_SUITE_P(Architectures, EveryArchitecturesGolden, ::testing::ValuesIn(kArchitectures),
                         [](const auto& arch) { return std::string(name(arch.param)); });

TEST_P(EveryArchitecturesGolden, PassesVerificationByTheReference) {
  const Model model = model_of(GetParam());
  const GoldenVerification result = by_reference(model, make_quick(model, DType::f64));
  EXPECT_TRUE(result.passed());
  EXPECT_EQ(result.compared_datasets, result.result_datasets);
  EXPECT_GT(result.compared_datasets, 300);
  for (const TapResult& tap : result.taps) EXPECT_EQ(tap.max_error, 0.0) << tap.dataset;
}

TEST_P(EveryArchitecturesGolden, IsTrustedAgainstTheCpuBackend) {
  const Model model = model_of(GetParam());
  // Llama's in every type and for every call; of the others what one sequence asks for.
  const bool all = GetParam() == Architecture::llama;
  for (const DType dtype : all ? std::vector{DType::f32, DType::bf16, DType::f16} : std::vector{DType::bf16}) {
    const auto backend = cpu();
    const BackendVerification result =
        trusted(model, all ? make_quick(model, dtype) : make(model, dtype), *backend, dtype);
    const TapCheck* first = result.first_failure();
    EXPECT_TRUE(result.passed()) << name(dtype) << " " << (first == nullptr ? "" : first->tap + " in " + first->call);
    // Every tap that the golden holds, all of which this backend gives.
    for (const TapId id : all_taps(model.config)) {
      EXPECT_TRUE(std::ranges::any_of(result.checks, [&](const TapCheck& c) { return c.tap == to_string(id); }))
          << to_string(id);
    }
  }
}

// Exact bits of the rotation are what float32 angles change, and the first tap that they change.
TEST_F(OwnGoldens, FailWhereTheReferenceComputesOtherAngles) {
  const Model model = model_of(Architecture::llama);
  const std::string path = make(model, DType::f64);
  GoldenOptions options;
  options.rope_compat = ref::RopeCompat::f32;
  const GoldenVerification result = by_reference(model, path, options);
  const TapResult* first = result.first_failure();
  ASSERT_NE(first, nullptr);
  EXPECT_EQ(first->tap, "rope.cos");
  EXPECT_EQ(first->step, "single/0 prefill");
  options.rtol = 1e-3;
  EXPECT_TRUE(by_reference(model, path, options).passed());
}

TEST_F(OwnGoldens, AreComparedWithTheWeightsOfTheirTypeWhateverTheModels) {
  const Model model = model_of(Architecture::olmo);
  const Model already = rounded_to(model, DType::bf16, workers_);
  const std::string path = make(model, DType::bf16);
  EXPECT_TRUE(by_reference(already, path).passed());
  EXPECT_EQ(read_file(path), read_file(make(already, DType::bf16, "again.h5")));
}

// A value changed together with its digest: the tap and the element are named.
TEST_F(OwnGoldens, NameTheElementThatDiffers) {
  const Model model = model_of(Architecture::llama);
  const std::string path = make(model, DType::f64);
  std::string dataset;
  {
    golden::GoldenFile file(path);
    golden::OwnGolden golden(file);
    dataset = golden.steps()[1].taps.at("layers.1.mlp.up")->path;
  }
  add_to_element(path, dataset, 7, 1e-6);
  const Error error = error_of([&] { (void)by_reference(model, path); });
  EXPECT_EQ(error.code(), "golden.digest");
  EXPECT_THAT(error.message(), HasSubstr(dataset));
}

TEST_F(OwnGoldens, ShowAWrongWeightRowAtItsTap) {
  const Model model = model_of(Architecture::llama);
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const auto backend = test::with_changed_model(
        [](const Model& right) { return test::with_row_repeated(right, "model.layers.1.mlp.up_proj.weight", 7); });
    const BackendVerification result = trusted(model, make(model, dtype), *backend, dtype);
    const TapCheck* first = result.first_failure();
    ASSERT_NE(first, nullptr) << name(dtype);
    EXPECT_EQ(first->tap, "layers.1.mlp.up");
    EXPECT_EQ(first->worst->element, "[7]");
    EXPECT_EQ(first->call, "single/0 prefill");
    EXPECT_EQ(first->mode, VerifyMode::chained);
  }
}

TEST_F(OwnGoldens, InFloat64HoldNoLimits) {
  const Model model = model_of(Architecture::llama);
  const auto backend = cpu();
  const std::string path = make(model, DType::f64);
  const Error error = error_of([&] { (void)trusted(model, path, *backend, DType::f32); });
  EXPECT_EQ(error.code(), "golden.no_limits");
  EXPECT_THAT(error.message(), HasSubstr("--dtype f32"));
}

TEST_F(OwnGoldens, ForAFinerArithmeticThanTheBackendsAreRefused) {
  const Model model = model_of(Architecture::llama);
  const std::string path = make(model, DType::f32);
  const auto backend = cpu();
  const Error error = error_of([&] { (void)trusted(model, path, *backend, DType::bf16); });
  EXPECT_EQ(error.code(), "golden.arithmetic");
  EXPECT_THAT(error.message(), HasSubstr(path));
  EXPECT_THAT(error.message(), HasSubstr("bf16"));
}

// A finer backend than the limits are for may be judged by them, where it has the golden's weights.
TEST_F(OwnGoldens, ForACoarserArithmeticThanTheBackendsAreTrusted) {
  const Model model = rounded_to(model_of(Architecture::llama), DType::bf16, workers_);
  const std::string path = make(model, DType::bf16);
  const auto backend = make_reference_backend();
  const BackendVerification result = trusted(model, path, *backend, DType::f64);
  EXPECT_TRUE(result.passed());
}

// What has no limit would go unjudged and look as if it had passed.
TEST_F(OwnGoldens, OfWhichOneTapHasNoLimitsAreNotTrusted) {
  const Model model = model_of(Architecture::llama);
  const std::string path = make(model, DType::f32);
  std::string dataset;
  {
    golden::GoldenFile file(path);
    golden::OwnGolden golden(file);
    dataset = golden.steps()[1].limits.at("layers.1.mlp.up")->path;
  }
  mlbench::test::remove_dataset(path, dataset);
  put_digest_right(path);
  const auto backend = cpu();
  const Error error = error_of([&] { (void)trusted(model, path, *backend, DType::f32); });
  EXPECT_EQ(error.code(), "golden.no_limits");
  EXPECT_THAT(error.message(), HasSubstr("layers.1.mlp.up"));
}

// The arithmetic that was judged stands in the result, as in live verification.
TEST_F(OwnGoldens, TrustedShowTheDeclaredArithmetic) {
  const Model model = model_of(Architecture::llama);
  const auto backend = cpu();
  const BackendVerification result = trusted(model, make(model, DType::bf16), *backend, DType::bf16);
  EXPECT_THAT(result.arithmetic, ::testing::Contains(std::pair<std::string, std::string>("kv_cache", "bf16")));
}

TEST_F(OwnGoldens, OfOtherWeightsAreRefused) {
  const std::string path = make(model_of(Architecture::llama), DType::f32);
  const auto backend = cpu();
  for (const Model& other : {model_of(Architecture::llama, 2), model_of(Architecture::orion)}) {
    const Error by_own = error_of([&] { (void)by_reference(other, path); });
    EXPECT_EQ(by_own.code(), "golden.model");
    EXPECT_THAT(by_own.message(), HasSubstr(path));
    EXPECT_EQ(error_of([&] { (void)trusted(other, path, *backend, DType::f32); }).code(), "golden.model");
  }
}

TEST_F(OwnGoldens, WhosePlanAndStepsContradictAreRefused) {
  const Model model = model_of(Architecture::llama);
  const Plan plan = brief(model);
  const auto backend = cpu();
  Plan renamed = plan, longer = plan, tokens = plan, sequences = plan;
  renamed[0].calls[1].label = "another";
  longer[0].calls.push_back(longer[0].calls.back());
  longer[0].calls.back().label = "one more";
  tokens[0].calls[0].tokens.pop_back();
  sequences[0].calls[0].ids.push_back(1);
  const std::string path = make(model, DType::f32, plan, workers_, "golden.h5");
  ASSERT_TRUE(by_reference(model, path).passed());
  for (const Plan& wrong : {renamed, longer, tokens, sequences}) {
    replace_attribute(path, "plan", plan_json(wrong).dump());
    const Error error = error_of([&] { (void)by_reference(model, path); });
    EXPECT_EQ(error.code(), "golden.format");
    EXPECT_THAT(error.message(), HasSubstr(path));
    EXPECT_EQ(error_of([&] { (void)trusted(model, path, *backend, DType::f32); }).code(), "golden.format");
  }
}

// Steps that no call stands for would go uncompared.
TEST_F(OwnGoldens, WithMoreStepsThanTheirPlanAreRefused) {
  const Model model = model_of(Architecture::llama);
  Plan plan = brief(model);
  const std::string path = make(model, DType::f32, plan, workers_, "golden.h5");
  plan[0].calls.pop_back();
  replace_attribute(path, "plan", plan_json(plan).dump());
  const auto backend = cpu();
  EXPECT_EQ(error_of([&] { (void)by_reference(model, path); }).code(), "golden.format");
  EXPECT_EQ(error_of([&] { (void)trusted(model, path, *backend, DType::f32); }).code(), "golden.format");
}

struct WrongPlan {
  const char* name;
  std::function<void(Story&)> change;

  friend void PrintTo(const WrongPlan& plan, std::ostream* out) { *out << plan.name; }
};

Call& first(Story& story) { return story.calls[0]; }
void ask_for_row(Story& story, std::int32_t row) {
  first(story).method = backends::Method::batch_prefill;
  first(story).logit_positions = {row};
}

const WrongPlan kWrongPlans[] = {
    {"TokenBeyondTheVocabulary", [](Story& s) { first(s).tokens[3] = 1'000'000; }},
    {"NegativeToken", [](Story& s) { first(s).tokens[3] = -1; }},
    {"UnknownSequence", [](Story& s) { first(s).ids[0] = 77; }},
    {"SequenceNeverAdded", [](Story& s) { first(s).before.clear(); }},
    {"NegativeSequence", [](Story& s) { first(s).ids[0] = first(s).before[0].id = -5; }},
    {"HugeSequence", [](Story& s) { first(s).ids[0] = first(s).before[0].id = std::numeric_limits<SeqId>::max() / 2; }},
    {"NoPages", [](Story& s) { s.limits.page_size = 0; }},
    {"TooFewPages", [](Story& s) { s.limits.page_size = s.limits.max_total_seq_len = 1; }},
    {"TooManyPages", [](Story& s) { s.limits.max_total_seq_len = std::numeric_limits<Index>::max() / 2; }},
    {"ParentsBeyondTheTree", [](Story& s) { first(s).tree_parents = std::vector<Index>(19, 50); }},
    {"TooFewParents", [](Story& s) { first(s).tree_parents = std::vector<Index>(3, -1); }},
    {"LogitsBeyondTheRows", [](Story& s) { ask_for_row(s, 500); }},
    {"LogitsOfANegativeRow", [](Story& s) { ask_for_row(s, -1); }},
    {"DecodeOfManyRows", [](Story& s) { first(s).method = backends::Method::decode; }},
    {"CommitWithoutATree",
     [](Story& s) {
       s.calls[1].before.push_back({CacheOperation::Kind::commit, 0, 0, 3});
     }},
    {"ForkOntoItself",
     [](Story& s) {
       s.calls[1].before.push_back({CacheOperation::Kind::fork, 0, 0, 3});
     }},
    {"PopOfMoreThanThereIs",
     [](Story& s) {
       s.calls[1].before.push_back({CacheOperation::Kind::popn, 0, 0, 500});
     }},
};

class WrongPlans : public OwnGoldens, public ::testing::WithParamInterface<WrongPlan> {};
INSTANTIATE_TEST_SUITE_P(Plans, WrongPlans, ::testing::ValuesIn(kWrongPlans),
                         [](const auto& which) { return std::string(which.param.name); });

// A plan that asks for what the model or the cache cannot do ends in one line, not in a crash and not in a verdict.
TEST_P(WrongPlans, AreRefused) {
  const Model model = model_of(Architecture::llama);
  Plan plan = brief(model);
  plan[0].calls.resize(2);
  const std::string path = make(model, DType::f32, plan, workers_, "golden.h5");
  GetParam().change(plan[0]);
  replace_attribute(path, "plan", plan_json(plan).dump());
  const auto backend = cpu();
  const Error by_own = error_of([&] { (void)by_reference(model, path); });
  EXPECT_EQ(by_own.kind(), ErrorKind::request) << by_own.what();
  const Error by_backend = error_of([&] { (void)trusted(model, path, *backend, DType::f32); });
  EXPECT_EQ(by_backend.kind(), ErrorKind::request) << by_backend.what();
}

}  // namespace
}  // namespace mlbench::harness
