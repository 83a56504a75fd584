// What is kept of the first failure, and what is written of it.
#include "harness/evidence.h"

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>

#include "harness/reference_backend.h"
#include "harness/verify_backend.h"
#include "models/presets.h"
#include "models/synthetic.h"
#include "tests/support/command.h"
#include "tests/support/expect_error.h"
#include "tests/support/temp_dir.h"

namespace mlbench::harness {
namespace {

using mlbench::test::error_of;
using mlbench::test::Outcome;
using mlbench::test::run_program;
using mlbench::test::TempDir;
using ref::Tensor;
using ::testing::HasSubstr;

const Tensor kExpected(Shape{2, 3}, {1, 2, 3, 4, 5, 6});
const Tensor kGot(Shape{2, 3}, {1, 2, 3, 4, 5.5, 6});
const std::function<double(Index)> kLimit = [](Index i) { return 0.125 * static_cast<double>(i + 1); };

TapCheck check(VerifyMode mode, const std::string& tap, bool passed = false) {
  TapCheck out;
  out.mode = mode;
  out.call = "single/0 prefill";
  out.method = "prefill";
  out.tap = tap;
  out.passed = passed;
  return out;
}

void see(EvidenceKeeper& keeper, const TapCheck& check, const std::map<Tap, Known>* inputs = nullptr) {
  keeper.see(check, {TapLayout::rows, kExpected, kGot, kLimit, inputs});
}

// The order of a run, and another: the same is kept as is named.
TEST(Evidence, IsOfTheCheckThatFirstFailureNames) {
  const std::vector<TapCheck> checks = {check(VerifyMode::isolated, "i0", true), check(VerifyMode::chained, "c0"),
                                        check(VerifyMode::exact, "e0", true),    check(VerifyMode::exact, "e1"),
                                        check(VerifyMode::chained, "c1"),        check(VerifyMode::exact, "e2"),
                                        check(VerifyMode::isolated, "i1"),       check(VerifyMode::isolated, "i2")};
  BackendVerification run;
  EvidenceKeeper keeper;
  for (const TapCheck& one : checks) {
    run.checks.push_back(one);
    see(keeper, one);
    ASSERT_EQ(run.first_failure() != nullptr, keeper.kept().has_value());
    if (keeper.kept()) {
      EXPECT_EQ(keeper.kept()->check.tap, run.first_failure()->tap);
    }
  }
  EXPECT_EQ(keeper.kept()->check.tap, "i1");
}

TEST(Evidence, HoldsEveryLimitAndTheInputs) {
  const std::map<Tap, Known> inputs = {{kPartInput, {Tensor(Shape{1}, {7.0}), {}}},
                                       {Tap::mlp_norm, {Tensor(Shape{2}, {8.0, 9.0}), {}}}};
  EvidenceKeeper keeper;
  see(keeper, check(VerifyMode::isolated, "layers.0.mlp.up"), &inputs);
  const Evidence& kept = keeper.kept().value();
  EXPECT_EQ(kept.expected, kExpected);
  EXPECT_EQ(kept.got, kGot);
  EXPECT_EQ(kept.limit, Tensor(Shape{2, 3}, {0.125, 0.25, 0.375, 0.5, 0.625, 0.75}));
  ASSERT_EQ(kept.inputs.size(), 2U);
  EXPECT_EQ(kept.inputs.at("x").values()[0], 7.0);
  EXPECT_EQ(kept.inputs.at("mlp_norm").size(), 2);
}

class SavedEvidence : public ::testing::Test {
 protected:
  SavedEvidence() {
    EvidenceKeeper keeper;
    const std::map<Tap, Known> inputs = {{Tap::mlp_norm, {Tensor(Shape{2}, {8.0, 9.0}), {}}}};
    see(keeper, check(VerifyMode::isolated, "layers.1.mlp.up"), &inputs);
    evidence_ = keeper.kept().value();
  }

