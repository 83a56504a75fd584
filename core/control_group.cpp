#include "core/control_group.h"

#include <algorithm>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "core/system_files.h"

namespace mlbench::machine {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kLongestPath = 4096;  // of Linux

// The folders of the process's groups, from its own to the root; limits of all of them hold. In a container the root
// alone may be there.
std::vector<fs::path> group_folders(const fs::path& proc, const fs::path& sys, std::string_view controller) {
  std::vector<fs::path> out;
  for (const std::string& line : lines_of(proc / "self/cgroup")) {  // "ID:CONTROLLERS:PATH"
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos || line.size() > kLongestPath) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const bool own = ("," + controllers + ",").find(fmt::format(",{},", controller)) != std::string::npos;
    if (!controllers.empty() && !own) continue;
    const fs::path root = sys / "fs/cgroup" / controllers;  // version 2 has none of them
    fs::path group = fs::path(line.substr(second + 1)).relative_path().lexically_normal();
    if (group.empty() || *group.begin() == "..") group = ".";
    for (; group != "." && !group.empty(); group = group.parent_path()) out.push_back(root / group);
    out.push_back(root);
  }
  return out;
}

}  // namespace

std::optional<double> cpu_quota(const fs::path& proc, const fs::path& sys) {
  std::optional<double> least;
  for (const fs::path& folder : group_folders(proc, sys, "cpu")) {
    // "150000 100000", "max 100000"; in the first version two files, with -1 for no limit.
    std::string both = line_of(folder / "cpu.max");
    if (both.empty()) both = line_of(folder / "cpu.cfs_quota_us") + " " + line_of(folder / "cpu.cfs_period_us");
    const std::size_t blank = std::min(both.find(' '), both.size() - 1);
    const std::uint64_t quota = number_in(both.substr(0, blank)).value_or(0);
    const std::uint64_t period = number_in(both.substr(blank + 1)).value_or(0);
    if (quota == 0 || period == 0) continue;
    const double cpus = static_cast<double>(quota) / static_cast<double>(period);
    least = std::min(least.value_or(cpus), cpus);
  }
  return least;
}

std::optional<std::uint64_t> memory_limit(const fs::path& proc, const fs::path& sys) {
  constexpr std::uint64_t kNone = std::uint64_t{1} << 60U;  // version 1 writes a number for that
  std::uint64_t least = kNone;
  for (const fs::path& folder : group_folders(proc, sys, "memory")) {
    for (const char* limit : {"max", "limit_in_bytes"})  // of the group's versions 2 and 1
      least = std::min(least, number_of(folder / fmt::format("memory.{}", limit)).value_or(kNone));
  }
  return least == kNone ? std::nullopt : std::optional(least);
}

}  // namespace mlbench::machine
