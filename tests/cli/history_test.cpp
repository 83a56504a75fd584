// The history of runs as its users see it: what verify and bench keep, and mlbench history.
#include <signal.h>  // NOLINT(modernize-deprecated-headers): kill() is POSIX's
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <map>
#include <random>
#include <sstream>
#include <thread>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "tests/support/command.h"
#include "tests/support/temp_dir.h"

namespace mlbench::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using test::Outcome;
using test::read_file;
using test::run_program;
using test::TempDir;
using test::Variables;
using test::write_file;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;
using Words = std::vector<std::string>;

Words joined(Words words, const Words& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

// A second of work: the reference against a golden.
Words verify(const Words& more) {
  const std::string model = std::string(MLBENCH_TEST_DATA) + "/schedules-llama";
  return joined({"verify", "--model", model, "--golden", model + "/oracle.h5", "--backend", "reference"}, more);
}

// One layer of a backend in two types, a single call.
Words verify_cpu(const Words& more) {
  return joined({"verify", "--arch", "olmo", "--set", "num_hidden_layers=2", "--backend", "cpu", "--dtype", "f32,bf16",
                 "--inputs", "random", "--call", "single/0 prefill"},
                more);
}

Words bench(const Words& more) {
  return joined({"bench", "--backend", "cpu", "--arch", "llama", "--set", "num_hidden_layers=1", "--prompt", "8",
                 "--gen", "2", "--max-time", "0.02", "--no-probe"},
                more);
}

class History : public ::testing::Test {
 protected:
  const TempDir dir;
  const std::string file = dir / "h.db";

  [[nodiscard]] Outcome history(const Words& words) const {
    return run_program(joined(joined({"history"}, words), {"--store", file}));
  }
  [[nodiscard]] json listed(const Words& more = {}) const {
    const Outcome list = history(joined({"list", "--json"}, more));
    EXPECT_EQ(list.exit_code, 0) << list.err;
    return json::parse(list.out, nullptr, false).value("runs", json::array());
  }
  // A verification of one part, without running any.
  [[nodiscard]] std::string verification(const std::string& name, double ratio,
                                         const std::string& dtype = "bf16") const {
    const json tap = {{"tap", "layers.3.attn.q"},
                      {"mode", "isolated"},
                      {"checks", 1},
                      {"failed", 0},
                      {"elements", 1},
                      {"straying", 0},
                      {"ratio", ratio},
                      {"error", ratio * 1e-6},
                      {"limit", 1e-6},
                      {"call", name}};
    const json part = {{"verdict", "passed"},
                       {"model", "m"},
                       {"architecture", "olmo"},
                       {"backend", "cpu"},
                       {"version", "v"},
                       {"device", "cpu"},
                       {"dtype", dtype},
                       {"split", {{"tensor_parallel", 1}, {"pipeline_parallel", 1}, {"disaggregated", false}}},
                       {"checks", 1},
                       {"failed", 0},
                       {"worst_ratio", {{"isolated", ratio}, {"chained", nullptr}, {"exact", nullptr}}},
                       {"taps", {tap}}};
    write_file(dir / name, json{{"command", "verify"}, {"verdict", "passed"}, {"runs", {part}}}.dump());
    return dir / name;
  }
  void import(const std::string& from, const Words& more) const {
    const Outcome run = history(joined({"import", from}, more));
    ASSERT_EQ(run.exit_code, 0) << run.err;
  }
};

// ---- what verify and bench keep ----

TEST_F(History, KeepsAVerificationWithWhatItsUserSaysOfIt) {
  const Outcome run = run_program(verify_cpu(
      {"--store", file, "--revision", "abc", "--branch", "main", "--label", "x y", "--json", dir / "v.json"}));
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(run.err, fmt::format("mlbench: stored as run 1 in {}\n", file));
  const json heads = listed();
  ASSERT_EQ(heads.size(), 1U);
  EXPECT_EQ(heads[0]["kind"], "verify");
  EXPECT_EQ(heads[0]["revision"], "abc");
  EXPECT_EQ(heads[0]["branch"], "main");
  EXPECT_EQ(heads[0]["label"], "x y");
  EXPECT_EQ(heads[0]["verdict"], "passed");
  EXPECT_EQ(heads[0]["subjects"].size(), 2U);
  EXPECT_THAT(heads[0]["command_line"].get<std::string>(), HasSubstr("verify --arch olmo"));
  EXPECT_EQ(history({"show", "1", "--json"}).out, read_file(dir / "v.json"));
  const Outcome shown = history({"show", "1"});
  EXPECT_THAT(shown.out, StartsWith("run 1: verify, passed\n"));
  for (const char* part :
       {"revision             abc\n", "label                x y\n", "attn.q", "layer 1", "\nagain: "})
    EXPECT_THAT(shown.out, HasSubstr(part));
}

TEST_F(History, KeepsABenchmark) {
  const Outcome run = run_program(bench({"--store", file, "--json", dir / "b.json"}));
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.err, HasSubstr("mlbench: stored as run 1 in "));
  EXPECT_EQ(history({"show", "1", "--json"}).out, read_file(dir / "b.json"));
  EXPECT_THAT(history({"show", "1"}).out, HasSubstr("tokens/s"));
  EXPECT_EQ(listed()[0]["started"], json::parse(read_file(dir / "b.json"))["started"]);
  EXPECT_EQ(listed({"--kind", "verify"}).size(), 0U);
  const Outcome compared = run_program({"compare", "store:1", dir / "b.json", "--store", file});
  EXPECT_EQ(compared.exit_code, 0) << compared.err;
}

