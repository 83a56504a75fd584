// mlbench bench, compare and probe as their users run them.
#include <signal.h>  // NOLINT(modernize-deprecated-headers): kill() is POSIX's
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <set>
#include <thread>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "tests/support/command.h"
#include "tests/support/temp_dir.h"

namespace mlbench::cli {
namespace {

using nlohmann::json;
using test::Outcome;
using test::run_program;
using test::TempDir;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using Words = std::vector<std::string>;

// A sweep of few and short repetitions.
Words bench(const Words& more, const std::string& seconds = "0.05") {
  Words words = {"bench",    "--backend", "cpu",   "--arch", "llama",      "--set", "num_hidden_layers=2",
                 "--prompt", "8",         "--gen", "3",      "--max-time", seconds, "--no-probe"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

json read_json(const std::string& path) { return json::parse(test::read_file(path)); }

std::set<std::string> names_of(const json& run) {
  std::set<std::string> out;
  for (const json& row : run["rows"]) {
    const json& point = row["point"];
    out.insert(point.dump() + row["method"].get<std::string>());
  }
  return out;
}

TEST(Bench, GivesACheckedRowForEveryMethodOfEveryPoint) {
  const TempDir dir;
  const Outcome run = run_program(bench({"--batch", "1,2", "--dtype", "f32,bf16", "--json", dir / "b.json"}));
  EXPECT_EQ(run.exit_code, 0) << run.err;
  const json result = read_json(dir / "b.json");
  ASSERT_EQ(result["rows"].size(), 8U);
  EXPECT_EQ(names_of(result).size(), 8U);
  for (const json& row : result["rows"]) {
    EXPECT_EQ(row["check"], "passed") << row;
    EXPECT_GT(row["samples"].size(), 0U);
    EXPECT_GT(row["flops_per_token"], 0.0);
  }
  EXPECT_THAT(run.out, HasSubstr("batch_decode"));
  EXPECT_THAT(run.out, HasSubstr("8 rows: 8 passed"));
}

TEST(Bench, WritesEveryFormat) {
  const TempDir dir;
  const Outcome run = run_program(bench({"--json", "-", "--md", dir / "a", "--csv", dir / "b", "--junit", dir / "c",
                                         "--google-benchmark", dir / "d", "--llama-bench", dir / "e", "--action-bigger",
                                         dir / "f", "--action-smaller", dir / "g", "--open-metrics", dir / "h"}));
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(json::parse(run.out)["rows"].size(), 2U) << "nothing but JSON on standard output";
  for (const char* file : {"a", "b", "c", "d", "e", "f", "g", "h"}) EXPECT_GT(test::read_file(dir / file).size(), 50U);
}

TEST(Bench, UncheckedRowsAreMarked) {
  const TempDir dir;
  const Outcome run =
      run_program(bench({"--no-check", "--json", dir / "b.json", "--csv", dir / "b.csv", "--md", dir / "b.md"}));
  EXPECT_EQ(run.exit_code, 0) << run.err;
  for (const json& row : read_json(dir / "b.json")["rows"]) EXPECT_EQ(row["check"], "unchecked");
  for (const std::string& text : {run.out, test::read_file(dir / "b.csv"), test::read_file(dir / "b.md")})
    EXPECT_THAT(text, HasSubstr("unchecked"));
}

TEST(Bench, WhatIsNotSupportedIsListedWithItsReason) {
  const TempDir dir;
  const Outcome run =
      run_program(bench({"--tp", "1,4", "--method", "prefill,batch_decode", "--batch", "2", "--json", dir / "b.json"}));
  EXPECT_EQ(run.exit_code, 0) << run.err;
  const json result = read_json(dir / "b.json");
  ASSERT_EQ(result["rows"].size(), 4U);
  int measured = 0;
  for (const json& row : result["rows"]) {
    const bool has_reason = !row["unsupported"].is_null() && row["unsupported"] != "";
    EXPECT_NE(has_reason, !row["samples"].empty()) << row;
    measured += has_reason ? 0 : 1;
  }
  EXPECT_EQ(measured, 1) << "batch_decode without shards";
  EXPECT_THAT(run.out, HasSubstr("prefill takes one sequence, not 2"));
  const Outcome nothing = run_program(bench({"--tp", "4"}));
  EXPECT_EQ(nothing.exit_code, 2) << nothing.err;
}

TEST(Bench, ModelsWithoutThePositionsAreUnsupportedThere) {
  const Outcome run = run_program({"bench", "--backend", "cpu", "--arch", "gpt_bigcode", "--prompt", "8,600", "--gen",
                                   "2", "--max-time", "0.05", "--no-probe"});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out, HasSubstr("602 tokens of a sequence: the model has positions for 512"));
}

TEST(Bench, TheSweepOfTheTreeRuns) {
  const std::string sweep = std::string(MLBENCH_SOURCE_DIR) + "/bench/sweeps/smoke.json";
  const Outcome run =
      run_program({"bench", "--backend", "cpu", "--sweep", sweep, "--max-time", "0.05", "--no-probe", "--json", "-"});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(json::parse(run.out)["rows"].size(), 4U);
}

TEST(Bench, ShardsTogetherAreTheWholeSweep) {
  const TempDir dir;
  const Words axes = {"--batch", "1,2,3", "--no-check"};
  const auto rows = [&](const Words& more) {
    Words words = bench(axes);
    words.insert(words.end(), more.begin(), more.end());
    words.insert(words.end(), {"--json", dir / "s.json"});
    const Outcome run = run_program(words);
    EXPECT_EQ(run.exit_code, 0) << run.err;
    return names_of(read_json(dir / "s.json"));
  };
  const std::set<std::string> whole = rows({});
  std::set<std::string> together;
  std::size_t sum = 0;
  for (const char* shard : {"1/2", "2/2"}) {
    const std::set<std::string> part = rows({"--shard", shard});
    sum += part.size();
    together.insert(part.begin(), part.end());
  }
  EXPECT_EQ(together, whole);
  EXPECT_EQ(sum, whole.size());
}

// Its exit code after SIGINT, sent when it has run for a while.
int interrupted(const Words& args) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    Words words{MLBENCH_PROGRAM};
    words.insert(words.end(), args.begin(), args.end());
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    ::execv(argv[0], argv.data());
    ::_exit(126);
  }
  std::this_thread::sleep_for(std::chrono::seconds(3));
  (void)::kill(pid, SIGINT);
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

TEST(Bench, AnInterruptedRunKeepsItsRowsAndCanGoOn) {
  const TempDir dir;
  const Words sweep = bench({"--batch", "1,2", "--precision", "1e-9"}, "5");
  const auto with = [&](const Words& more) {
    Words words = sweep;
    words.insert(words.end(), more.begin(), more.end());
    return words;
  };
  EXPECT_EQ(interrupted(with({"--json", dir / "part.json"})), 1);
  const json part = read_json(dir / "part.json");
  EXPECT_EQ(part["interrupted"], true);
  for (const json& row : part["rows"]) EXPECT_EQ(row["stop"], "interrupted") << row["method"];
  const Outcome rest = run_program(with({"--resume", dir / "part.json", "--json", dir / "whole.json"}));
  EXPECT_EQ(rest.exit_code, 0) << rest.err;
  const json whole = read_json(dir / "whole.json");
  EXPECT_EQ(whole["rows"].size(), 4U);
  EXPECT_EQ(whole["interrupted"], false);
  for (const json& row : whole["rows"]) EXPECT_EQ(row["stop"], "max_time");
  // Whole rows are taken over as they are.
  const Outcome again = run_program(with({"--resume", dir / "whole.json", "--json", dir / "again.json"}));
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(read_json(dir / "again.json")["rows"], whole["rows"]);
  const Outcome other = run_program(bench({"--resume", dir / "whole.json"}));
  EXPECT_EQ(other.exit_code, 2);
  EXPECT_THAT(other.err, StartsWith("mlbench: bench.resume: "));
}

TEST(Bench, RunsBesideAnotherBuild) {
  const Outcome run = run_program(bench({"--against", MLBENCH_PROGRAM, "--floor", "0.5"}));
  EXPECT_EQ(run.exit_code, 0) << run.out << run.err;
  EXPECT_THAT(run.out, HasSubstr("new / base"));
  const Outcome none = run_program(bench({"--against", "/bin/true"}));
  EXPECT_EQ(none.exit_code, 3);
  EXPECT_THAT(none.err, StartsWith("mlbench: bench.worker: /bin/true: "));
}

TEST(Bench, WrongRequestsAreOneLine) {
  for (const Words& wrong :
       {Words{"--precision", "0"}, Words{"--shard", "3/2"}, Words{"--shard", "1"}, Words{"--shard", "1/2x"},
        Words{"--dtype", "f31"}, Words{"--method", "fly"}, Words{"--batch", "0"}, Words{"--against-json", "/x"},
        Words{"--sweep", "/nowhere"}, Words{"--resume", "/nowhere"}}) {
    SCOPED_TRACE(fmt::format("{} {}", wrong[0], wrong[1]));
    const Outcome run = run_program(bench(wrong));
    EXPECT_EQ(run.exit_code, 2) << run.err;
    EXPECT_EQ(std::ranges::count(run.err, '\n'), 1) << run.err;
    EXPECT_EQ(run.out, "");
  }
  EXPECT_EQ(run_program({"bench", "--backend", "cpu"}).exit_code, 2) << "no model";
  EXPECT_EQ(run_program(bench({}, "-1")).exit_code, 2) << "--max-time";
  const Words nothing = {"bench", "--backend", "cpu", "--arch", "llama", "--prompt", "0", "--gen", "0"};
  EXPECT_EQ(run_program(nothing).exit_code, 2) << "nothing to do";
}

TEST(Compare, OfARunWithItselfFindsNothingSlower) {
  const TempDir dir;
  ASSERT_EQ(run_program(bench({"--json", dir / "a.json"})).exit_code, 0);
  const Outcome run = run_program({"compare", dir / "a.json", dir / "a.json", "--json", dir / "c.json"});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  const json comparison = read_json(dir / "c.json");
  ASSERT_EQ(comparison["rows"].size(), 2U);
  for (const json& row : comparison["rows"]) EXPECT_NE(row["difference"], "slower");
}

TEST(Compare, FindsTimesThatDoubled) {
  const TempDir dir;
  ASSERT_EQ(run_program(bench({"--json", dir / "a.json"})).exit_code, 0);
  json slow = read_json(dir / "a.json");
  for (json& row : slow["rows"]) {
    // As many times as decide, however few the machine had time for.
    row["samples"] = row["started"] = row["steps"] = json::array();
    for (int i = 0; i < 40; ++i) row["samples"].push_back(1.0 + 1e-3 * (i * 19 % 40));
  }
  json fast = slow;
  for (json& row : fast["rows"]) {
    for (json& sample : row["samples"]) sample = sample.get<double>() / 2.0;
  }
  std::ofstream(dir / "slow.json") << slow;
  std::ofstream(dir / "fast.json") << fast;
  EXPECT_EQ(run_program({"compare", dir / "fast.json", dir / "slow.json"}).exit_code, 1);
  EXPECT_EQ(run_program({"compare", dir / "slow.json", dir / "fast.json"}).exit_code, 0);
  EXPECT_EQ(run_program({"compare", dir / "slow.json", "/nowhere"}).exit_code, 2);
}

TEST(Compare, TakesTwoRunsOfOneMachine) {
  const TempDir dir;
  ASSERT_EQ(run_program(bench({"--json", dir / "a.json"})).exit_code, 0);
  ASSERT_EQ(run_program(bench({"--json", dir / "b.json"})).exit_code, 0);
  const Outcome run = run_program({"compare", dir / "a.json", dir / "b.json", "--json", dir / "c.json"});
  const json compared = read_json(dir / "c.json");
  ASSERT_EQ(compared["rows"].size(), 2U) << run.out;
  for (const json& row : compared["rows"]) EXPECT_TRUE(row["not_compared"].is_null()) << row;
  const std::string a = dir / "a.json", b = dir / "b.json";
  EXPECT_NE(run_program({"compare", "--paired", a, b}).exit_code, 2);
  EXPECT_EQ(run_program({"compare", "--paired", a, a + "," + b}).exit_code, 2);
}

TEST(Probe, MeasuresTheProcessor) {
  const Outcome run = run_program(
      {"probe", "--backend", "cpu", "--dtype", "f32", "--threads", "1", "--seconds", "0.05", "--json", "-"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const std::string text = run.out;
  EXPECT_THAT(text, HasSubstr("read_bytes_per_second"));
  EXPECT_EQ(run_program({"probe", "--backend", "reference"}).exit_code, 3);
  EXPECT_EQ(run_program({"probe", "--backend", "cpu", "--dtype", "f31"}).exit_code, 2);
}

}  // namespace
}  // namespace mlbench::cli
