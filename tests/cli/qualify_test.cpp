// mlbench soak, siblings and qualify as users meet them.
#include <cstdlib>
#include <filesystem>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "tests/support/command.h"
#include "tests/support/temp_dir.h"

namespace mlbench::cli {
namespace {

namespace fs = std::filesystem;
using mlbench::test::Outcome;
using mlbench::test::read_file;
using mlbench::test::run_program;
using mlbench::test::TempDir;
using mlbench::test::write_file;
using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;
using Words = std::vector<std::string>;

void openssl(const std::string& command) {
  ASSERT_EQ(std::system(fmt::format("openssl {} 2>/dev/null", command).c_str()), 0);  // NOLINT(cert-env33-c)
}

// One architecture in two types, and a moment under load.
Words short_run(const std::string& folder) {
  return {"qualify", "--backend",   "cpu",       "--quick", "--arch", "gpt_bigcode",
          "--steps", "verify,soak", "--minutes", "0.01",    "-o",     folder};
}

TEST(Qualify, MakesAReportThatIsCheckedElsewhere) {
  const TempDir dir;
  const std::string folder = dir / "q", key = dir / "key.pem", pub = dir / "public.pem";
  openssl(fmt::format("genpkey -algorithm ed25519 -out '{}'", key));
  openssl(fmt::format("pkey -in '{}' -pubout -out '{}'", key, pub));
  Words words = short_run(folder);
  words.insert(words.end(), {"--sign", key});
  const Outcome run = run_program(words);
  ASSERT_EQ(run.exit_code, 0) << run.out << run.err;
  EXPECT_THAT(run.out, HasSubstr("passed: 3 passed"));
  const json report = json::parse(read_file(folder + "/report.json"));
  EXPECT_EQ(report["verdict"], "passed");
  EXPECT_EQ(report["verifications"].size(), 2U);
  EXPECT_EQ(report["verifications"][0]["run_to_run"], true);
  EXPECT_EQ(report["soak"]["verdict"], "passed");
  EXPECT_THAT(read_file(folder + "/report.html"), HasSubstr("Qualification of cpu"));

  fs::rename(folder, dir / "handed on");
  const std::string there = dir / "handed on";
  EXPECT_EQ(run_program({"qualify", "--check", there}).exit_code, 0);
  EXPECT_EQ(run_program({"qualify", "--check", there, "--key", pub}).exit_code, 0);
  std::string page = read_file(there + "/report.html");
  page.back() = ' ';
  write_file(there + "/report.html", page);
  const Outcome changed = run_program({"qualify", "--check", there, "--key", pub});
  EXPECT_EQ(changed.exit_code, 1);
  EXPECT_THAT(changed.out, StartsWith("changed  report.html\n"));
}

TEST(Qualify, DoesNotDoAgainWhatPassed) {
  const TempDir dir;
  const std::string folder = dir / "q";
  Words words = short_run(folder);
  words[7] = "verify";
  ASSERT_EQ(run_program(words).exit_code, 0);
  const Outcome again = run_program(words);
  EXPECT_EQ(again.exit_code, 0);
  EXPECT_THAT(again.out, HasSubstr("verify-gpt_bigcode-f32.html (done before)"));
  EXPECT_EQ(run_program({"qualify", "--check", folder}).exit_code, 0);
}

TEST(Qualify, SaysWhatIsWrongBeforeAnyStep) {
  const TempDir dir;
  write_file(dir / "no.pem", "no key");
  const std::string folder = dir / "q";
  const std::pair<Words, const char*> wrong[] = {
      {{}, "usage"},
      {{"--backend", "cpu", "--arch", "lama"}, "near: llama"},
      {{"--backend", "cpu", "--steps", "soaks"}, "soak"},
      {{"--backend", "cpu", "--key", dir / "no.pem"}, "--sign"},
      {{"--backend", "cpu", "--sign", dir / "no.pem", "-o", folder}, "sign.key"},
      {{"--backend", "cpu", "--sign", dir / "none.pem", "-o", folder}, "file.missing"},
      {{"--check", dir / "none"}, "qualify.manifest"},
      {{"--check", dir.path().string()}, "qualify.manifest"},
      {{"--check", dir.path().string(), "--backend", "cpu"}, "usage"},
      {{"--backend", "cpuu", "-o", folder}, "backend.unknown"},
  };
  for (const auto& [more, text] : wrong) {
    Words words = {"qualify"};
    words.insert(words.end(), more.begin(), more.end());
    const Outcome run = run_program(words);
    EXPECT_EQ(run.exit_code, 2) << run.err;
    EXPECT_THAT(run.err, HasSubstr(text));
  }
  EXPECT_FALSE(fs::exists(folder));
}

TEST(Qualify, NeedsItsDevice) {
  const TempDir dir;
  const Outcome run = run_program({"qualify", "--backend", "cpu", "--device", "cpu:7", "-o", dir / "q"});
  EXPECT_EQ(run.exit_code, 3);
  EXPECT_THAT(run.err, HasSubstr("has no device \"cpu:7\""));
  EXPECT_FALSE(fs::exists(dir / "q"));
}

TEST(SoakCommand, TellsWhatItDid) {
  const Outcome run = run_program({"soak", "--arch", "llama", "--backend", "cpu", "--threads", "1", "--minutes", "9",
                                   "--iterations", "3", "--workloads", "2", "--calls", "6"});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out, HasSubstr("3 iterations of 2 workloads"));
  EXPECT_THAT(run.out, HasSubstr("asked for: the same bits as in the checked run"));
  EXPECT_THAT(run.out, HasSubstr("soak: passed\n"));
}

TEST(SoakCommand, RefusesWhatItCannotDo) {
  EXPECT_EQ(run_program({"soak", "--backend", "cpu"}).exit_code, 2);
  EXPECT_EQ(run_program({"soak", "--arch", "llama", "--backend", "cpu", "--minutes", "-1"}).exit_code, 2);
  EXPECT_EQ(run_program({"soak", "--arch", "llama", "--backend", "cpu", "--dtype", "f64"}).exit_code, 3);
}

TEST(SoakCommand, KeepsWhatWasFoundWhenInterrupted) {
  const TempDir dir;
  const std::string result = dir / "soak.json";
  const std::string command = fmt::format(
      "timeout --preserve-status --signal=INT 5 '{}' soak --arch llama --backend cpu --threads 1 --minutes 600 --json "
      "'{}' "
      ">/dev/null 2>&1",
      MLBENCH_PROGRAM, result);
  const int status = std::system(command.c_str());  // NOLINT(cert-env33-c)
  EXPECT_EQ(WEXITSTATUS(status), 130);
  EXPECT_EQ(json::parse(read_file(result))["interrupted"], true);
}

TEST(SiblingsCommand, ComparesTheThreadsOfAProcessor) {
  const Outcome run = run_program({"siblings", "--backend", "cpu", "--seconds", "0.02", "--quick", "--json", "-"});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  const json result = json::parse(run.out);
  EXPECT_EQ(result["kind"], "processors");
  EXPECT_EQ(result["judged"], false);
  EXPECT_GE(result["siblings"].size(), 1U);
  ASSERT_GE(result["figures"].size(), 2U);
  EXPECT_EQ(result["figures"][0]["values"].size(), result["siblings"].size());
}

TEST(ProbeCommand, StaysOnAProcessorThatThereIs) {
  EXPECT_EQ(run_program({"probe", "--backend", "cpu", "--dtype", "f32", "--seconds", "0.01", "--on-processor", "1023"})
                .exit_code,
            2);
}

}  // namespace
}  // namespace mlbench::cli