TEST_F(History, KeepsTheReferenceAgainstAGolden) {
  EXPECT_EQ(run_program(verify({"--store", file})).exit_code, 0);
  EXPECT_THAT(history({"show", "1"}).out, HasSubstr("reference"));
  EXPECT_THAT(history({"drift", "--mode", "chained"}).out, HasSubstr("logits"));
}

TEST_F(History, TakesRevisionAndBranchFromCi) {
  const auto head = [&](const Variables& variables) {
    Variables all{{"MLBENCH_STORE", file}};
    all.insert(all.end(), variables.begin(), variables.end());
    EXPECT_EQ(run_program(verify({}), all).exit_code, 0);
    const json heads = listed();
    return heads.back()["revision"].get<std::string>() + " " + heads.back()["branch"].get<std::string>();
  };
  const Variables none{{"GITHUB_SHA", ""},    {"GITHUB_REF_NAME", ""},    {"GITHUB_HEAD_REF", ""},
                       {"CI_COMMIT_SHA", ""}, {"CI_COMMIT_REF_NAME", ""}, {"GIT_COMMIT", ""},
                       {"GIT_BRANCH", ""}};
  const auto with = [&](const Variables& more) {
    Variables all = none;
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  EXPECT_EQ(head(with({{"GITHUB_SHA", "g1"}, {"GITHUB_REF_NAME", "5/merge"}, {"GITHUB_HEAD_REF", "topic"}})),
            "g1 topic");
  EXPECT_EQ(head(with({{"GITHUB_SHA", "g2"}, {"GITHUB_REF_NAME", "main"}})), "g2 main");
  EXPECT_EQ(head(with({{"CI_COMMIT_SHA", "c"}, {"CI_COMMIT_REF_NAME", "dev"}})), "c dev");
  EXPECT_EQ(head(with({{"GIT_COMMIT", "j"}, {"GIT_BRANCH", "origin/main"}})), "j origin/main");
  EXPECT_EQ(head(none), " ");
}

TEST_F(History, OfTheUserIsKeptInTheFolderForData) {
  const Outcome run = run_program(verify({"--store", file}), {{"XDG_DATA_HOME", dir / "data"}});
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_FALSE(fs::exists(dir / "data")) << "--store is what counts";
  const Variables variables{{"MLBENCH_STORE", ""}, {"XDG_DATA_HOME", dir / "data"}};
  EXPECT_EQ(run_program(verify({}), variables).err, "") << "an empty MLBENCH_STORE is none";
  EXPECT_FALSE(fs::exists(dir / "data"));
}

TEST_F(History, IsNotWrittenWhereItIsNotWanted) {
  for (const char* none : {"", "none"}) {
    const Outcome run = run_program(verify({}), {{"MLBENCH_STORE", none}, {"HOME", dir.path()}, {"XDG_DATA_HOME", ""}});
    EXPECT_EQ(run.err, "");
  }
  EXPECT_EQ(run_program(verify({"--no-store"}), {{"MLBENCH_STORE", file}}).err, "");
  EXPECT_TRUE(fs::is_empty(dir.path()));
  EXPECT_EQ(run_program(verify({"--no-store", "--store", file})).exit_code, 2);
}

TEST_F(History, ThatCannotBeUsedIsSaidBeforeTheWork) {
  write_file(file, "this is a text");
  for (const Outcome& run : {run_program(verify({"--store", file})), run_program(verify({}), {{"MLBENCH_STORE", file}}),
                             run_program(bench({"--store", file}))}) {
    EXPECT_EQ(run.exit_code, 2);
    EXPECT_EQ(run.out, "");
    EXPECT_EQ(run.err, fmt::format("mlbench: store.unusable: {}: is no store of mlbench\n", file));
  }
  EXPECT_EQ(read_file(file), "this is a text");
  EXPECT_EQ(run_program(verify({"--store", dir / "none/h.db"})).exit_code, 2);
}

// As on a full disk: what began well meets files that may grow no further. Only for programs that are started
// meanwhile.
class SmallFiles {
 public:
  explicit SmallFiles(rlim_t bytes) {
    EXPECT_EQ(::getrlimit(RLIMIT_FSIZE, &before_), 0);
    set({bytes, before_.rlim_max});
  }
  SmallFiles(const SmallFiles&) = delete;
  SmallFiles& operator=(const SmallFiles&) = delete;
  ~SmallFiles() { set(before_); }

 private:
  static void set(const rlimit& limit) { EXPECT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0); }
  rlimit before_{};
};

