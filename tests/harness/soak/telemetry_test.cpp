// What machines tell of themselves, from files and texts such as they have, and from those that they should not have.
#include "harness/soak/telemetry.h"

#include <filesystem>

#include <gmock/gmock.h>

#include "tests/support/temp_dir.h"

namespace mlbench::soak {
namespace {

namespace fs = std::filesystem;
using mlbench::test::TempDir;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

void put(const fs::path& file, const std::string& text) {
  fs::create_directories(file.parent_path());
  mlbench::test::write_file(file.string(), text);
}

std::optional<double> value_of(const std::vector<Reading>& readings, const std::string& name) {
  for (const Reading& reading : readings) {
    if (reading.name == name) return reading.value;
  }
  return std::nullopt;
}

// ---- nvidia-smi ----

TEST(Telemetry, ReadsALineOfNvidiaSmi) {
  const auto r = parse_nvidia_line("1980, 2619, 41, 118.52, 1203, 97, Not Active, Active, 3, 0\n");
  EXPECT_EQ(r.size(), 10U);
  EXPECT_EQ(value_of(r, "gpu clock"), 1980.0);
  EXPECT_EQ(value_of(r, "gpu power"), 118.52);
  EXPECT_EQ(value_of(r, "gpu hardware slowdown"), 0.0);
  EXPECT_EQ(value_of(r, "gpu thermal slowdown"), 1.0);
  EXPECT_EQ(value_of(r, "gpu corrected memory errors"), 3.0);
}

TEST(Telemetry, LeavesOutWhatNvidiaSmiDoesNotKnow) {
  const auto r =
      parse_nvidia_line("[N/A], 405, [Not Supported], [Unknown Error], 0, 0, Not Active, Not Active, [N/A], [N/A]");
  EXPECT_EQ(r.size(), 5U);
  EXPECT_EQ(value_of(r, "gpu clock"), std::nullopt);
  EXPECT_EQ(value_of(r, "gpu memory clock"), 405.0);
}

TEST(Telemetry, TakesNothingFromOtherTexts) {
  for (const char* text : {"", "\n", "No devices were found\n", "NVIDIA-SMI has failed because it couldn't communicate",
                           ",,,,,,,,,,,,,,,", "1e999, x, 0x10, 12 W"})
    EXPECT_TRUE(parse_nvidia_line(text).empty()) << text;
}

// ---- /proc and /sys ----

TEST(Telemetry, ReadsAProcessor) {
  const TempDir dir;
  const fs::path cpu = dir.path() / "sys/devices/system/cpu";
  put(cpu / "online", "0-1\n");
  put(cpu / "cpu0/cpufreq/scaling_cur_freq", "3400000\n");
  put(cpu / "cpu1/cpufreq/scaling_cur_freq", "1200000\n");
  put(cpu / "cpu0/thermal_throttle/core_throttle_count", "4\n");
  put(cpu / "cpu1/thermal_throttle/core_throttle_count", "3\n");
  put(dir.path() / "sys/class/thermal/thermal_zone0/temp", "41000\n");
  put(dir.path() / "sys/class/thermal/thermal_zone1/temp", "68500\n");
  put(dir.path() / "sys/devices/system/edac/mc/mc0/ce_count", "12\n");
  put(dir.path() / "sys/devices/system/edac/mc/mc1/ce_count", "1\n");
  put(dir.path() / "proc/meminfo", "MemTotal: 1024000 kB\nMemFree: 1 kB\nMemAvailable: 512000 kB\n");
  const auto r = processor_source(dir.path() / "proc", dir.path() / "sys").read();
  EXPECT_EQ(value_of(r, "processor clock"), 2300.0);
  EXPECT_EQ(value_of(r, "lowest processor clock"), 1200.0);
  EXPECT_EQ(value_of(r, "processor temperature"), 68.5);
  EXPECT_EQ(value_of(r, "core throttles"), 7.0);
  EXPECT_EQ(value_of(r, "corrected memory errors"), 13.0);
  EXPECT_EQ(value_of(r, "uncorrected memory errors"), std::nullopt);
  EXPECT_EQ(value_of(r, "memory in use"), 500.0);
}

TEST(Telemetry, KnowsNothingWhereThereIsNothing) {
  const TempDir dir;
  EXPECT_TRUE(processor_source(dir.path() / "proc", dir.path() / "sys").read().empty());
  put(dir.path() / "sys/class/thermal/thermal_zone0/temp", "hot\n");
  put(dir.path() / "sys/class/thermal/thermal_zone1/temp", "99999999\n");
  put(dir.path() / "proc/meminfo", "MemTotal: much\n");
  EXPECT_TRUE(processor_source(dir.path() / "proc", dir.path() / "sys").read().empty());
}

TEST(Telemetry, ReadsAnAmdDevice) {
  const TempDir dir;
  const fs::path& device = dir.path();
  put(device / "hwmon/hwmon3/freq1_input", "1700000000\n");
  put(device / "hwmon/hwmon3/temp1_input", "45000\n");
  put(device / "hwmon/hwmon3/power1_average", "303000000\n");
  put(device / "gpu_busy_percent", "99\n");
  put(device / "mem_info_vram_used", "2147483648\n");
  put(device / "ras/umc_err_count", "ue: 0\nce: 2\n");
  put(device / "ras/sdma_err_count", "ue: 1\nce: 0\n");
  const auto r = amdgpu_source(device).read();
  EXPECT_EQ(value_of(r, "gpu clock"), 1700.0);
  EXPECT_EQ(value_of(r, "gpu temperature"), 45.0);
  EXPECT_EQ(value_of(r, "gpu power"), 303.0);
  EXPECT_EQ(value_of(r, "gpu memory in use"), 2048.0);
  EXPECT_EQ(value_of(r, "gpu corrected memory errors"), 2.0);
  EXPECT_EQ(value_of(r, "gpu uncorrected memory errors"), 1.0);
}

TEST(Telemetry, OrdersAmdDevicesByTheirPlaceOnTheBus) {
  const TempDir dir;
  const fs::path drm = dir.path() / "class/drm", pci = dir.path() / "pci";
  for (const auto& [card, place, vendor] :
       {std::tuple("card0", "0000:83:00.0", "0x1002"), std::tuple("card1", "0000:03:00.0", "0x1002"),
        std::tuple("card2", "0000:01:00.0", "0x10de")}) {
    put(pci / place / "vendor", std::string(vendor) + "\n");
    fs::create_directories(drm / card);
    fs::create_symlink(pci / place, drm / card / "device");
  }
  fs::create_directories(drm / "card0-DP-1");
  const auto found = amdgpu_devices(dir.path());
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].filename(), "0000:03:00.0");
  EXPECT_EQ(found[1].filename(), "0000:83:00.0");
}

