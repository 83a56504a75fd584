// Where output goes, and what happens when it cannot.
#include <sys/wait.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>

#include <gmock/gmock.h>

#include "tests/cli/case_copy.h"
#include "tests/support/safetensors_writer.h"

namespace mlbench::test {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::StartsWith;

// A command line of the shell in which $0 is the program; the exit status of its last command, and standard error.
Outcome run_shell(const std::string& line) {
  const TempDir dir;
  const std::string command =
      "sh -c '" + line + "' " + MLBENCH_PROGRAM + " > " + (dir / "out") + " 2> " + (dir / "err") + " < /dev/null";
  const int status = std::system(command.c_str());  // NOLINT(bugprone-command-processor): redirections are the subject
  const int code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  return {code, read_file(dir / "out"), read_file(dir / "err")};
}

std::string verify_line(const std::string& name) {
  std::string line = "\"$0\"";
  for (const std::string& word : verify_arguments(case_folder(name), case_folder(name) + "/oracle.h5"))
    line += " \"" + word + "\"";
  return line;
}

void expect_internal_fault(const Outcome& run) {
  EXPECT_EQ(run.exit_code, 4);
  EXPECT_THAT(run.err, StartsWith("mlbench: "));
  EXPECT_EQ(lines_of(run.err).size(), 1U) << run.err;
}

TEST(Output, ToAFullDiskIsAFault) {
  for (const std::string& line :
       {std::string("\"$0\" list presets"), std::string("\"$0\" list methods --json"), std::string("\"$0\" --version"),
        std::string("\"$0\" verify --help"), verify_line("phi"), verify_line("phi") + " --json -"}) {
    SCOPED_TRACE(line);
    expect_internal_fault(run_shell(line + " > /dev/full"));
  }
}

// Whoever reads may stop early: no message, and the verdict still stands.
TEST(Output, ToAClosedPipeIsNoFault) {
  const std::pair<std::string, std::string> lines[] = {
      {"\"$0\" list presets", "0\n"}, {verify_line("phi"), "0\n"}, {verify_line("phi") + " --rtol 1e-17", "1\n"}};
  for (const auto& [line, verdict] : lines) {
    SCOPED_TRACE(line);
    EXPECT_EQ(run_shell("{ " + line + "; echo $? >&2; } | true").err, verdict);
  }
}

TEST(JsonFile, IntoAFolderThatIsNotThereIsAFaultAndLeavesNothing) {
  const CaseCopy model("phi");
  for (const std::string& target : {model.scratch("no/such/report.json"), model.folder()}) {
    std::vector<std::string> args = verify_arguments(model.folder(), model.golden());
    args.insert(args.end(), {"--json", target});
    const Outcome run = run_program(args);
    expect_internal_fault(run);
    EXPECT_THAT(run.err, HasSubstr(target));
    EXPECT_EQ(run.out, "");
    EXPECT_FALSE(fs::exists(model.scratch("no")));
    EXPECT_EQ(std::distance(fs::directory_iterator(model.folder()), {}), 3);
  }
  const auto left = std::distance(fs::directory_iterator(fs::path(model.folder()).parent_path()), {});
  EXPECT_EQ(left, 1);
}

TEST(JsonFile, ReplacesAWholeFileAndIsLeftAloneByARefusedRun) {
  const CaseCopy model("phi");
  const std::string target = model.scratch("report.json");
  write_file(target, "before");
  std::vector<std::string> args = verify_arguments(model.folder(), model.scratch("missing.h5"));
  args.insert(args.end(), {"--json", target});
  EXPECT_EQ(run_program(args).exit_code, 2);
  EXPECT_EQ(read_file(target), "before");
  const Verified run = verify(model);
  EXPECT_EQ(run.report["verdict"], "passed");
  EXPECT_EQ(std::distance(fs::directory_iterator(fs::path(model.folder()).parent_path()), {}), 2);
}

// Folders may have any name; JSON is text all the same.
TEST(JsonFile, OfAModelWhoseFolderIsNoTextIsValid) {
  const CaseCopy model("phi");
  const std::string odd = model.scratch("odd\xff\n\"name");
  fs::rename(model.folder(), odd);
  std::vector<std::string> args = verify_arguments(odd, odd + "/oracle.h5");
  args.insert(args.end(), {"--json", "-"});
  const Outcome run = run_program(args);
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_TRUE(nlohmann::json::accept(run.out)) << run.out.substr(0, 200);
}

TEST(Color, IsThereWhenAskedForAndNotInAPipe) {
  const CaseCopy model("phi");
  EXPECT_EQ(verify(model).text.find('\x1b'), std::string::npos);
  EXPECT_EQ(verify(model, {"--color", "never"}).text.find('\x1b'), std::string::npos);
  EXPECT_THAT(verify(model, {"--color", "always"}).text, HasSubstr("\x1b[32mpassed\x1b[0m"));
}

// A tensor that nothing uses is worth a word, not a failure, unless asked for.
TEST(Warnings, GoToStandardErrorAndIntoTheReport) {
  const CaseCopy model("phi");
  const std::string weights = model.folder() + "/model.safetensors";
  std::string bytes = read_file(weights);
  std::uint64_t header = 0;
  std::memcpy(&header, bytes.data(), sizeof header);
  nlohmann::json names = nlohmann::json::parse(bytes.substr(8, header));
  const std::size_t end = bytes.size() - 8 - header;
  names["unused.weight"] = {{"dtype", "F32"}, {"shape", {1}}, {"data_offsets", {end, end + 4}}};
  write_file(weights, safetensors_bytes(names.dump(), bytes.substr(8 + header) + std::string(4, '\0')));
  const Verified run = verify(model);
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.err, StartsWith("warning: "));
  EXPECT_THAT(run.err, HasSubstr("unused.weight"));
  EXPECT_EQ(run.report["warnings"].size(), 1U);
  std::vector<std::string> args = verify_arguments(model.folder(), model.golden());
  args.emplace_back("--strict");
  expect_refused(run_program(args), model.folder());
}

}  // namespace
}  // namespace mlbench::test
