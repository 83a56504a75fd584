#include "core/near_names.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace mlbench {
namespace {

// Levenshtein's distance, one row of the table at a time.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j < row.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t substituted = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = std::exchange(row[j], std::min({substituted, row[j] + 1, row[j - 1] + 1}));
    }
  }
  return row.back();
}

}  // namespace

std::string near_names_hint(std::string_view given, const std::vector<std::string>& known, std::string_view command) {
  constexpr std::size_t kShown = 5;
  constexpr std::size_t kLongestCompared = 64;  // nobody means a name this long
  std::vector<std::pair<std::size_t, std::string>> near;
  for (const std::string& name : known) {
    if (given.empty() || given.size() > kLongestCompared) break;
    const std::size_t distance = edit_distance(given, name);
    const bool contained = given.size() >= 3 && name.find(given) != std::string::npos;
    if (contained || distance <= std::max<std::size_t>(2, given.size() / 4)) near.emplace_back(distance, name);
  }
  std::sort(near.begin(), near.end());
  if (near.size() > kShown) near.resize(kShown);
  if (near.empty()) return fmt::format("; see: {}", command);
  std::vector<std::string> names;
  for (const auto& [distance, name] : near) names.push_back(name);
  return fmt::format("; near: {}", fmt::join(names, ", "));
}

}  // namespace mlbench
