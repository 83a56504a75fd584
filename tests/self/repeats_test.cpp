// Backends do not repeat each other: what two vendors have in common stands in backends/gpu, once.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace mlbench {
namespace {

namespace fs = std::filesystem;

struct Line {
  std::string file;
  int number = 0;
  std::string text;  // without indentation
};

std::vector<Line> lines_of(std::istream& in, const std::string& file) {
  std::vector<Line> out;
  int number = 0;
  for (std::string text; std::getline(in, text);) {
    ++number;
    text.erase(0, text.find_first_not_of(" \t"));
    if (!text.empty()) out.push_back({file, number, text});
  }
  return out;
}

std::vector<Line> lines_in(const fs::path& folder) {
  std::vector<Line> out;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    std::ifstream in(entry.path());
    std::ranges::move(lines_of(in, entry.path().string()), std::back_inserter(out));
  }
  return out;
}

// How many lines from `a` and `b` on are the same, within one file each.
std::size_t run_at(const std::vector<Line>& left, std::size_t a, const std::vector<Line>& right, std::size_t b) {
  std::size_t n = 0;
  while (a + n < left.size() && b + n < right.size() && left[a + n].text == right[b + n].text &&
         left[a + n].file == left[a].file && right[b + n].file == right[b].file) {
    ++n;
  }
  return n;
}

// The longest run of lines that are the same in both.
std::pair<std::size_t, std::string> longest_repeat(const std::vector<Line>& left, const std::vector<Line>& right) {
  std::multimap<std::string, std::size_t> places;
  for (std::size_t b = 0; b < right.size(); ++b) places.emplace(right[b].text, b);
  std::pair<std::size_t, std::string> longest{0, ""};
  for (std::size_t a = 0; a < left.size(); ++a) {
    const auto [first, last] = places.equal_range(left[a].text);
    for (auto place = first; place != last; ++place) {
      const std::size_t n = run_at(left, a, right, place->second);
      if (n <= longest.first) continue;
      const Line& other = right[place->second];
      longest = {n, fmt::format("{}:{} and {}:{}", left[a].file, left[a].number, other.file, other.number)};
    }
  }
  return longest;
}

TEST(Repeats, OfSixLinesStandInNoTwoGpuBackends) {
  const fs::path backends = fs::path(MLBENCH_SOURCE_DIR) / "backends";
  const std::vector<Line> cuda = lines_in(backends / "cuda"), rocm = lines_in(backends / "rocm");
  ASSERT_GT(cuda.size(), 100U);
  ASSERT_GT(rocm.size(), 100U);
  const auto [count, where] = longest_repeat(cuda, rocm);
  EXPECT_LT(count, 6U) << where;
}

TEST(Repeats, AreFoundWhereverTheyBegin) {
  std::istringstream left("a\n  b\nc\n\nd\n"), right("x\nb\n  c\nd\nb\n");
  const auto [count, where] = longest_repeat(lines_of(left, "left"), lines_of(right, "right"));
  EXPECT_EQ(count, 3U);
  EXPECT_EQ(where, "left:2 and right:2");
}

}  // namespace
}  // namespace mlbench
