// A library whose results have one flipped bit after a while, under load and in a qualification.
#include <algorithm>
#include <cstdlib>
#include <string>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "harness/soak/soak.h"
#include "harness/soak/workload.h"
#include "models/presets.h"
#include "tests/backends/plugin/plugins.h"
#include "tests/support/command.h"
#include "tests/support/temp_dir.h"

namespace mlbench::plugin::test {
namespace {

using mlbench::test::Outcome;
using mlbench::test::read_file;
using mlbench::test::run_program;
using mlbench::test::TempDir;
using nlohmann::json;
using testing::HasSubstr;
using Words = std::vector<std::string>;

// A variable of the environment, as long as this lives.
class Variable {
 public:
  Variable(const char* name, const std::string& value) : name_(name) { ::setenv(name, value.c_str(), 1); }
  ~Variable() { ::unsetenv(name_); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* name_;
};

// How many calls ask for logits before the first iteration of a soak of llama-small: each workload runs three times.
long before_the_first_iteration(Index workloads, Index calls) {
  long out = 0;
  for (Index number = 0; number < workloads; ++number) {
    const auto story =
        soak::make_workload(preset_config(small_preset(Architecture::llama)), soak::SoakOptions{}.seed, number, calls);
    out += std::ranges::count_if(story.calls, [](const auto& call) { return !backends::returns_hidden(call.method); });
  }
  return 3 * out;
}

// What the soaks of these tests run, and a call in their second iteration.
constexpr Index kWorkloads = 1, kCalls = 6;
std::string in_the_second_iteration() {
  return std::to_string(before_the_first_iteration(kWorkloads, kCalls) * 4 / 3 + 1);
}

Outcome soak_with(const std::string& library, Words more = {}) {
  Words words = {"soak", "--backend", library, "--arch", "llama", "--threads", "1", "--minutes", "600", "--json", "-"};
  words.insert(words.end(),
               {"--iterations", "4", "--workloads", std::to_string(kWorkloads), "--calls", std::to_string(kCalls)});
  words.insert(words.end(), more.begin(), more.end());
  return run_program(words);
}

TEST(PluginSoak, OfAnHonestLibraryPasses) {
  const Outcome run = soak_with(MLBENCH_PLUGIN_EXAMPLE);
  EXPECT_EQ(run.exit_code, 0) << run.out.substr(0, 2000) << run.err;
  EXPECT_EQ(json::parse(run.out)["iterations"]["all"], 4);
}

TEST(PluginSoak, NamesTheBitThatFlippedOnce) {
  const Variable later("MLBENCH_TEST_FLIP_AFTER", in_the_second_iteration());
  const Outcome run = soak_with(MLBENCH_PLUGIN_FLIPPING);
  EXPECT_EQ(run.exit_code, 1) << run.err;
  const json result = json::parse(run.out);
  EXPECT_EQ(result["verdict"], "failed");
  ASSERT_EQ(result["faults"].size(), 1U);
  const json& fault = result["faults"][0];
  EXPECT_EQ(fault["tap"], "logits");
  EXPECT_EQ(fault["element"], "[17]");
  EXPECT_EQ(fault["bits"], json::array({10}));
  EXPECT_EQ(fault["again"], "transient");
  EXPECT_EQ(fault["iteration"], 2);
  EXPECT_GE(fault["seconds"], 0.0);
}

TEST(PluginSoak, NamesABitThatFlipsForGood) {
  const Variable always("MLBENCH_TEST_FLIP_ALWAYS", "1");
  const Variable later("MLBENCH_TEST_FLIP_AFTER", in_the_second_iteration());
  const Outcome run = soak_with(MLBENCH_PLUGIN_FLIPPING, {"--stop-at-first"});
  EXPECT_EQ(run.exit_code, 1) << run.err;
  const json result = json::parse(run.out);
  ASSERT_EQ(result["faults"].size(), 1U);
  EXPECT_EQ(result["faults"][0]["bits"], json::array({10}));
}

TEST(PluginSoak, OfALibraryThatCrashesKeepsWhatItHad) {
  const Fault fault("abort forward");
  const Outcome run = soak_with(MLBENCH_PLUGIN_FAULTY);
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(json::parse(run.out)["error"].get<std::string>(), HasSubstr("backend.crashed"));
}

TEST(PluginQualification, FindsTheBitThatFlipped) {
  const TempDir dir;
  const std::string folder = dir / "q";
  // In the first iteration, which is run however short the time is.
  const Variable soon(
      "MLBENCH_TEST_FLIP_AFTER",
      std::to_string(before_the_first_iteration(soak::SoakOptions{}.workloads, soak::SoakOptions{}.calls) + 1));
  const Outcome run = run_program({"qualify", "--backend", MLBENCH_PLUGIN_FLIPPING, "--quick", "--arch", "llama",
                                   "--steps", "soak", "--minutes", "0.01", "-o", folder});
  EXPECT_EQ(run.exit_code, 1) << run.out << run.err;
  const json report = json::parse(read_file(folder + "/report.json"));
  ASSERT_TRUE(report["soak"].is_object()) << run.out << run.err;
  ASSERT_FALSE(report["soak"]["faults"].empty());
  EXPECT_EQ(report["soak"]["faults"][0]["tap"], "logits");
  EXPECT_EQ(report["soak"]["faults"][0]["element"], "[17]");
  EXPECT_THAT(read_file(folder + "/report.html"), HasSubstr("wrong value after"));
  EXPECT_THAT(read_file(folder + "/findings.txt"), HasSubstr("logits [17]"));
  EXPECT_EQ(run_program({"qualify", "--check", folder}).exit_code, 0);  // a bad verdict, and a whole report
}

}  // namespace
}  // namespace mlbench::plugin::test
