// The caches of made-up machines.
#include "core/processors.h"

#include <filesystem>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/support/temp_dir.h"

namespace mlbench::machine {
namespace {

using mlbench::test::TempDir;
using mlbench::test::write_file;

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20U;

Processors of(const TempDir& sys) { return Processors(sys.path()); }

void write_online(const TempDir& sys, const std::string& list) {
  std::filesystem::create_directories(sys.path() / "devices/system/cpu");
  write_file(sys.path() / "devices/system/cpu/online", list + "\n");
}

// Folders as Linux makes them: what is known of a cache of a processor.
void write_cache(const TempDir& sys, int cpu, int index, int level, const std::string& size, const std::string& sharing,
                 const std::string& kind = "Unified") {
  const auto folder = sys.path() / fmt::format("devices/system/cpu/cpu{}/cache/index{}", cpu, index);
  std::filesystem::create_directories(folder);
  write_file(folder / "level", fmt::format("{}\n", level));
  write_file(folder / "type", kind + "\n");
  write_file(folder / "size", size + "\n");
  write_file(folder / "shared_cpu_list", sharing + "\n");
}

TEST(LastLevelCache, CountsAllOfTheLastLevelAndEachOnce) {
  const TempDir sys;
  write_online(sys, "0-11");
  for (int cpu = 0; cpu < 12; ++cpu) {
    write_cache(sys, cpu, 0, 1, "48K", fmt::format("{}", cpu), "Data");
    write_cache(sys, cpu, 1, 1, "32K", fmt::format("{}", cpu), "Instruction");
    write_cache(sys, cpu, 2, 2, "1024K", fmt::format("{}", cpu));
    write_cache(sys, cpu, 3, 3, "16384K", cpu < 6 ? "0-5" : "6-11");
  }
  EXPECT_EQ(of(sys).last_level_cache_bytes(), 32 * kMiB);
  EXPECT_EQ(of(sys).cache_bytes(), 32 * kMiB + 12 * (kMiB + 48 * 1024)) << "of data, on all levels";
}

TEST(LastLevelCache, IsThatOfLevelTwoWhereThereIsNoThird) {
  const TempDir sys;
  write_online(sys, "0-1");
  for (int cpu = 0; cpu < 2; ++cpu) write_cache(sys, cpu, 0, 2, "512K", fmt::format("{}", cpu));
  EXPECT_EQ(of(sys).last_level_cache_bytes(), kMiB);
}

TEST(LastLevelCache, IsNotKnownWhereNothingTellsOfIt) {
  const TempDir sys;
  write_online(sys, "0");
  EXPECT_EQ(of(sys).last_level_cache_bytes(), 0U);
  write_cache(sys, 0, 0, 3, "large", "0");
  EXPECT_EQ(of(sys).last_level_cache_bytes(), 0U);
  EXPECT_EQ(Processors("/no/where").last_level_cache_bytes(), 0U);
}

}  // namespace
}  // namespace mlbench::machine
