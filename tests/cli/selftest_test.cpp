// mlbench selftest as users run it.
#include <gmock/gmock.h>

#include "tests/cli/case_copy.h"

namespace mlbench::test {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST(Selftest, PicksMistakesAndWritesTheirCounts) {
  const TempDir dir;
  const Outcome run = run_program({"selftest", "--dtype", "f32", "--mistake", "mask-sees-next,rope-turns-back",
                                   "--seeds", "0", "--json", dir / "s.json"});
  EXPECT_EQ(run.exit_code, 0) << run.out << run.err;
  EXPECT_EQ(run.err, "");
  EXPECT_THAT(run.out, HasSubstr("selftest passed\n"));
  const json result = json::parse(read_file(dir / "s.json"));
  EXPECT_EQ(result["verdict"], "passed");
  ASSERT_EQ(result["types"].size(), 1U);
  EXPECT_EQ(result["types"][0]["planted"], 2);
  EXPECT_EQ(result["types"][0]["placed"], 2);
  EXPECT_EQ(result["types"][0]["honest_runs"], 0);
  EXPECT_EQ(result["types"][0]["mistakes"][0]["name"], "rope-turns-back") << "in the table's order";
  EXPECT_EQ(result["types"][0]["mistakes"][1]["where"], "layers.0.attn.probs");
}

// One part in 10^4 is a fortieth of a unit of bf16: nobody can find it there, and one of one is more than a twentieth.
TEST(Selftest, AMistakeThatIsNotFoundIsExitCode1AndNamed) {
  const Outcome run =
      run_program({"selftest", "--dtype", "bf16", "--mistake", "context-head-off-by-1e-4", "--seeds", "0"});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.out, HasSubstr("not found: context-head-off-by-1e-4, bf16"));
  EXPECT_THAT(run.out, HasSubstr("selftest FAILED\n"));
}

TEST(Selftest, SameBytesWhateverTheThreads) {
  const auto with_threads = [](const char* threads) {
    return run_program({"selftest", "--dtype", "bf16", "--mistake", "popn-ignored,logits-bf16,fork-not-copied",
                        "--seeds", "0", "--threads", threads, "--json", "-"})
        .out;
  };
  const std::string one = with_threads("1");
  EXPECT_EQ(json::parse(one)["types"][0]["planted"], 3);
  EXPECT_EQ(one, with_threads("2"));
}

TEST(Selftest, ListsWhatItPlantsWithoutRunning) {
  const Outcome run = run_program({"selftest", "--list"});
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_THAT(run.out, StartsWith("| mistake |"));
  EXPECT_THAT(run.out, HasSubstr("| `rope-theta-default` |"));
}

void expect_usage_error(const std::vector<std::string>& words, const std::string& said) {
  const Outcome run = run_program(words);
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_EQ(run.out, "");
  EXPECT_THAT(run.err, StartsWith("mlbench: usage: "));
  EXPECT_THAT(run.err, HasSubstr(said));
  EXPECT_EQ(lines_of(run.err).size(), 1U) << run.err;
}

TEST(Selftest, AnUnknownNameIsAUsageErrorWithNearNames) {
  expect_usage_error({"selftest", "--mistake", "rope-teta-default"}, "near: rope-theta-default");
  expect_usage_error({"selftest", "--mistake", "mask-sees-next,zzzzzz"}, "mlbench selftest --list");
}

TEST(Selftest, BadOptionsAreUsageErrors) {
  expect_usage_error({"selftest", "--dtype", "f16"}, "f32 and bf16");
  expect_usage_error({"selftest", "--dtype", "nonsense"}, "nonsense");
  expect_usage_error({"selftest", "--seeds", "-1"}, "--seeds");
  expect_usage_error({"selftest", "--threads", "0"}, "--threads");
  expect_usage_error({"selftest", "llama"}, "llama");
}

}  // namespace
}  // namespace mlbench::test
