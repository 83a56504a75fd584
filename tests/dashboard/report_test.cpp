// mlbench report as a user runs it.
#include <filesystem>

#include <gmock/gmock.h>

#include "tests/dashboard/made_up.h"
#include "tests/support/command.h"
#include "tests/support/temp_dir.h"

namespace mlbench::test {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

constexpr MadeUpOptions kFew = {.runs = 12, .seed = 1, .with_taps = 6};

void fill(const std::string& file) {
  reports::Store store(file, reports::Store::Access::write);
  for (std::size_t i = 0; i < kFew.runs; ++i) {
    const MadeUpRun run = made_up_run(kFew, i);
    (void)store.add(run.head, run.document, run.environment);
  }
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> out;
  for (const auto& entry : fs::directory_iterator(folder)) out.push_back(entry.path().filename());
  std::ranges::sort(out);
  return out;
}

void expect_error(const Outcome& run, int exit_code, const std::string& said) {
  EXPECT_EQ(run.exit_code, exit_code);
  EXPECT_EQ(run.out, "");
  EXPECT_THAT(run.err, StartsWith("mlbench: " + said));
  EXPECT_EQ(std::ranges::count(run.err, '\n'), 1) << run.err;
}

TEST(Report, WritesAPageInFilesAndOneInAll) {
  const TempDir dir;
  fill(dir / "h.db");
  const Outcome run =
      run_program({"report", "--store", dir / "h.db", "-o", dir / "a/site", "--single-file", dir / "one.html"});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(run.out + run.err, "");
  EXPECT_EQ(names_in(dir / "a/site"),
            (std::vector<std::string>{"chart.js", "dashboard.css", "dashboard.js", "data.js", "index.html"}));
  EXPECT_THAT(read_file(dir / "one.html"), HasSubstr("made up"));
  EXPECT_THAT(read_file(dir / "a/site/data.js"), StartsWith("const mlbenchData = JSON.parse('{"));
}

TEST(Report, LeavesOtherFilesOfTheFolderAlone) {
  const TempDir dir;
  fill(dir / "h.db");
  fs::create_directory(dir / "site");
  write_file(dir / "site/notes.txt", "mine");
  EXPECT_EQ(run_program({"report", "--store", dir / "h.db", "-o", dir / "site"}).exit_code, 0);
  EXPECT_EQ(run_program({"report", "--store", dir / "h.db", "-o", dir / "site"}).exit_code, 0);  // over its own
  EXPECT_EQ(read_file(dir / "site/notes.txt"), "mine");
}

TEST(Report, WritesOverNoPageThatItDidNotMake) {
  const TempDir dir;
  fill(dir / "h.db");
  fs::create_directory(dir / "site");
  write_file(dir / "site/index.html", "<h1>my page</h1>");
  expect_error(run_program({"report", "--store", dir / "h.db", "-o", dir / "site"}), 2, "report.foreign: ");
  EXPECT_EQ(names_in(dir / "site"), (std::vector<std::string>{"index.html"}));
  EXPECT_EQ(read_file(dir / "site/index.html"), "<h1>my page</h1>");
}

TEST(Report, ChoosesRuns) {
  const TempDir dir;
  fill(dir / "h.db");
  const auto size = [&](const std::vector<std::string>& filter) {
    std::vector<std::string> words = {"report", "--store", dir / "h.db", "--single-file", dir / "one.html"};
    words.insert(words.end(), filter.begin(), filter.end());
    const Outcome run = run_program(words);
    EXPECT_EQ(run.exit_code, 0) << run.err;
    const std::string page = read_file(dir / "one.html");
    const std::string ids = R"("runs":{"id":[)";
    std::string plain;  // the data stands in a literal
    for (const char c : page) {
      if (c != '\\') plain += c;
    }
    const std::size_t begin = plain.find(ids) + ids.size();
    const std::string list = plain.substr(begin, plain.find(']', begin) - begin);
    return list.empty() ? 0 : std::ranges::count(list, ',') + 1;
  };
  EXPECT_EQ(size({}), 12);
  EXPECT_EQ(size({"--kind", "bench"}), 6);
  EXPECT_EQ(size({"--backend", "cuda"}), 4);
  EXPECT_EQ(size({"--last", "3"}), 3);
  EXPECT_EQ(size({"--since", "2025-01-01T09:00:00Z"}), 6);
  EXPECT_EQ(size({"--branch", "no such"}), 0);
  EXPECT_THAT(read_file(dir / "one.html"), HasSubstr("--branch"));
}

TEST(Report, OfNoRunsIsAPageThatSaysSo) {
  const TempDir dir;
  { const reports::Store empty(dir / "h.db", reports::Store::Access::write); }
  EXPECT_EQ(run_program({"report", "--store", dir / "h.db", "-o", dir / "site"}).exit_code, 0);
  EXPECT_TRUE(fs::exists(dir / "site/index.html"));
}

TEST(Report, SaysWhatIsWrongWithTheRequest) {
  const TempDir dir;
  fill(dir / "h.db");
  write_file(dir / "file", "text");
  expect_error(run_program({"report", "--store", dir / "h.db"}), 2, "usage: report needs -o FOLDER");
  expect_error(run_program({"report", "--store", dir / "none.db", "-o", dir / "site"}), 2, "store.unusable: ");
  expect_error(run_program({"report", "--store", dir / "file", "-o", dir / "site"}), 2, "store.unusable: ");
  expect_error(run_program({"report", "--store", dir / "h.db", "-o", dir / "file"}), 2, "report.not_a_folder: ");
  expect_error(run_program({"report", "--store", dir / "h.db", "--since", "soon", "-o", dir / "site"}), 2, "");
  expect_error(run_program({"report", "--store", dir / "h.db", "--kind", "other", "-o", dir / "site"}), 2, "usage: ");
  expect_error(run_program({"report", "--store", dir / "h.db", "--single-file", dir / "no/such/page.html"}), 4,
               "file.unwritable: ");
  EXPECT_FALSE(fs::exists(dir / "site"));
  EXPECT_FALSE(fs::exists(dir / "none.db"));
}

}  // namespace
}  // namespace mlbench::test
