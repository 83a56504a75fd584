// Split models over processes, as users run them. What needs an MPI is skipped, with its reason, where there is none;
// .ci/run has one.
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "tests/support/command.h"
#include "tests/support/temp_dir.h"

namespace mlbench {
namespace {

using nlohmann::json;
using test::Outcome;
using test::read_file;
using test::run_program;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;

// Nothing where ranks can be started.
std::string why_no_ranks() {
  const Outcome outcome = run_program({"verify", "--arch", "olmo", "--backend", "cpu", "--tp", "2", "--inputs",
                                       "random", "--call", "single/0 prefill"});
  return outcome.exit_code == 3 ? outcome.err : "";
}

class Ranks : public ::testing::Test {
 protected:
  void SetUp() override {
    static const std::string why = why_no_ranks();
    if (!why.empty()) GTEST_SKIP() << why;
  }
};

TEST_F(Ranks, VerifyASplitModel) {
  test::TempDir folder;
  const std::string file = folder / "result.json";
  const Outcome outcome = run_program(
      {"verify", "--arch", "olmo", "--backend", "cpu", "--tp", "2", "--pp", "2", "--quick", "--json", file});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("tp 2, pp 2 (2 micro-batches) on 4 ranks of "));
  for (const char* kind : {"attn.out.part", "attn.out.all_reduce", "mlp.out.all_reduce", "stage.in"})
    EXPECT_THAT(outcome.out, HasSubstr(kind));
  const json split = json::parse(read_file(file))["runs"][0]["split"];
  EXPECT_EQ(split["tensor_parallel"], 2);
  EXPECT_EQ(split["pipeline_parallel"], 2);
  EXPECT_EQ(split["hosts"].size(), 4U);
}

TEST_F(Ranks, AreMeasuredBesideTheModelInOnePiece) {
  test::TempDir folder;
  const std::string file = folder / "run.json", trace = folder / "trace.json";
  const Outcome outcome = run_program(
      {"bench", "--arch", "llama", "--backend",  "cpu", "--tp",       "1,2",    "--threads", "1",       "--prompt",
       "8",     "--gen",  "2",     "--max-time", "0.2", "--no-probe", "--json", file,        "--trace", trace});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.out << outcome.err;
  const json rows = json::parse(read_file(file))["rows"];
  ASSERT_EQ(rows.size(), 4U);
  for (const json& row : rows) {
    EXPECT_EQ(row["check"], "passed") << row["check_text"];
    const bool split = row["point"]["tensor_parallel"] == 2;
    EXPECT_EQ(row["ranks"].size(), split ? 2U : 0U);
    EXPECT_EQ(row["scaling"].is_null(), !split);
    if (!split) continue;
    EXPECT_DOUBLE_EQ(row["scaling"]["efficiency"].get<double>(), row["scaling"]["speedup"].get<double>() / 2);
    for (const json& rank : row["ranks"]) {
      EXPECT_GT(rank["compute_seconds"].get<double>(), 0.0);
      EXPECT_GT(rank["communication_seconds"].get<double>(), 0.0);
      EXPECT_GT(rank["reduced_bytes"].get<double>(), 0.0);
    }
  }
  const json events = json::parse(read_file(trace))["traceEvents"];
  EXPECT_TRUE(std::ranges::any_of(events, [](const json& e) { return e["name"] == "all-reduce" && e["dur"] > 0; }));
}

TEST_F(Ranks, VerifyPrefillAndDecodeApart) {
  test::TempDir folder;
  const std::string file = folder / "result.json";
  const Outcome outcome = run_program({"verify", "--arch", "olmo", "--backend", "cpu", "--tp", "2", "--disagg",
                                       "--quick", "--inputs", "random", "--json", file});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("tp 2, pp 1, prefill and decode apart, on 4 ranks of "));
  EXPECT_THAT(outcome.out, HasSubstr("cache.k"));
  const json run = json::parse(read_file(file))["runs"][0];
  EXPECT_EQ(run["split"]["disaggregated"], true);
  EXPECT_EQ(run["split"]["hosts"].size(), 4U);
  EXPECT_EQ(run["unsupported"].size(), 1U) << "windows alone";
}

// In bf16 they round what the files have: a part that was rounded otherwise would stray from the reference.
TEST_F(Ranks, MapAndRoundTheirPartsOfACheckpoint) {
  test::TempDir folder;
  for (const char* split : {"--tp", "--pp"}) {
    for (const char* dtype : {"f32", "bf16"}) {
      const std::string file = folder / "result.json";
      const Outcome outcome =
          run_program({"verify", "--model", MLBENCH_TEST_DATA "/schedules-llama", "--backend", "cpu", split, "2",
                       "--dtype", dtype, "--inputs", "random", "--call", "single/0 prefill", "--json", file});
      EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
      EXPECT_EQ(json::parse(read_file(file))["runs"][0]["split"]["mapped"], 2) << split << " " << dtype;
    }
  }
}

