// Untouched cases: another program computed them, and the reference agrees with every dataset.
#include <filesystem>

#include <gmock/gmock.h>

#include "tests/cli/case_copy.h"

namespace mlbench::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::IsEmpty;

void expect_all_compared(const Verified& run) {
  ASSERT_EQ(run.exit_code, 0) << run.text << run.err;
  ASSERT_TRUE(run.report.is_object());
  EXPECT_EQ(run.report["verdict"], "passed");
  EXPECT_EQ(run.report["first_failure"], json());
  EXPECT_GT(run.report["datasets"]["results"], 0);
  EXPECT_EQ(run.report["datasets"]["compared"], run.report["datasets"]["results"]);
  EXPECT_EQ(run.report["datasets"]["uncompared"], 0);
  EXPECT_THAT(run.report["uncompared"], IsEmpty());
  EXPECT_THAT(run.report["notes"], IsEmpty());
  EXPECT_EQ(run.report["comparisons"], run.report["taps"].size());
  EXPECT_EQ(last_line(run.text), "passed");
}

class DataCase : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(, DataCase, ::testing::ValuesIn(kCases), [](const auto& test) { return test.param; });

TEST_P(DataCase, AgreesInEveryDatasetOfEveryGroup) {
  const CaseCopy model(GetParam());
  const Verified run = verify(model);
  expect_all_compared(run);
  EXPECT_EQ(run.err, "");
  std::set<std::string> steps;
  for (const json& tap : run.report["taps"]) steps.insert(tap["step"]);
  for (const char* step : {"prefill", "decode/0", "decode/1", "batch_prefill", "batch_prefill_logits", "batch_decode/0",
                           "batch_decode/1", "tree", "after_commit/0", "after_commit/1", "chunked/0", "chunked/1"}) {
    EXPECT_TRUE(steps.contains(step)) << step;
  }
}

TEST_P(DataCase, GivesTheSameReportOnStandardOutputAndOnAnyNumberOfThreads) {
  const CaseCopy model(GetParam());
  std::vector<std::string> args = verify_arguments(model.folder(), model.golden());
  args.back() = "3";
  args.insert(args.end(), {"--json", "-"});
  const Outcome run = run_program(args);
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(json::parse(run.out), verify(model).report);
}

// With a limit of one rounding some tap strays: the limit is what decides.
TEST_P(DataCase, FailsUnderALimitBelowRounding) {
  const CaseCopy model(GetParam());
  const Verified run = verify(model, {"--rtol", "1e-17"});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_EQ(run.report["rtol"], 1e-17);
  EXPECT_THAT(last_line(run.text), ::testing::StartsWith("first tap that strays: prefill (prefill), "));
}

// Engines that build rotary angles in float32 are off by about 1e-8: far above the limit, and shown at rope.cos.
TEST(RopeCompat, InFloat32StraysFirstInTheAngles) {
  for (const char* name : {"llama", "orion", "olmo", "phi"}) {
    const CaseCopy model(name);
    const Verified run = verify(model, {"--rope-compat", "f32"});
    EXPECT_EQ(run.exit_code, 1);
    EXPECT_EQ(run.report["first_failure"]["tap"], "rope.cos");
    EXPECT_LT(run.report["first_failure"]["max_error"], 1e-5);
    EXPECT_EQ(verify(model, {"--rope-compat", "f32", "--rtol", "1e-5"}).exit_code, 0);
  }
}

// Further cases, where this checkout has them beside it.
TEST(OracleFolder, AgreesInEveryCaseAndBothSpellingsOfItsConfiguration) {
  if (!fs::is_directory(MLBENCH_ORACLE_DIR)) GTEST_SKIP() << "no folder " << MLBENCH_ORACLE_DIR;
  int cases = 0;
  for (const fs::directory_entry& entry : fs::directory_iterator(MLBENCH_ORACLE_DIR)) {
    const fs::path golden = entry.path() / "oracle.h5";
    if (!fs::exists(golden)) continue;
    ++cases;
    SCOPED_TRACE(entry.path().string());
    for (const char* config : {"config.json", "config.v5.json"}) {
      if (!fs::exists(entry.path() / config)) continue;
      const TempDir dir;
      for (const fs::directory_entry& file : fs::directory_iterator(entry.path())) {
        const std::string name = file.path().filename().string();
        if (!name.starts_with("config.")) fs::create_symlink(fs::absolute(file.path()), dir / name);
      }
      fs::copy_file(entry.path() / config, dir / "config.json");
      std::vector<std::string> args = verify_arguments(dir.path().string(), golden.string());
      args.insert(args.end(), {"--json", dir / "report.json"});
      const Outcome run = run_program(args);
      ASSERT_TRUE(fs::exists(dir / "report.json")) << run.err;
      expect_all_compared({run.exit_code, json::parse(read_file(dir / "report.json")), run.out, run.err});
    }
  }
  EXPECT_GT(cases, 0);
}

}  // namespace
}  // namespace mlbench::test