TEST_F(History, ThatCannotKeepARunLeavesItsVerdictAndItsOutput) {
  constexpr rlim_t kLargest =
      64 << 10;  // bytes: enough to open a store, too few for a label and a command line of 40 kB
  const std::string label(40'000, 'x');
  ASSERT_EQ(run_program(verify({"--store", file})).exit_code, 0);
  {
    const SmallFiles limit(kLargest);
    const Outcome named = run_program(verify({"--store", file, "--label", label}));
    EXPECT_EQ(named.exit_code, 4);
    // Between the two newer versions of SQLite say what the system says.
    EXPECT_THAT(named.err,
                StartsWith(fmt::format("mlbench: store.unusable: {}: the system fails to read or write it", file)));
    EXPECT_THAT(named.err, EndsWith("; this run is not stored\n"));
    EXPECT_EQ(std::ranges::count(named.err, '\n'), 1);
    EXPECT_THAT(named.out, EndsWith("passed\n"));
    const Outcome measured = run_program(bench({"--store", file, "--label", label, "--json", dir / "b.json"}));
    EXPECT_EQ(measured.exit_code, 4);
    EXPECT_EQ(json::parse(read_file(dir / "b.json"))["rows"].size(), 2U);
  }
  EXPECT_EQ(listed().size(), 1U);
  EXPECT_EQ(run_program(verify({"--store", file})).exit_code, 0);
  EXPECT_EQ(listed().size(), 2U);
}

// ---- import, export ----

TEST_F(History, ImportsEachFileWholeAndOnce) {
  ASSERT_EQ(run_program(bench({"--json", dir / "b.json", "--google-benchmark", dir / "g.json", "--llama-bench",
                               dir / "l.jsonl"}))
                .exit_code,
            0);
  write_file(dir / "bad.json", R"({"command": "verify", "runs": [{}]})");
  const std::string v = verification("v.json", 0.5);
  const Words words{"import", dir / "b.json", dir / "g.json", dir / "bad.json", dir / "l.jsonl", v, dir / "none.json"};
  const Outcome first = history(words);
  EXPECT_EQ(first.exit_code, 2);
  EXPECT_THAT(first.err, HasSubstr("verify.format: "));
  EXPECT_THAT(first.err, HasSubstr("bad.json: runs[0].model: is missing"));
  EXPECT_THAT(first.err, HasSubstr("file.missing"));
  EXPECT_THAT(first.out, HasSubstr("l.jsonl: stored as run 3\n"));
  EXPECT_EQ(listed().size(), 4U);
  const Outcome second = history(words);
  EXPECT_THAT(second.out, HasSubstr("v.json: known already as run 4\n"));
  EXPECT_THAT(second.out, Not(HasSubstr("stored")));
  EXPECT_EQ(listed().size(), 4U);
}

TEST_F(History, ImportsWithWhatIsSaidOfAFile) {
  import(verification("v.json", 0.5),
         {"--revision", "r", "--branch", "b", "--label", "l", "--started", "2026-01-02T03:04:05+01:00"});
  const json head = listed()[0];
  EXPECT_EQ(head["revision"], "r");
  EXPECT_EQ(head["branch"], "b");
  EXPECT_EQ(head["label"], "l");
  EXPECT_EQ(head["started"], "2026-01-02T02:04:05Z");
}

TEST_F(History, ExportsWhatItTookByteForByte) {
  ASSERT_EQ(
      run_program(bench({"--json", dir / "b.json", "--csv", dir / "b.csv", "--junit", dir / "b.xml", "--store", file}))
          .exit_code,
      0);
  import(verification("v.json", 0.5), {});
  EXPECT_EQ(history({"export", "1"}).out, read_file(dir / "b.json"));
  EXPECT_EQ(history({"export", "1", "--format", "csv"}).out, read_file(dir / "b.csv"));
  EXPECT_EQ(history({"export", "1", "--format", "junit", "-o", dir / "o.xml"}).exit_code, 0);
  EXPECT_EQ(read_file(dir / "o.xml"), read_file(dir / "b.xml"));
  EXPECT_THAT(history({"export", "2", "--format", "csv"}).out, HasSubstr(",isolated,attn.q,3,0.5,"));
  const Outcome refused = history({"export", "2", "--format", "junit"});
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_THAT(refused.err, HasSubstr("run 2 is a verification"));
  fs::create_directory(dir.path() / "out");
  EXPECT_EQ(history({"export", "--last", "5", "-o", dir / "out"}).exit_code, 0);
  EXPECT_EQ(read_file(dir / "out/run-1.json"), read_file(dir / "b.json"));
  EXPECT_EQ(read_file(dir / "out/run-2.json"), read_file(dir / "v.json"));
  EXPECT_EQ(history({"export", "1", "2"}).exit_code, 2) << "two runs on standard output";
  EXPECT_EQ(history({"export"}).exit_code, 2);
  EXPECT_THAT(history({"export", "1", "9"}).err, HasSubstr("has no run 9"));
}

// ---- drift ----

TEST_F(History, ShowsHowATapDrifts) {
  for (const auto& [day, ratio] : {std::pair("01", 0.25), std::pair("02", 0.25), std::pair("03", 0.75)})
    import(verification(day, ratio),
           {"--started", fmt::format("2026-11-{}", day), "--revision", fmt::format("r{}", day)});
  import(verification("other", 0.125, "f32"), {"--started", "2026-11-04"});
  const Outcome drift = history({"drift", "--dtype", "bf16"});
  EXPECT_EQ(drift.exit_code, 0);
  EXPECT_THAT(drift.out, StartsWith("m cpu bf16, isolated: largest error / limit\n"
                                    "tap     run 1  run 2  run 3  newest / median before\n"
                                    "attn.q   0.25   0.25   0.75                       3\n"));
  EXPECT_THAT(drift.out, Not(HasSubstr("f32")));
  EXPECT_THAT(history({"drift", "--layers", "--columns", "1"}).out, HasSubstr("the last 1 of 3 runs"));
  const json all = json::parse(history({"drift", "--json"}).out);
  ASSERT_EQ(all["series"].size(), 2U);
  EXPECT_EQ(all["series"][0]["taps"][0]["change"], 3.0);
  EXPECT_EQ(all["series"][0]["taps"][0]["runs"][2]["layer"], 3);
  EXPECT_EQ(history({"drift", "--tap", "attn.k"}).out, "no verification with such taps\n");
}

// ---- prune ----

TEST_F(History, PrunesWhatIsOldAndSparesTheNewest) {
  for (int day = 1; day <= 6; ++day) {
    const std::string name = fmt::format("{:02}", day);
    import(verification(name, 0.5 + day, day % 2 == 0 ? "bf16" : "f32"), {"--started", "2026-11-" + name});
  }
  EXPECT_EQ(history({"prune"}).exit_code, 2);
  EXPECT_EQ(history({"prune", "--dry-run"}).exit_code, 2);
  EXPECT_EQ(history({"prune", "--before", "2026-11-05", "--keep", "2", "--dry-run"}).out,
            "2 runs would be removed: 1, 2\n");
  EXPECT_EQ(listed().size(), 6U);
  EXPECT_EQ(history({"prune", "--before", "2026-11-05", "--keep", "2"}).out, "2 runs removed: 1, 2\n");
  EXPECT_EQ(history({"prune", "--keep", "1", "--dtype", "f32"}).out, "1 run removed: 3\n");
  EXPECT_EQ(history({"prune", "4"}).out, "1 run removed: 4\n");
  EXPECT_THAT(history({"prune", "4"}).err, HasSubstr("has no run 4"));
  EXPECT_EQ(listed().size(), 2U);
}

// ---- wrong requests ----

TEST_F(History, RefusesWhatCannotBeMeant) {
  import(verification("v.json", 0.5), {});
  for (const Words& words :
       {Words{"list", "--since", "2026-02-30"}, Words{"list", "--before", "yesterday"},
        Words{"list", "--since", "2026-11-21T10:00:00"}, Words{"list", "--last", "0"},
        Words{"list", "--kind", "golden"}, Words{"list", "--verdict", "good"}, Words{"show"}, Words{"show", "x"},
        Words{"show", "7"}, Words{"import"}, Words{"import", dir / "v.json", "--started", "2026-13-01"},
        Words{"export", "1", "--format", "pdf"}, Words{"drift", "--mode", "both"}, Words{"prune", "--keep", "0"}}) {
    const Outcome run = history(words);
    EXPECT_EQ(run.exit_code, 2) << words[0] << ' ' << words.back();
    EXPECT_EQ(run.out, "");
    EXPECT_EQ(std::ranges::count(run.err, '\n'), 1) << run.err;
    EXPECT_THAT(run.err, StartsWith("mlbench: "));
  }
  EXPECT_THAT(history({"list", "--since", "2026-02-30"}).err,
              HasSubstr("--since \"2026-02-30\": must be a day of the calendar"));
  for (const char* run : {"store:", "store:x", "store:1x", "store:-1", "store:1"}) {
    const Outcome compared = run_program({"compare", run, "store:1", "--store", file});
    EXPECT_EQ(compared.exit_code, 2) << run;
    EXPECT_EQ(std::ranges::count(compared.err, '\n'), 1) << compared.err;
  }
}

TEST_F(History, WithoutAFileIsAnError) {
  const Outcome none = run_program({"history", "list"});
  EXPECT_EQ(none.exit_code, 2);
  EXPECT_THAT(none.err, HasSubstr("--store: names no file"));
  EXPECT_THAT(history({"list"}).err, HasSubstr("is not there; mlbench verify and mlbench bench make it"));
  EXPECT_FALSE(fs::exists(file));
}

// ---- the program, killed ----

// "a.json: stored as run 3": the file and the run.
std::map<std::string, int> stored_in(const std::string& out) {
  std::map<std::string, int> runs;
  std::istringstream lines(out);
  constexpr std::string_view kStored = ": stored as run ";
  for (std::string line; std::getline(lines, line);) {
    const std::size_t at = line.find(kStored);
    if (at != std::string::npos) runs.emplace(line.substr(0, at), std::stoi(line.substr(at + kStored.size())));
  }
  return runs;
}

TEST_F(History, KeepsWhatAProgramThatWasKilledHadSaidToBeStored) {
  std::mt19937 random(9);  // NOLINT(cert-msc51-cpp)
  for (int round = 0; round < 10; ++round) {
    Words words{MLBENCH_PROGRAM, "history", "import", "--store", file};
    for (int i = 0; i < 30; ++i)
      words.push_back(verification(fmt::format("{}-{}.json", round, i), 0.001 * (round * 30 + i)));
    const std::string out = dir / "out";
    write_file(out, "");
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    const pid_t pid = ::fork();
    if (pid == 0) {
      if (::freopen(out.c_str(), "w", stdout) == nullptr) ::_exit(125);
      ::execv(argv[0], argv.data());
      ::_exit(126);
    }
    // Some time after its first word.
    int status = 0;
    while (read_file(out).empty() && ::waitpid(pid, &status, WNOHANG) == 0)
      std::this_thread::sleep_for(std::chrono::microseconds(1000));
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 20'000));
    (void)::kill(pid, SIGKILL);
    ::waitpid(pid, &status, 0);
    const auto stored = stored_in(read_file(out));
    EXPECT_GE(stored.size(), 1U);
    for (const auto& [from, run] : stored)
      EXPECT_EQ(history({"export", std::to_string(run)}).out, read_file(from)) << "round " << round;
  }
}

}  // namespace
}  // namespace mlbench::cli
