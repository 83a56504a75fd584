#include "harness/measure/energy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/temp_dir.h"

namespace mlbench::measure {
namespace {

using mlbench::test::TempDir;
using mlbench::test::write_file;
using testing::DoubleEq;
using testing::Optional;

// A folder of counters as Linux makes it.
class Counters {
 public:
  void domain(const std::string& folder, const std::string& name, const std::string& energy,
              const std::string& range = "262143328850") {
    std::filesystem::create_directory(dir_.path() / folder);
    write_file(file(folder, "name"), name + "\n");
    write_file(file(folder, "max_energy_range_uj"), range + "\n");
    set(folder, energy);
  }
  void set(const std::string& folder, const std::string& energy) {
    write_file(file(folder, "energy_uj"), energy + "\n");
  }
  void remove(const std::string& folder, const char* name) { std::filesystem::remove(file(folder, name)); }
  [[nodiscard]] std::optional<EnergyMeter> meter() const { return EnergyMeter::find(dir_.path()); }

 private:
  [[nodiscard]] std::string file(const std::string& folder, const char* name) const {
    return dir_.path() / folder / name;
  }
  TempDir dir_;
};

TEST(EnergyMeter, IsTheSumOfThePackages) {
  Counters counters;
  counters.domain("intel-rapl:0", "package-0", "5000000");
  counters.domain("intel-rapl:1", "package-1", "70000000");
  auto meter = counters.meter();
  ASSERT_TRUE(meter);
  EXPECT_THAT(meter->joules(), Optional(DoubleEq(0.0)));
  counters.set("intel-rapl:0", "6500000");
  counters.set("intel-rapl:1", "70250000");
  EXPECT_THAT(meter->joules(), Optional(DoubleEq(1.75)));
  counters.set("intel-rapl:1", "72250000");
  EXPECT_THAT(meter->joules(), Optional(DoubleEq(3.75)));
}

TEST(EnergyMeter, CountsPackagesAlone) {
  Counters counters;
  counters.domain("intel-rapl", "intel-rapl", "1");
  counters.domain("intel-rapl:0", "package-0", "1000000");
  counters.domain("intel-rapl:0:0", "core", "1000000");
  counters.domain("intel-rapl:0:1", "package-9", "1000000");  // were it one, it would be inside another
  counters.domain("intel-rapl:1", "psys", "1000000");
  counters.domain("intel-rapl-mmio:0", "package-0", "1000000");
  auto meter = counters.meter();
  ASSERT_TRUE(meter);
  for (const char* other : {"intel-rapl:0:0", "intel-rapl:0:1", "intel-rapl:1", "intel-rapl-mmio:0"})
    counters.set(other, "9000000");
  EXPECT_THAT(meter->joules(), Optional(DoubleEq(0.0)));
  counters.set("intel-rapl:0", "3000000");
  EXPECT_THAT(meter->joules(), Optional(DoubleEq(2.0)));
}

TEST(EnergyMeter, GoesOnWhereACounterTurnsOver) {
  Counters counters;
  counters.domain("intel-rapl:0", "package-0-die-0", "9000000", "10000000");
  auto meter = counters.meter();
  ASSERT_TRUE(meter);
  counters.set("intel-rapl:0", "500000");
  EXPECT_THAT(meter->joules(), Optional(DoubleEq(1.5)));
  counters.set("intel-rapl:0", "400000");  // and again, all but all the way round
  EXPECT_THAT(meter->joules(), Optional(DoubleEq(11.4)));
}

TEST(EnergyMeter, IsNoneWhereThereAreNoPackages) {
  Counters counters;
  EXPECT_FALSE(counters.meter());
  EXPECT_FALSE(EnergyMeter::find("/no/where"));
  counters.domain("intel-rapl:0", "psys", "1000000");
  counters.domain("intel-rapl:", "package-0", "1000000");
  EXPECT_FALSE(counters.meter());
}

// A part of the machine's energy would be taken for all of it.
TEST(EnergyMeter, IsNoneWhereOnePackageCannotBeRead) {
  for (const char* missing : {"energy_uj", "max_energy_range_uj"}) {
    Counters counters;
    counters.domain("intel-rapl:0", "package-0", "1000000");
    counters.domain("intel-rapl:1", "package-1", "1000000");
    ASSERT_TRUE(counters.meter());
    counters.remove("intel-rapl:1", missing);
    EXPECT_FALSE(counters.meter()) << missing;
  }
}

TEST(EnergyMeter, IsNoneWhereACounterIsNoNumberInItsRange) {
  for (const char* bad : {"", "-1", "1.5", "12 3", "many", "99999999999999999999999", "10000001"}) {
    Counters counters;
    counters.domain("intel-rapl:0", "package-0", bad, "10000000");
    EXPECT_FALSE(counters.meter()) << bad;
  }
}

TEST(EnergyMeter, StaysLostOnceACounterIsLost) {
  Counters counters;
  counters.domain("intel-rapl:0", "package-0", "1000000");
  auto meter = counters.meter();
  ASSERT_TRUE(meter);
  counters.remove("intel-rapl:0", "energy_uj");
  EXPECT_FALSE(meter->joules());
  counters.set("intel-rapl:0", "2000000");
  EXPECT_FALSE(meter->joules());
}

}  // namespace
}  // namespace mlbench::measure