TEST_F(Ranks, VerifyReplicas) {
  test::TempDir folder;
  const std::string file = folder / "result.json";
  const Outcome outcome = run_program({"verify", "--arch", "olmo", "--backend", "cpu", "--tp", "2", "--replicas", "2",
                                       "--quick", "--inputs", "random", "--json", file});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("tp 2, pp 1, 2 replicas, on 4 ranks of "));
  const json split = json::parse(read_file(file))["runs"][0]["split"];
  EXPECT_EQ(split["replicas"], 2);
  EXPECT_EQ(split["hosts"].size(), 4U);
}

// Prefill and decode apart, too: what one replica sends must not come to the other.
TEST_F(Ranks, MeasureReplicasBesideOne) {
  test::TempDir folder;
  const std::string file = folder / "run.json";
  const Outcome outcome =
      run_program({"bench", "--arch", "llama", "--backend", "cpu", "--replicas", "1,2", "--disagg", "--threads", "1",
                   "--prompt", "64", "--gen", "2", "--max-time", "0.2", "--no-probe", "--json", file});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.out << outcome.err;
  const json rows = json::parse(read_file(file))["rows"];
  ASSERT_EQ(rows.size(), 8U);
  for (const json& row : rows) {
    EXPECT_EQ(row["check"], "passed") << row["check_text"];
    const json& point = row["point"];
    const auto replicas = point["replicas"].get<double>();
    const double ranks = replicas * (point["disaggregated"].get<bool>() ? 2 : 1);
    EXPECT_EQ(static_cast<double>(row["ranks"].size()), ranks == 1 ? 0 : ranks);
    const double tokens = replicas * (row["method"] == "decode" ? 2 : 64);
    EXPECT_DOUBLE_EQ(row["tokens_per_second"]["value"].get<double>(), tokens / row["median"]["value"].get<double>());
    if (ranks > 1) {
      EXPECT_DOUBLE_EQ(row["scaling"]["efficiency"].get<double>(), row["scaling"]["speedup"].get<double>() / ranks);
    }
  }
}

// A prompt of many entries: what is sent goes while the sender has nothing to do.
TEST_F(Ranks, MeasurePrefillAndDecodeApartBesideTogether) {
  test::TempDir folder;
  const std::string file = folder / "run.json", trace = folder / "trace.json";
  const Outcome outcome = run_program(
      {"bench", "--arch", "llama",      "--backend",  "cpu", "--disagg",   "--threads", "1",  "--prompt", "128",
       "--gen", "2",      "--no-check", "--max-time", "0.2", "--no-probe", "--json",    file, "--trace",  trace});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.out << outcome.err;
  const json rows = json::parse(read_file(file))["rows"];
  ASSERT_EQ(rows.size(), 4U);
  for (const json& row : rows) {
    const bool apart = row["point"]["disaggregated"].get<bool>();
    EXPECT_EQ(row["ranks"].size(), apart ? 2U : 0U);
    EXPECT_EQ(row["scaling"].is_null(), !apart);
    if (!apart) continue;
    EXPECT_DOUBLE_EQ(row["scaling"]["efficiency"].get<double>(), row["scaling"]["speedup"].get<double>() / 2);
    const bool prompt = row["method"] == "prefill";
    EXPECT_EQ(row["ranks"][0]["transferred_bytes"].get<double>() > 0.0, prompt);
    EXPECT_EQ(row["ranks"][1]["transferred_bytes"].get<double>(), 0.0) << "it receives";
    for (const json& rank : row["ranks"]) EXPECT_EQ(rank["transfer_seconds"].get<double>() > 0.0, prompt);
  }
  const json events = json::parse(read_file(trace))["traceEvents"];
  EXPECT_TRUE(std::ranges::any_of(events, [](const json& e) { return e["name"] == "transfer" && e["dur"] > 0; }));
}

// ---- ranks that fail ----

std::vector<pid_t> children_of(pid_t parent) {
  std::vector<pid_t> out;
  std::ifstream in(fmt::format("/proc/{0}/task/{0}/children", parent));
  for (pid_t child = 0; in >> child;) out.push_back(child);
  return out;
}

// Empty where the process is gone.
std::string of_process(pid_t pid, const char* file) {
  std::ifstream in(fmt::format("/proc/{}/{}", pid, file));
  return {std::istreambuf_iterator<char>(in), {}};
}

bool is_rank(pid_t pid) { return of_process(pid, "comm") == "mlbench-rank\n"; }

