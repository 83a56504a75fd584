// Outliers among siblings, the steps of a qualification and how they are run, the inventory.
#include "harness/qualify/siblings.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "harness/qualify/inventory.h"
#include "harness/qualify/steps.h"
#include "tests/support/temp_dir.h"

namespace mlbench::qualify {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

std::vector<std::string> outliers_of(const std::vector<std::optional<double>>& values) {
  std::vector<std::string> names, out;
  for (std::size_t i = 0; i < values.size(); ++i) names.push_back(fmt::format("{}", i));
  SiblingFigure figure{.name = "reads", .values = values};
  find_outliers(names, figure);
  for (const Outlier& outlier : figure.outliers) out.push_back(outlier.sibling);
  return out;
}

TEST(Siblings, NameTheSlowOneAndTheFastOne) {
  EXPECT_THAT(outliers_of({100.0, 101.0, 99.0, 80.0, 100.5, 99.5, 100.2, 130.0}), ElementsAre("3", "7"));
}

TEST(Siblings, ThatScatterHaveNoOutlier) {
  EXPECT_THAT(outliers_of({100.0, 120.0, 85.0, 110.0, 92.0, 131.0}), ElementsAre());
}

// Twenty times the deviation of the others, and nobody would notice.
TEST(Siblings, ThatDifferByLittleHaveNoOutlier) {
  EXPECT_THAT(outliers_of({100.0, 100.01, 99.99, 100.02, 98.0}), ElementsAre());
}

TEST(Siblings, ThatAgreeExactlyShowTheOneThatDoesNot) {
  EXPECT_THAT(outliers_of({100.0, 100.0, 100.0, 100.0, 90.0}), ElementsAre("4"));
}

TEST(Siblings, OfWhichThereAreTooFewHaveNoOutlier) {
  EXPECT_THAT(outliers_of({100.0, 50.0}), ElementsAre());
  EXPECT_THAT(outliers_of({100.0, 100.0, 50.0}), ElementsAre());
  EXPECT_THAT(outliers_of({100.0, 100.0, std::nullopt, 50.0}), ElementsAre());
  EXPECT_THAT(outliers_of({}), ElementsAre());
}

// The share of outliers that the median bears.
TEST(Siblings, FindOutliersBesideOthers) {
  EXPECT_THAT(outliers_of({100.0, 101.0, 99.0, 100.0, 50.0, 51.0, 100.2}), ElementsAre("4", "5"));
}

TEST(SpreadOver, TakesBothEndsAndEvenlyBetween) {
  EXPECT_THAT(spread_over({0, 1, 2, 3, 4, 5, 6, 7, 8}, 3), ElementsAre(0, 4, 8));
  EXPECT_THAT(spread_over({3, 5}, 8), ElementsAre(3, 5));
  EXPECT_THAT(spread_over({}, 8), ElementsAre());
}

// ---- steps ----

StepOptions options_for(const std::string& backend, const std::string& device) {
  StepOptions out;
  out.program = "/p/mlbench";
  out.backend = backend;
  out.device = device;
  out.archs = {"llama", "phi"};
  out.minutes = 2.0;
  out.folder = "/r";
  out.sweep = "/r/points.json";
  out.why_no_kernels = "no tests";
  out.why_no_sanitizer = "no sanitizer";
  return out;
}

std::vector<std::string> names_of(const std::vector<Step>& steps) {
  std::vector<std::string> out;
  for (const Step& step : steps) out.push_back(step.name + (step.command.empty() ? " (skipped)" : ""));
  return out;
}

TEST(Steps, OfAnOrdinaryBackend) {
  StepOptions options = options_for("cpu", "");
  options.quick = true;
  EXPECT_THAT(names_of(plan_steps(options)),
              ElementsAre("kernels (skipped)", "verify-llama-f32", "verify-llama-bf16", "verify-phi-f32",
                          "verify-phi-bf16", "sanitizer (skipped)", "probe", "bench", "soak", "siblings"));
}

TEST(Steps, OfTheHostExecutorMeasureNothing) {
  for (const Step& step : plan_steps(options_for("cuda", "host"))) {
    const bool measures = step.kind == "probe" || step.kind == "bench" || step.kind == "siblings";
    EXPECT_TRUE(!measures || step.why_skipped.find("host executor") != std::string::npos) << step.name;
  }
}

TEST(Steps, OfADeviceWithTheVendorsToolsUseThem) {
  StepOptions options = options_for("cuda", "cuda:1");
  options.kernel_tests = "/t/cuda_device_test";
  options.sanitizer = "/s/compute-sanitizer";
  const auto names = names_of(plan_steps(options));
  for (const char* name : {"kernels", "verify-phi-f16", "memcheck-llama", "racecheck-phi", "initcheck-phi"})
    EXPECT_THAT(names, Contains(name));
  for (const Step& step : plan_steps(options)) {
    const bool computes = step.kind == "verify" || step.kind == "soak";
    EXPECT_TRUE(!computes || std::ranges::find(step.command, "cuda:1") != step.command.end()) << step.name;
  }
}

TEST(Steps, AreThoseThatWereAskedFor) {
  StepOptions options = options_for("cpu", "");
  options.kinds = {"soak", "probe"};
  EXPECT_THAT(names_of(plan_steps(options)), ElementsAre("probe", "soak"));
}

// ---- the runner ----

Step shell(const std::string& script) { return {"one", "verify", {"sh", "-c", script}, "", {"one.json"}, true, false}; }

TEST(Runner, TellsHowAStepEnded) {
  const mlbench::test::TempDir dir;
  Runner runner(dir.path().string(), "program", [] { return false; });
  const std::pair<const char*, StepVerdict> ends[] = {
      {"exit 0", StepVerdict::passed},        {"echo why; exit 1", StepVerdict::failed},
      {"exit 3", StepVerdict::unsupported},   {"exit 2", StepVerdict::broken},
      {"kill -SEGV $$", StepVerdict::broken}, {"exit 130", StepVerdict::interrupted}};
  for (const auto& [script, verdict] : ends) EXPECT_EQ(runner.run(shell(script)).verdict, verdict) << script;
  const QualificationStep failed = runner.run(shell("echo why; exit 1"));
  EXPECT_THAT(failed.finding, HasSubstr("why"));
  EXPECT_THAT(failed.files, ElementsAre("logs/one.log"));
  Step none = shell("");
  none.command = {"/no/such/program"};
  EXPECT_EQ(runner.run(none).verdict, StepVerdict::broken);
}

TEST(Runner, DoesNotDoAgainWhatPassedWithTheSameProgram) {
  const mlbench::test::TempDir dir;
  const auto run = [&](const std::string& program, const std::string& script) {
    return Runner(dir.path().string(), program, [] { return false; }).run(shell(script));
  };
  const std::string once = fmt::format("echo '{{}}' >'{0}/one.json'; echo x >>'{0}/count'", dir.path().string());
  const auto count = [&] { return mlbench::test::read_file(dir / "count").size() / 2; };
  EXPECT_EQ(run("a", once).note, "");
  EXPECT_EQ(run("a", once).note, "done before");
  EXPECT_EQ(count(), 1U);
  EXPECT_EQ(run("b", once).note, "");             // another program
  EXPECT_EQ(run("b", once + "; true").note, "");  // another command
  EXPECT_EQ(count(), 3U);
  std::filesystem::remove(dir / "one.json");  // what it wrote is gone
  EXPECT_EQ(run("b", once + "; true").note, "");
  EXPECT_EQ(run("b", once + "; exit 1").verdict, StepVerdict::failed);
  EXPECT_EQ(run("b", once + "; exit 1").note, "");  // what did not pass is done again
  EXPECT_EQ(count(), 6U);
}

TEST(Runner, EndsAStepThatTheUserInterrupts) {
  const mlbench::test::TempDir dir;
  bool stop = false;
  Runner runner(dir.path().string(), "program", [&] { return std::exchange(stop, true); });
  // It ends in order when it is asked to.
  EXPECT_EQ(runner.run(shell("trap 'exit 130' INT; while :; do sleep 0.05; done")).verdict, StepVerdict::interrupted);
  EXPECT_EQ(runner.run(shell("exit 0")).verdict, StepVerdict::not_run);
}

// ---- the inventory ----

TEST(Inventory, ReadsWhatNvidiaSmiSays) {
  const Facts facts = parse_nvidia_inventory(
      "NVIDIA H200, GPU-1234, [N/A], 570.86.10, 96.00.AF.00.01, 143771 MiB, 00000000:01:00.0, 5, 5, 16, 16, Enabled, "
      "700.00 W, 9.0\n");
  EXPECT_THAT(facts, Contains(Pair("gpu", "NVIDIA H200")));
  EXPECT_THAT(facts, Contains(Pair("gpu serial number", "not known")));
  EXPECT_THAT(facts, Contains(Pair("gpu driver", "570.86.10")));
  EXPECT_THAT(facts, Contains(Pair("gpu compute capability", "9.0")));
  for (const auto& [name, value] : parse_nvidia_inventory("")) EXPECT_EQ(value, "not known") << name;
}

TEST(Inventory, SaysWhatIsNotKnown) {
  const mlbench::test::TempDir dir;
  for (const auto& [name, value] : machine_facts(dir.path(), dir.path())) EXPECT_EQ(value, "not known") << name;
}

}  // namespace
}  // namespace mlbench::qualify
