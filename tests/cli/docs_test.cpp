// What the documents tell people to type.
#include <algorithm>
#include <filesystem>
#include <map>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "tests/support/command.h"
#include "tests/support/temp_dir.h"

namespace mlbench {
namespace {

struct Command {
  std::string place;  // "docs/verify.md:12"
  std::vector<std::string> words;
};

std::vector<std::string> words_of(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

// Of a line of code, what follows "mlbench", "./mlbench" or "path/to/mlbench", where that is a command; else nothing.
std::vector<std::string> after_program(const std::string& line) {
  const std::vector<std::string> words = words_of(line);
  const auto program = std::ranges::find_if(
      words, [](const std::string& word) { return word == "mlbench" || word.ends_with("/mlbench"); });
  static const std::regex kCommand("[a-z]+");
  if (program == words.end() || program + 1 == words.end() || !std::regex_match(program[1], kCommand)) return {};
  return {program + 1, words.end()};
}

// Lines of code are indented by four, or stand between fences.
std::vector<Command> commands_of(const std::filesystem::path& file) {
  std::vector<Command> out;
  std::istringstream in(test::read_file(file.string()));
  bool fenced = false;
  int number = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    if (line.starts_with("```")) fenced = !fenced;
    if (!fenced && !line.starts_with("    ")) continue;
    const std::string place = fmt::format("{}:{}", file.filename().string(), number);
    for (std::string more; line.ends_with('\\') && std::getline(in, more); ++number)
      line = line.substr(0, line.size() - 1) + more;
    if (auto words = after_program(line); !words.empty()) out.push_back({place, std::move(words)});
  }
  return out;
}

std::vector<Command> commands_of_documents() {
  const std::filesystem::path root = MLBENCH_SOURCE_DIR;
  std::vector<Command> out = commands_of(root / "README.md");
  for (const auto& entry : std::filesystem::directory_iterator(root / "docs")) {
    if (entry.path().extension() != ".md") continue;
    const std::vector<Command> own = commands_of(entry.path());
    out.insert(out.end(), own.begin(), own.end());
  }
  return out;
}

// "verify", "golden make"
std::vector<std::string> subcommand(const Command& command) {
  const bool has_more = command.words[0] == "golden" || command.words[0] == "history";
  return {command.words.begin(), command.words.begin() + (has_more && command.words.size() > 1 ? 2 : 1)};
}

TEST(Documents, NameNoOptionThatTheProgramDoesNotHave) {
  std::map<std::vector<std::string>, std::string> helps;
  int options = 0;
  for (const Command& command : commands_of_documents()) {
    std::vector<std::string> asked = subcommand(command);
    std::string& help = helps[asked];
    if (help.empty()) {
      asked.emplace_back("--help");
      const test::Outcome outcome = test::run_program(asked);
      EXPECT_EQ(outcome.exit_code, 0) << command.place << ": " << outcome.err;
      help = outcome.out + " --help ";
    }
    for (const std::string& word : command.words) {
      if (!word.starts_with("--")) continue;
      ++options;
      const std::string name = word.substr(0, word.find_first_of("=,;)`"));
      EXPECT_TRUE(std::regex_search(help, std::regex("(^|[ ,])" + name + "($|[ ,=\\n])")))
          << command.place << ": " << name << " is no option of mlbench "
          << fmt::format("{}", fmt::join(subcommand(command), " "));
    }
  }
  constexpr int kAtLeast = 100;
  EXPECT_GT(options, kAtLeast) << "commands are no longer found in the documents";
}

}  // namespace
}  // namespace mlbench
