// No bare tolerance decides anything: every small number in the harness is a constant with a name and a reason.
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace mlbench {
namespace {

namespace fs = std::filesystem;

// The code of a line: what stands before a comment.
std::string code_of(const std::string& line) { return line.substr(0, line.find("//")); }

// A decimal number with a negative exponent, or with two zeros behind the point. (Powers of two are properties of
// formats.)
bool has_small_number(const std::string& line) {
  static const std::regex kSmall(R"((\b[0-9.]+[eE]-[0-9]+)|(\b0\.00[0-9]*))");
  return std::regex_search(code_of(line), kSmall);
}

bool names_a_constant(const std::string& line) {
  static const std::regex kNamed(R"(constexpr\s+double\s+k[A-Z]\w*\s*=)");
  return std::regex_search(line, kNamed);
}

std::vector<std::string> bare_numbers(std::istream& in) {
  std::vector<std::string> found;
  for (std::string line; std::getline(in, line);) {
    if (has_small_number(line) && !names_a_constant(line)) found.push_back(line);
  }
  return found;
}

TEST(Tolerances, AreNamedConstantsInTheHarness) {
  int files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(fs::path(MLBENCH_SOURCE_DIR) / "harness")) {
    const std::string extension = entry.path().extension().string();
    if (extension != ".h" && extension != ".cpp") continue;
    // Mistakes that are planted on purpose have sizes of their own.
    if (entry.path().parent_path().filename() == "selftest") continue;
    ++files;
    std::ifstream in(entry.path());
    for (const std::string& line : bare_numbers(in)) ADD_FAILURE() << entry.path() << ": " << line;
  }
  EXPECT_GT(files, 40);
}

TEST(Tolerances, WithoutANameAreFound) {
  std::istringstream text(
      "if (error > 1e-5) fail();\n"
      "constexpr double kLimit = 1e-5;  // why\n"
      "return 0.001 * x;\n"
      "x -= 1e+5;  // 1e-7 in a comment\n");
  EXPECT_EQ(bare_numbers(text), (std::vector<std::string>{"if (error > 1e-5) fail();", "return 0.001 * x;"}));
}

}  // namespace
}  // namespace mlbench
