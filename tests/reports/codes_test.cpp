// The codes in the sources, in the table behind --explain and in docs/errors.md are the same.
#include "reports/codes.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <regex>
#include <set>

#include <gmock/gmock.h>

#include "core/error.h"
#include "tests/support/command.h"
#include "tests/support/expect_error.h"
#include "tests/support/temp_dir.h"

namespace mlbench::reports {
namespace {

namespace fs = std::filesystem;
using mlbench::test::Outcome;
using mlbench::test::run_program;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using Names = std::set<std::string>;

const fs::path kRoot = MLBENCH_SOURCE_DIR;

Names known() {
  Names names;
  for (const Code& code : codes()) names.emplace(code.code);
  return names;
}

Names missing_from(const Names& here, const Names& there) {
  Names out;
  std::ranges::set_difference(here, there, std::inserter(out, out.end()));
  return out;
}

// ---- sources ----

void collect(const std::string& text, const std::regex& pattern, Names& into) {
  for (std::sregex_iterator it(text.begin(), text.end(), pattern), end; it != end; ++it) into.insert((*it)[1]);
}

// What is made into an error, whatever its name; and every literal that is, or begins like, a code of a known family
// ("kv.full", "weights.conflict: ..."), because some reach an error through a variable.
Names codes_in(const std::string& source) {
  const std::string text = std::regex_replace(source, std::regex("//[^\n]*"), "");
  Names found;
  collect(text, std::regex(R"re((?:request_error|Error)\(\s*(?:ErrorKind::\w+,\s*)?"([\w.]+)")re"), found);
  collect(text, std::regex(R"re("mlbench: ([a-z_.]+): )re"), found);
  std::string families;
  Names prefixes;
  for (const Code& code : codes())
    if (const auto dot = code.code.find('.'); dot != std::string_view::npos) prefixes.emplace(code.code.substr(0, dot));
  for (const std::string& prefix : prefixes) families += (families.empty() ? "" : "|") + prefix;
  collect(text, std::regex("\"((?:" + families + ")\\.[a-z_0-9]+)(?:\"|: )"), found);
  std::erase_if(found,
                [](const std::string& name) { return name.ends_with(".json") || name.ends_with(".html"); });  // files
  for (const char* tap : {"cache.k", "cache.v"}) found.erase(tap);
  return found;
}

Names codes_in_sources() {
  Names found;
  for (const char* room : {"core", "models", "reference", "backends", "golden", "harness", "cli", "reports"}) {
    for (const auto& entry : fs::recursive_directory_iterator(kRoot / room)) {
      const std::string extension = entry.path().extension().string();
      const std::string name = entry.path().filename().string();
      if (extension != ".h" && extension != ".cpp") continue;
      if (name == "codes.cpp" || name == "mistakes.cpp") continue;  // what is explained, and what is awaited

      found.merge(codes_in(mlbench::test::read_file(entry.path().string())));
    }
  }
  return found;
}

TEST(Codes, AreFoundInSources) {
  EXPECT_EQ(codes_in("throw request_error(\n    \"new_one\", text); // \"kv.never\""), Names{"new_one"});
  EXPECT_EQ(codes_in("Error(ErrorKind::internal, \"other.thing\", f); report({\"memory.canary\", where});"),
            (Names{"other.thing", "memory.canary"}));
  EXPECT_EQ(
      codes_in("print(\"mlbench: internal: {}\"); \"weights.conflict: {}\" \"attn.q\" \"config.json\" \"report.html\""),
      (Names{"internal", "weights.conflict"}));
}

TEST(Codes, OfTheSourcesAreAllExplained) { EXPECT_EQ(missing_from(codes_in_sources(), known()), Names{}); }

TEST(Codes, ThatAreExplainedAreUsed) { EXPECT_EQ(missing_from(known(), codes_in_sources()), Names{}); }

// ---- docs ----

// Code to exit cell: the rows of the table "| `a`, `b` | exit | when |".
std::map<std::string, std::string> codes_in_docs() {
  const std::string text = mlbench::test::read_file((kRoot / "docs" / "errors.md").string());
  static const std::regex kRow(R"(\| ((?:`[\w.]+`(?:, )?)+) \| ([^|]+) \|[^\n]+\|)"), kCode("`([\\w.]+)`");
  std::map<std::string, std::string> found;
  for (std::sregex_iterator row(text.begin(), text.end(), kRow), end; row != end; ++row) {
    Names names;
    collect((*row)[1], kCode, names);
    for (const std::string& name : names) EXPECT_TRUE(found.emplace(name, (*row)[2]).second) << name << " stands twice";
  }
  return found;
}

TEST(Codes, StandInTheDocumentationWithTheirExitCode) {
  const std::map<std::string, std::string> docs = codes_in_docs();
  Names names;
  for (const auto& [name, exit] : docs) names.insert(name);
  EXPECT_EQ(missing_from(names, known()), Names{});
  EXPECT_EQ(missing_from(known(), names), Names{});
  for (const Code& code : codes()) {
    const auto it = docs.find(std::string(code.code));
    EXPECT_TRUE(it == docs.end() || it->second == code.exit) << code.code << ": " << code.exit;
  }
}

// ---- the table ----

TEST(Codes, AreExplainedInWholeSentencesOnce) {
  EXPECT_EQ(known().size(), codes().size());
  for (const Code& code : codes()) {
    for (const std::string_view text : {code.means, code.occurs, code.remedy}) {
      ASSERT_FALSE(text.empty()) << code.code;
      EXPECT_TRUE(text.ends_with('.')) << code.code << ": " << text;
      EXPECT_EQ(text.find("  "), std::string_view::npos) << code.code;
    }
  }
}

TEST(Explanation, OfAnUnknownCodeNamesNearOnes) {
  EXPECT_EQ(mlbench::test::error_of([] { (void)explanation("kv.ful"); }).message(),
            "--explain: \"kv.ful\" is no code; near: kv.full");
}

TEST(Explain, PrintsWhatACodeMeansWhenItOccursAndWhatToDo) {
  const Outcome run = run_program({"--explain", "memory.canary"});
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_EQ(run.err, "");
  EXPECT_THAT(run.out, StartsWith("memory.canary: The backend wrote outside a buffer that it was given.\n"));
  for (const char* part : {"\nwhen  ", "\nwhat to do ", "\nexit code  1\n"}) EXPECT_THAT(run.out, HasSubstr(part));
}

TEST(Explain, KnowsEveryCode) {
  for (const Code& code : codes())
    EXPECT_THAT(explanation(std::string(code.code)), StartsWith(std::string(code.code) + ": "));
}

TEST(Explain, OfNoCodeIsAUsageError) {
  const std::vector<std::vector<std::string>> wrong = {{"--explain", "memory.canari"},
                                                       {"--explain", ""},
                                                       {"--explain", "a\x1b[2J\nb"},
                                                       {"--explain"},
                                                       {"--explain", "usage", "--bogus"}};
  for (const auto& words : wrong) {
    const Outcome run = run_program(words);
    SCOPED_TRACE(::testing::PrintToString(words));
    EXPECT_EQ(run.exit_code, 2);
    EXPECT_EQ(run.out, "");
    EXPECT_THAT(run.err, StartsWith("mlbench: usage: "));
    EXPECT_EQ(std::ranges::count(run.err, '\n'), 1);
    EXPECT_EQ(run.err.find('\x1b'), std::string::npos);
  }
  EXPECT_THAT(run_program({"--explain", "memory.canari"}).err, EndsWith("; near: memory.canary\n"));
  EXPECT_THAT(run_program({"--explain", "zzzzzzzzzz"}).err, EndsWith("; see: docs/errors.md\n"));
}

TEST(Explain, DoesNotRunACommandBesideIt) {
  const Outcome run = run_program({"--explain", "usage", "list", "archs"});
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_THAT(run.out, StartsWith("usage: "));
}

}  // namespace
}  // namespace mlbench::reports
