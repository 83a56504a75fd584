// The machine's processors, as Linux numbers them, from what stands in their folders below /sys.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace mlbench::machine {

// Those that are online; none where that is not told.
class Processors {
 public:
  explicit Processors(const std::filesystem::path& sys);

  [[nodiscard]] int count() const { return static_cast<int>(online_.size()); }
  [[nodiscard]] const std::filesystem::path& folder() const { return folder_; }

  // What stands in this file of each: lines that are not empty, and numbers.
  [[nodiscard]] std::set<std::string> distinct(const char* file) const;
  [[nodiscard]] std::vector<std::uint64_t> numbers(const char* file) const;

  // "2 threads, 2 cores, 1 socket"; "" where there are none.
  [[nodiscard]] std::string counts() const;

  // By level and kind ("Data", "Instruction", "Unified"), the bytes of each, by who shares it.
  using Caches = std::map<std::pair<std::uint64_t, std::string>, std::map<std::string, std::uint64_t>>;
  [[nodiscard]] Caches caches() const;
  // Bytes that caches of data hold together: on all levels, and on the last one. 0 where that is not told.
  [[nodiscard]] std::uint64_t cache_bytes() const;
  [[nodiscard]] std::uint64_t last_level_cache_bytes() const;

 private:
  [[nodiscard]] std::filesystem::path folder(int cpu) const;

  std::filesystem::path folder_;
  std::vector<int> online_;
};

}  // namespace mlbench::machine