  TempDir dir_;
  Evidence evidence_;
};

TEST_F(SavedEvidence, StandsInThreeFilesInAFolderThatIsMade) {
  save(evidence_, dir_ / "a/b/c");
  for (const char* file : {"expected.h5", "got.h5", "limit.h5"})
    EXPECT_TRUE(std::filesystem::is_regular_file(dir_ / (std::string("a/b/c/") + file))) << file;
  save(evidence_, dir_ / "a/b/c");  // over what is there
}

TEST_F(SavedEvidence, IsNamedByAComparisonOfGoldens) {
  save(evidence_, dir_.path().string());
  const Outcome run = run_program({"golden", "diff", dir_ / "expected.h5", dir_ / "got.h5"});
  EXPECT_EQ(run.exit_code, 1) << run.err;
  EXPECT_THAT(run.out, HasSubstr("layers.1.mlp.up"));
  const Outcome same = run_program({"golden", "diff", dir_ / "expected.h5", dir_ / "expected.h5"});
  EXPECT_EQ(same.exit_code, 0) << same.err;
}

TEST_F(SavedEvidence, ThatCannotBeWrittenIsAnErrorInOneLine) {
  std::ofstream(dir_ / "file") << "no folder";
  std::filesystem::create_directories(dir_ / "folder/got.h5");  // where a file should stand
  for (const std::string& folder : {dir_ / "file", dir_ / "file/below", dir_ / "folder", std::string("/proc/none")}) {
    const Error error = error_of([&] { save(evidence_, folder); });
    EXPECT_EQ(error.code(), "file.unwritable") << folder;
    EXPECT_EQ(error.kind(), ErrorKind::internal);
    EXPECT_THAT(error.message(), HasSubstr(folder));
  }
}

// ---- of a whole run ----

class EvidenceOfARun : public ::testing::Test {
 protected:
  // With this tap of this layer wrong.
  void run(TapId wrong, bool isolated) {
    const auto backend = make_reference_backend([&](TapId id, const Tensor& value) -> std::optional<Tensor> {
      if (id != wrong) return std::nullopt;
      Tensor out = value;
      out.values()[0] += 1.0;
      return out;
    });
    const ModelConfig config = preset_config(small_preset(Architecture::llama), {{"num_hidden_layers", 2}});
    BackendOptions options;
    options.run = {.dtype = DType::f64, .threads = 1};
    options.isolated = isolated;
    options.evidence = [&](const Evidence& evidence) { kept_ = evidence; };
    Plan plan = make_plan(config, Extent::quick, 1);
    plan.resize(1);
    result_ = verify_backend(make_synthetic(config, DType::f64, 1, workers_), *backend, plan, options, workers_);
  }

  Workers workers_{2};
  std::optional<Evidence> kept_;
  BackendVerification result_;
};

TEST_F(EvidenceOfARun, IsThatOfItsFirstFailure) {
  for (const bool isolated : {true, false}) {
    run({Tap::mlp_out, 1}, isolated);
    ASSERT_TRUE(kept_);
    const TapCheck& first = *result_.first_failure();
    EXPECT_EQ(kept_->check.tap, first.tap);
    EXPECT_EQ(kept_->check.call, first.call);
    EXPECT_EQ(kept_->check.mode, isolated ? VerifyMode::isolated : VerifyMode::chained);
    EXPECT_EQ(kept_->got.values()[0], first.worst->computed);
    EXPECT_EQ(kept_->inputs.empty(), !isolated);
    if (isolated) {
      EXPECT_TRUE(kept_->inputs.contains("mlp.hidden"));
    }
  }
}

TEST_F(EvidenceOfARun, IsNoneWhereNothingFails) {
  run({Tap::mlp_out, 7}, true);
  EXPECT_TRUE(result_.passed());
  EXPECT_FALSE(kept_);
}

}  // namespace
}  // namespace mlbench::harness
