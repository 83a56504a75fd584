#include "core/processors.h"

#include <fmt/format.h>

#include "core/system_files.h"

namespace mlbench::machine {
namespace {

namespace fs = std::filesystem;

std::string counted(std::size_t count, const char* what) {
  return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}

}  // namespace

Processors::Processors(const fs::path& sys)
    : folder_(sys / "devices/system/cpu"), online_(numbers_in_list(line_of(folder_ / "online"))) {}

fs::path Processors::folder(int cpu) const { return folder_ / fmt::format("cpu{}", cpu); }

std::set<std::string> Processors::distinct(const char* file) const {
  std::set<std::string> out;
  for (const int cpu : online_) out.insert(line_of(folder(cpu) / file));
  out.erase("");
  return out;
}

std::vector<std::uint64_t> Processors::numbers(const char* file) const {
  std::vector<std::uint64_t> out;
  for (const int cpu : online_) {
    if (const auto number = number_of(folder(cpu) / file)) out.push_back(*number);
  }
  return out;
}

std::string Processors::counts() const {
  if (online_.empty()) return "";
  std::set<std::string> sockets, cores;
  for (const int cpu : online_) {
    const std::string socket = line_of(folder(cpu) / "topology/physical_package_id");
    if (socket.empty()) return counted(online_.size(), "thread");
    sockets.insert(socket);
    cores.insert(socket + " " + line_of(folder(cpu) / "topology/core_id"));
  }
  return fmt::format("{}, {}, {}", counted(online_.size(), "thread"), counted(cores.size(), "core"),
                     counted(sockets.size(), "socket"));
}

Processors::Caches Processors::caches() const {
  Caches out;
  for (const int cpu : online_) {
    constexpr int kMost = 64;
    for (int index = 0; index < kMost; ++index) {
      const fs::path cache = folder(cpu) / "cache" / fmt::format("index{}", index);
      const auto level = number_of(cache / "level");
      std::string size = line_of(cache / "size");  // "32768K"
      if (!level || !size.ends_with('K')) break;
      size.pop_back();
      constexpr std::uint64_t kLargest = std::uint64_t{1} << 32U;  // KiB
      const auto kib = number_in(size);
      if (!kib || *kib > kLargest) break;
      out[{*level, line_of(cache / "type")}][line_of(cache / "shared_cpu_list")] = *kib * 1024;
    }
  }
  return out;
}

std::uint64_t Processors::cache_bytes() const {
  std::uint64_t sum = 0;
  for (const auto& [what, all] : caches()) {
    if (what.second == "Instruction") continue;
    for (const auto& [sharing, bytes] : all) sum += bytes;
  }
  return sum;
}

std::uint64_t Processors::last_level_cache_bytes() const {
  std::uint64_t sum = 0, last = 0;
  for (const auto& [what, all] : caches()) {
    if (what.second == "Instruction") continue;
    if (what.first > last) sum = 0;
    last = what.first;
    for (const auto& [sharing, bytes] : all) sum += bytes;
  }
  return sum;
}

}  // namespace mlbench::machine
