// Reports as the program writes them.
#include <filesystem>

#include <gmock/gmock.h>

#include "tests/support/command.h"
#include "tests/support/temp_dir.h"

namespace mlbench::reports {
namespace {

using mlbench::test::Outcome;
using mlbench::test::read_file;
using mlbench::test::run_program;
using mlbench::test::TempDir;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;
using Words = std::vector<std::string>;

const std::string kCase = std::string(MLBENCH_TEST_DATA) + "/schedules-phi";

Outcome verify(const Words& more) {
  Words words = {"verify", "--threads", "1"};
  words.insert(words.end(), more.begin(), more.end());
  return run_program(words);
}

TEST(Program, WritesEveryReportOfARunOfABackend) {
  const TempDir dir;
  const Outcome run = verify({"--arch", "olmo", "--backend", "cpu", "--dtype", "f32", "--method", "prefill", "--junit",
                              dir / "r.xml", "--md", dir / "r.md", "--html", dir / "r.html"});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(read_file(dir / "r.xml"), HasSubstr("<testsuite name=\"olmo.cpu.f32\""));
  EXPECT_THAT(read_file(dir / "r.md"), StartsWith("### mlbench verify: passed\n"));
  const std::string page = read_file(dir / "r.html");
  EXPECT_THAT(page, StartsWith("<!DOCTYPE html>"));
  EXPECT_THAT(page, HasSubstr("preset olmo-small"));
  EXPECT_THAT(page, HasSubstr("<table class=\"map\">"));
}

TEST(Program, WritesEveryReportOfTheReferenceAgainstAGolden) {
  const TempDir dir;
  const Outcome run =
      verify({"--model", kCase, "--golden", kCase + "/oracle.h5", "--backend", "reference", "--set",
              "rope_theta=10000.01", "--junit", dir / "r.xml", "--md", dir / "r.md", "--html", dir / "r.html"});
  EXPECT_EQ(run.exit_code, 1) << run.err;
  EXPECT_THAT(read_file(dir / "r.xml"), HasSubstr("<failure "));
  EXPECT_THAT(read_file(dir / "r.md"), HasSubstr("First tap that strays: <code>chained prefill"));
  EXPECT_THAT(read_file(dir / "r.html"), HasSubstr("Failures by cause"));
}

TEST(Program, TriesItsOutputsBeforeTheRun) {
  const TempDir dir;
  for (const char* option : {"--json", "--junit", "--md", "--html"}) {
    const Outcome run = verify({"--arch", "llama", "--backend", "cpu", option, dir / "no/such/folder/r"});
    EXPECT_EQ(run.exit_code, 4) << option;
    EXPECT_EQ(run.out, "") << option;  // the table of a run would stand here
    EXPECT_THAT(run.err, StartsWith("mlbench: file.unwritable: ")) << option;
  }
}

// What was there before stays until the run is over, and stays where there is no run.
TEST(Program, LeavesOldReportsAloneWhenTheRequestIsWrong) {
  const TempDir dir;
  mlbench::test::write_file(dir / "r.html", "old");
  const Outcome run = verify({"--preset", "no-such-preset", "--backend", "cpu", "--html", dir / "r.html"});
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_EQ(read_file(dir / "r.html"), "old");
}

// A folder's name is shown as it is, and is no markup.
TEST(Program, ShowsAHostileFolderAsText) {
  const TempDir dir;
  const std::string model = dir / "<b>`x`|&amp;";
  std::filesystem::copy(kCase, model);
  (void)verify({"--model", model, "--golden", model + "/oracle.h5", "--backend", "reference", "--md", dir / "r.md",
                "--html", dir / "r.html"});
  EXPECT_THAT(read_file(dir / "r.html"), HasSubstr("&lt;b&gt;`x`|&amp;amp;"));
  EXPECT_THAT(read_file(dir / "r.html"), Not(HasSubstr("<b>`x`")));
  EXPECT_THAT(read_file(dir / "r.md"), HasSubstr("&#60;b&#62;&#96;x&#96;&#124;&#38;amp&#59;"));
}

}  // namespace
}  // namespace mlbench::reports