// ---- the log ----

TelemetrySource counting(double& value) {
  return {"test", {"clock", "errors", "missing"}, [&value]() -> std::vector<Reading> {
            value += 1.0;
            return {{"clock", "MHz", false, value}, {"errors", "", true, value > 3.0 ? 2.0 : 0.0}};
          }};
}

TEST(TelemetryLog, KeepsSamplesAndWhatTheyComeTo) {
  double value = 0.0;
  TelemetryLog log({.sources = {counting(value)}, .interval = 0.0});
  for (int i = 1; i < 5; ++i) log.sample(i);
  const Telemetry t = log.finish();
  ASSERT_EQ(t.series.size(), 2U);
  EXPECT_EQ(t.series[0].least, 1.0);
  EXPECT_EQ(t.series[0].most, value);
  EXPECT_EQ(t.series[0].mean, (1.0 + value) / 2.0);
  EXPECT_EQ(t.seconds.size(), t.series[0].values.size());
  EXPECT_THAT(t.not_known, ElementsAre("missing"));
  EXPECT_THAT(t.warnings, ElementsAre(HasSubstr("errors grew by 2")));
}

TEST(TelemetryLog, ThinsOutALongRunAndForgetsNoExtreme) {
  double value = 0.0;
  TelemetryLog log({.sources = {counting(value)}, .interval = 0.0, .most = 16});
  for (int i = 1; i < 100; ++i) log.sample(i);
  const double last = value;
  const Telemetry t = log.finish();
  EXPECT_LE(t.seconds.size(), 17U);
  EXPECT_EQ(t.series[0].values.size(), t.seconds.size());
  EXPECT_EQ(t.series[0].least, 1.0);
  EXPECT_GE(t.series[0].most, last);
  EXPECT_TRUE(std::ranges::is_sorted(t.seconds));
}

TEST(TelemetryLog, TakesASampleAtEitherEnd) {
  TelemetryLog log({.sources = {{"test",
                                 {},
                                 [] {
                                   return std::vector<Reading>{{"clock", "MHz", false, 1.0}};
                                 }}},
                    .interval = 1e6});
  EXPECT_GE(log.finish().seconds.size(), 1U);
}

// What was not told for a while leaves a gap, and no old value in it.
TEST(TelemetryLog, LeavesAGapWhereNothingWasTold) {
  bool there = true;
  TelemetryLog log(
      {.sources = {{"test",
                    {},
                    [&]() -> std::vector<Reading> {
                      return there ? std::vector<Reading>{{"clock", "MHz", false, 1.0}} : std::vector<Reading>{};
                    }}},
       .interval = 0.0});
  log.sample(1.0);
  there = false;
  log.sample(2.0);
  const Telemetry t = log.finish();
  ASSERT_EQ(t.series.size(), 1U);
  EXPECT_THAT(t.series[0].values, Contains(std::nullopt));
}

}  // namespace
}  // namespace mlbench::soak