std::vector<pid_t> ranks_below(pid_t parent) {
  std::vector<pid_t> out;
  for (const pid_t child : children_of(parent)) {
    if (is_rank(child)) out.push_back(child);
    const std::vector<pid_t> more = ranks_below(child);
    out.insert(out.end(), more.begin(), more.end());
  }
  return out;
}

// The program at work on a split model, for longer than a test takes.
class Running {
 public:
  explicit Running(const std::vector<std::string>& options) {
    std::vector<std::string> words = {MLBENCH_PROGRAM, "verify",  "--arch",   "llama,olmo", "--backend",
                                      "cpu",           "--dtype", "f32,bf16", "--json",     folder_ / "result.json"};
    words.insert(words.end(), options.begin(), options.end());
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t files;
    ::posix_spawn_file_actions_init(&files);
    const std::string out = folder_ / "out";
    ::posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, out.c_str(), O_WRONLY | O_CREAT, 0600);
    ::posix_spawn_file_actions_addopen(&files, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    EXPECT_EQ(::posix_spawn(&pid_, MLBENCH_PROGRAM, &files, nullptr, argv.data(), environ), 0);
    ::posix_spawn_file_actions_destroy(&files);
  }
  ~Running() {
    if (pid_ < 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;

  [[nodiscard]] pid_t pid() const { return pid_; }
  // The processes of its ranks, once they are at work.
  [[nodiscard]] std::vector<pid_t> ranks(std::size_t count) const {
    for (int tries = 0; tries < 3000; ++tries) {
      std::vector<pid_t> found = ranks_below(pid_);
      if (found.size() == count) {
        std::this_thread::sleep_for(std::chrono::seconds(1));
        return found;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return {};
  }
  int exit_code() {
    int status = 0;
    ::waitpid(pid_, &status, 0);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  [[nodiscard]] std::string out() const { return read_file(folder_ / "out"); }
  [[nodiscard]] json result() const { return json::parse(read_file(folder_ / "result.json")); }

 private:
  test::TempDir folder_;
  pid_t pid_ = -1;
};

bool exists(pid_t pid) {
  const std::string stat = of_process(pid, "stat");
  return !stat.empty() && stat.find(") Z ") == std::string::npos;
}

// What must be true when one of its ranks has failed.
void expect_ended(Running& running, const std::vector<pid_t>& ranks, const std::string& code) {
  EXPECT_EQ(running.exit_code(), 4) << running.out();
  const json runs = running.result()["runs"];
  ASSERT_FALSE(runs.empty());
  EXPECT_EQ(runs.back()["verdict"], "error");
  EXPECT_THAT(runs.back()["error"].get<std::string>(), MatchesRegex(code + ": rank [0-9] of 2 on [^:]+: .+"));
  EXPECT_LT(runs.size(), 4U) << "what was still to come is not run";
  for (const pid_t rank : ranks) EXPECT_FALSE(exists(rank)) << "process " << rank << " was left behind";
}

TEST_F(Ranks, ThatAreKilledEndTheRunAndAreNamed) {
  Running running({"--tp", "2"});
  const std::vector<pid_t> ranks = running.ranks(2);
  ASSERT_EQ(ranks.size(), 2U);
  ASSERT_EQ(::kill(ranks[1], SIGKILL), 0);
  expect_ended(running, ranks, "backend.crashed");
  EXPECT_THAT(running.out(), HasSubstr("SIGKILL"));
}

TEST_F(Ranks, ThatHangEndTheRunAndAreNamed) {
  Running running({"--pp", "2", "--time-limit", "3"});
  const std::vector<pid_t> ranks = running.ranks(2);
  ASSERT_EQ(ranks.size(), 2U);
  ASSERT_EQ(::kill(ranks[0], SIGSTOP), 0);
  expect_ended(running, ranks, "backend.timeout");
}

// One of the instance that decodes, while it is decoding or waits for entries.
TEST_F(Ranks, OfEitherInstanceThatAreKilledEndTheRunAndAreNamed) {
  for (const std::size_t killed : {0U, 1U}) {
    Running running({"--disagg"});
    const std::vector<pid_t> ranks = running.ranks(2);
    ASSERT_EQ(ranks.size(), 2U);
    ASSERT_EQ(::kill(ranks[killed], SIGKILL), 0);
    expect_ended(running, ranks, "backend.crashed");
    EXPECT_THAT(running.out(), HasSubstr(fmt::format("rank {} of 2", killed)));
    EXPECT_THAT(running.out(), HasSubstr("SIGKILL"));
  }
}

TEST_F(Ranks, EndWithTheProgram) {
  Running running({"--tp", "2"});
  const std::vector<pid_t> ranks = running.ranks(2);
  ASSERT_EQ(ranks.size(), 2U);
  ASSERT_EQ(::kill(running.pid(), SIGKILL), 0);
  (void)running.exit_code();
  for (int tries = 0; tries < 3000 && std::ranges::any_of(ranks, exists); ++tries)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  for (const pid_t rank : ranks) EXPECT_FALSE(exists(rank)) << "process " << rank << " was left behind";
}

// ---- what is refused ----

void expect_one_line(const Outcome& outcome, int exit_code, const std::string& start) {
  EXPECT_EQ(outcome.exit_code, exit_code) << outcome.out;
  EXPECT_EQ(outcome.out, "");
  EXPECT_THAT(outcome.err, AllOf(HasSubstr(start), Not(HasSubstr("mpirun detected"))));
  EXPECT_EQ(std::ranges::count(outcome.err, '\n'), 1) << outcome.err;
}

TEST(Splits, ThatTheModelDoesNotAllowAreRefused) {
  for (const char* command : {"verify", "bench"}) {
    expect_one_line(run_program({command, "--arch", "gpt_bigcode", "--backend", "cpu", "--tp", "2"}), 2,
                    "parallel.unsupported: ");
    expect_one_line(run_program({command, "--arch", "orion", "--backend", "cpu", "--tp", "2"}), 2,
                    "parallel.indivisible: ");
    expect_one_line(run_program({command, "--arch", "olmo", "--backend", "cpu", "--pp", "5"}), 2, "config.value: ");
  }
}

TEST(Splits, AreNotMeasuredAgainstAnotherBuild) {
  expect_one_line(
      run_program({"bench", "--arch", "llama", "--backend", "cpu", "--tp", "2", "--against", MLBENCH_PROGRAM}), 2,
      "usage: --against: ");
}

TEST(Splits, WithoutALauncherSayWhatIsMissing) {
  const std::string path = ::getenv("PATH");
  ASSERT_EQ(::setenv("PATH", "/nowhere", 1), 0);
  const Outcome outcome = run_program({"verify", "--arch", "olmo", "--backend", "cpu", "--tp", "2"});
  const Outcome apart = run_program({"bench", "--arch", "olmo", "--backend", "cpu", "--disagg", "--prompt", "8"});
  ASSERT_EQ(::setenv("PATH", path.c_str(), 1), 0);
  expect_one_line(outcome, 3, "parallel.no_ranks: ");
  expect_one_line(apart, 3, "parallel.no_ranks: --tp 1 --pp 1 --disagg: ");
}

TEST_F(Ranks, ThatALauncherRefusesToStartAreExplainedInItsWords) {
  const test::TempDir folder;
  const std::string launcher = folder / "mpirun";
  test::write_file(
      launcher, "#!/bin/sh\nprintf -- '-----\\nNo slots for  \\n/opt/mlbench-rank, job-1.\\n-----\\n' >&2\nexit 1\n");
  std::filesystem::permissions(launcher, std::filesystem::perms::owner_all);
  const Outcome outcome = run_program({"verify", "--arch", "olmo", "--backend", "cpu", "--tp", "2"},
                                      {{"PATH", folder.path().string() + ":" + ::getenv("PATH")}});
  expect_one_line(outcome, 3,
                  "parallel.no_ranks: ranks ended before they came: No slots for /opt/mlbench-rank, job-1.\n");
}

TEST(Splits, OfPromptsThatCannotBeCutAreRefused) {
  expect_one_line(run_program({"verify", "--arch", "llama", "--set",
                               R"(rope_scaling={"rope_type":"dynamic","factor":2.0})", "--backend", "cpu", "--disagg"}),
                  2, "parallel.unsupported: ");
}

TEST_F(Ranks, FewerThanTheSplitTakesAreRefused) {
  ASSERT_EQ(::setenv("OMPI_COMM_WORLD_RANK", "0", 1), 0);
  ASSERT_EQ(::setenv("OMPI_COMM_WORLD_SIZE", "2", 1), 0);
  const Outcome outcome = run_program({"verify", "--arch", "olmo", "--backend", "cpu", "--tp", "2", "--pp", "2"});
  const Outcome apart = run_program({"verify", "--arch", "olmo", "--backend", "cpu", "--tp", "2", "--disagg"});
  const Outcome replicas = run_program({"verify", "--arch", "olmo", "--backend", "cpu", "--replicas", "3"});
  ASSERT_EQ(::unsetenv("OMPI_COMM_WORLD_RANK"), 0);
  ASSERT_EQ(::unsetenv("OMPI_COMM_WORLD_SIZE"), 0);
  expect_one_line(outcome, 2, "parallel.too_few_ranks: ");
  expect_one_line(apart, 2, "parallel.too_few_ranks: --tp 2 --pp 1 --disagg takes 4 ranks");
  expect_one_line(replicas, 2, "parallel.too_few_ranks: --tp 1 --pp 1 --replicas 3 takes 3 ranks");
}

}  // namespace
}  // namespace mlbench
