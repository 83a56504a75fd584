// Plug-ins as users meet them: on the command line.
#include <filesystem>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "tests/backends/plugin/plugins.h"
#include "tests/support/command.h"

namespace mlbench::plugin::test {
namespace {

using mlbench::test::Outcome;
using mlbench::test::run_program;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;
using Words = std::vector<std::string>;

Outcome verify(const std::string& library, Words more, bool short_run = true) {
  Words words = {"verify", "--backend", library, "--threads", "1"};
  words.insert(words.end(), more.begin(), more.end());
  if (short_run) words.insert(words.end(), {"--call", "single/0 prefill", "--json", "-"});
  return run_program(words);
}

nlohmann::json runs_of(const Outcome& run) { return nlohmann::json::parse(run.out)["runs"]; }

TEST(PluginCommand, TheExamplePassesWhole) {
  const Outcome run = verify(MLBENCH_PLUGIN_EXAMPLE, {"--arch", "llama", "--dtype", "f32,bf16"}, false);
  EXPECT_EQ(run.exit_code, 0) << run.out << run.err;
  EXPECT_THAT(run.out, HasSubstr("unsupported: story window: create_paged_kv_cache: sliding windows"));
}

TEST(PluginCommand, BothWaysSayTheSame) {
  const Words model = {"--arch", "llama", "--dtype", "bf16"};
  Words here = model;
  here.emplace_back("--in-process");
  auto child = runs_of(verify(MLBENCH_PLUGIN_EXAMPLE, model)), own = runs_of(verify(MLBENCH_PLUGIN_EXAMPLE, here));
  for (auto* runs : {&child, &own}) {
    ASSERT_EQ(runs->size(), 1U);
    EXPECT_EQ((*runs)[0]["backend"], "example");
    EXPECT_EQ((*runs)[0]["verdict"], "passed");
  }
  EXPECT_EQ(child[0]["taps"], own[0]["taps"]);
}

// The rotation is wrong; the first tap behind it is named.
TEST(PluginCommand, TheBugIsPlaced) {
  for (const char* way : {"--time-limit=30", "--in-process"}) {
    const Outcome run = run_program({"verify", "--arch", "llama", "--backend", MLBENCH_PLUGIN_BUGGY, way, "--call",
                                     "single/0 prefill", "--threads", "1"});
    EXPECT_EQ(run.exit_code, 1);
    EXPECT_THAT(run.out,
                HasSubstr("first tap that strays: isolated prefill (single/0 prefill), sequence 0, position "));
    EXPECT_THAT(run.out, HasSubstr(", layer 0, tap layers.0.attn.q, "));
    // The command that runs it again takes the library the same way.
    EXPECT_THAT(run.out, HasSubstr(std::string("buggy.so --dtype f32 --mode isolated") +
                                   (way == std::string("--in-process") ? " --in-process" : " --time-limit 30")));
  }
}

TEST(PluginCommand, ACrashIsTheErrorOfItsRunAlone) {
  const Fault fault("abort bf16");
  const Outcome run = verify(MLBENCH_PLUGIN_FAULTY, {"--arch", "llama", "--dtype", "bf16,f32"});
  EXPECT_EQ(run.exit_code, 1) << run.err;
  const auto runs = runs_of(run);
  ASSERT_EQ(runs.size(), 2U);
  EXPECT_EQ(runs[0]["verdict"], "error");
  EXPECT_THAT(runs[0]["error"].get<std::string>(), AllOf(StartsWith("backend.crashed: "), HasSubstr("SIGABRT")));
  EXPECT_EQ(runs[1]["verdict"], "passed");
}

TEST(PluginCommand, ACallThatHangsIsTheErrorOfItsRun) {
  const Fault fault("hang forward");
  const Outcome run = verify(MLBENCH_PLUGIN_FAULTY, {"--arch", "llama", "--mode", "chained", "--time-limit", "0.5"});
  EXPECT_EQ(run.exit_code, 1) << run.err;
  EXPECT_THAT(runs_of(run)[0]["error"].get<std::string>(), StartsWith("backend.timeout: "));
}

TEST(PluginCommand, AQuestionThatKillsIsTheErrorOfItsRun) {
  const Fault fault("segv supports");
  const Outcome run = verify(MLBENCH_PLUGIN_FAULTY, {"--arch", "llama", "--dtype", "f32,bf16"});
  EXPECT_EQ(run.exit_code, 1) << run.err;
  for (const auto& one : runs_of(run)) EXPECT_EQ(one["verdict"], "error");
}

// Standard output is JSON, whatever the library prints.
TEST(PluginCommand, APrintingLibraryLeavesTheJsonAlone) {
  const Fault fault("print forward");
  const Outcome run = verify(MLBENCH_PLUGIN_FAULTY, {"--arch", "llama", "--mode", "chained"});
  EXPECT_EQ(run.exit_code, 0) << run.out;
  EXPECT_EQ(runs_of(run).size(), 1U);
  EXPECT_THAT(run.err, AllOf(HasSubstr("our JSON"), HasSubstr("to standard error")));
}

TEST(PluginCommand, LibrariesThatCannotBeUsedAreNotThere) {
  const auto refused = [](const std::string& library, const std::string& says) {
    const Outcome run = run_program({"verify", "--arch", "llama", "--backend", library});
    EXPECT_EQ(run.exit_code, 3);
    EXPECT_THAT(run.err, AllOf(StartsWith("mlbench: " + says), Not(HasSubstr("\n\n"))));
    EXPECT_EQ(run.out, "");
  };
  refused("/no/where.so", "plugin.load: /no/where.so: there is no such file");
  refused("where.so", "plugin.load: where.so: there is no such file");
  refused(MLBENCH_PLUGIN_BAD_VERSION, "plugin.version: ");
  refused(MLBENCH_PLUGIN_BAD_SYMBOL, "plugin.symbol: ");
  refused(MLBENCH_PLUGIN_BAD_HOLE, "plugin.table: ");
  refused(MLBENCH_PLUGIN_BAD_CRASH, "plugin.load: ");
  const Fault fault("none devices");
  refused(MLBENCH_PLUGIN_FAULTY, "backend.unavailable: backend example (");
}

Words bench(const std::string& library, const Words& more) {
  Words words = {"bench",    "--backend", library, "--arch", "llama",    "--threads", "1",
                 "--prompt", "4",         "--gen", "2",      "--method", "decode",    "--no-probe"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

// Both side by side, for longer where the machine is too busy to tell.
Outcome against_paced(const std::string& library) {
  Outcome run;
  for (const char* seconds : {"4", "16", "64", "256"}) {
    run = run_program(
        bench(library, {"--against", MLBENCH_PLUGIN_PACED, "--precision", "0.0001", "--max-time", seconds}));
    if (run.out.find("undecided") == std::string::npos) return run;
  }
  return run;
}

TEST(PluginCommand, FivePercentMoreForEachTokenIsSlower) {
  const Outcome run = against_paced(MLBENCH_PLUGIN_SLOWER);
  EXPECT_EQ(run.exit_code, 1) << run.err;
  EXPECT_THAT(run.out, HasSubstr("1 row: 1 slower"));
}

TEST(PluginCommand, TheSameForEachTokenIsTheSame) {
  const Outcome run = against_paced(MLBENCH_PLUGIN_PACED);
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out, HasSubstr("1 row: 1 same"));
}

TEST(PluginCommand, ATimeWithoutAComputationIsNone) {
  const Fault fault("idle forward");
  const Outcome run = run_program(bench(MLBENCH_PLUGIN_FAULTY, {"--max-time", "0.1", "--json", "-"}));
  EXPECT_EQ(run.exit_code, 1) << run.err;
  const auto rows = nlohmann::json::parse(run.out)["rows"];
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(rows[0]["check"], "failed");
}

TEST(PluginCommand, AnArchitectureThatItLacksIsUnsupported) {
  const Outcome run = verify(MLBENCH_PLUGIN_EXAMPLE, {"--arch", "olmo"});
  EXPECT_EQ(run.exit_code, 3) << run.err;
  EXPECT_THAT(run.out, HasSubstr("only llama is implemented"));
}

TEST(PluginCommand, ListingsKnowLibraries) {
  const Outcome devices = run_program({"list", "devices", "--json", "--backend", MLBENCH_PLUGIN_EXAMPLE});
  EXPECT_EQ(devices.exit_code, 0) << devices.err;
  const auto listed = nlohmann::json::parse(devices.out);
  ASSERT_EQ(listed.size(), 1U);
  EXPECT_EQ(listed[0]["backend"], "example");
  EXPECT_EQ(listed[0]["device"], "cpu");
  const Outcome one = run_program({"list", "backends", "--json", "--backend", "reference"});
  EXPECT_EQ(nlohmann::json::parse(one.out)[0]["name"], "reference");
  EXPECT_THAT(run_program({"list", "devices", "--backend", "cpx"}).err,
              AllOf(HasSubstr("no backend is called \"cpx\"; near: cpu"), HasSubstr("a library is named by its path")));
  const Fault fault("none devices");
  const Outcome none = run_program({"list", "backends", "--backend", MLBENCH_PLUGIN_FAULTY});
  EXPECT_THAT(none.out, HasSubstr("no device file /dev/npu0"));
}

}  // namespace
}  // namespace mlbench::plugin::test
