#include "harness/measure/environment.h"

#include <cstdlib>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/system_files.h"
#include "tests/support/temp_dir.h"

namespace mlbench::measure {
namespace {

using machine::leading_number, machine::numbers_in_list, machine::presentable;
using mlbench::test::TempDir;
using mlbench::test::write_file;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

// A machine that is made up: /proc, /sys and /etc below a folder of their own.
class Machine {
 public:
  void file(const std::string& path, const std::string& text) const {
    const std::filesystem::path at = dir_.path() / path;
    std::filesystem::create_directories(at.parent_path());
    write_file(at, text);
  }
  void cpu(int cpu, const std::string& path, const std::string& text) const {
    file(fmt::format("sys/devices/system/cpu/cpu{}/{}", cpu, path), text);
  }
  void cache(int cpu, int index, const std::string& level, const std::string& type, const std::string& size,
             const std::string& sharing) const {
    const std::string folder = fmt::format("cache/index{}/", index);
    this->cpu(cpu, folder + "level", level + "\n");
    this->cpu(cpu, folder + "type", type + "\n");
    this->cpu(cpu, folder + "size", size + "\n");
    this->cpu(cpu, folder + "shared_cpu_list", sharing + "\n");
  }
  [[nodiscard]] EnvironmentOptions options(int threads = 0) const {
    return {dir_.path() / "proc", dir_.path() / "sys", dir_.path() / "etc", threads};
  }
  [[nodiscard]] Environment capture(int threads = 0) const { return capture_environment(options(threads)); }
  [[nodiscard]] std::string fact(std::string_view name) const { return capture().fact(name); }

 private:
  TempDir dir_;
};

// Four threads on two cores of one socket, which are given nothing to complain of.
class QuietMachine : public Machine {
 public:
  QuietMachine() {
    file("proc/sys/kernel/hostname", "bench-1\n");
    file("proc/sys/kernel/osrelease", "6.1.0-26-amd64\n");
    file("etc/os-release", "NAME=\"Debian GNU/Linux\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n");
    file("proc/cpuinfo",
         "processor\t: 0\nmodel name\t: AMD EPYC 9754\ncpu MHz\t\t: 2250.000\nflags\t\t: fpu vme sse2\n");
    file("proc/meminfo", "MemTotal:       25165824 kB\nMemFree: 1 kB\n");
    file("proc/sys/kernel/randomize_va_space", "2\n");
    file("proc/self/personality", "00000000\n");
    file("proc/loadavg", "0.12 0.58 0.59 3/602 29321\n");
    file("proc/stat", "cpu  1000 0 500 8000 100 0 20 380 50 0\ncpu0 1 2 3\n");
    file("proc/self/cgroup", "0::/\n");
    file("proc/self/status", "Name:\tmlbench\nCpus_allowed:\tf\nCpus_allowed_list:\t0-3\n");
    file("sys/devices/system/cpu/online", "0-3\n");
    file("sys/devices/system/cpu/smt/active", "1\n");
    file("sys/devices/system/cpu/cpufreq/boost", "0\n");
    file("sys/devices/system/node/online", "0-1\n");
    file("sys/class/dmi/id/sys_vendor", "Supermicro\n");
    file("sys/class/dmi/id/product_name", "AS-1015\n");
    file("sys/class/thermal/thermal_zone0/temp", "41000\n");
    file("sys/class/hwmon/hwmon1/name", "k10temp\n");
    file("sys/class/hwmon/hwmon1/temp1_input", "47250\n");
    file("sys/class/hwmon/hwmon1/temp2_input", "255000\n");  // a sensor without a wire
    file("sys/class/hwmon/hwmon2/name", "nvme\n");
    file("sys/class/hwmon/hwmon2/temp1_input", "88000\n");
    for (int i = 0; i < 4; ++i) {
      cpu(i, "topology/physical_package_id", "0\n");
      cpu(i, "topology/core_id", fmt::format("{}\n", i / 2));
      cpu(i, "cpufreq/scaling_governor", "performance\n");
      cpu(i, "cpufreq/scaling_cur_freq", fmt::format("{}\n", 2250000 + 100000 * i));
      cpu(i, "cpufreq/cpuinfo_max_freq", "3100000\n");
      cpu(i, "thermal_throttle/core_throttle_count", fmt::format("{}\n", i));
      cpu(i, "thermal_throttle/package_throttle_count", "0\n");
      const std::string core = i < 2 ? "0-1" : "2-3";
      cache(i, 0, "1", "Data", "32K", core);
      cache(i, 1, "1", "Instruction", "64K", core);
      cache(i, 2, "2", "Unified", "1024K", core);
      cache(i, 3, "3", "Unified", "32768K", "0-3");
    }
  }
};

// Of a debug build the tests' own program would complain.
std::vector<std::string> warnings(const Environment& environment) {
  std::vector<std::string> out = environment.warnings;
  std::erase_if(out, [](const std::string& text) { return text.find("not built for speed") != std::string::npos; });
  return out;
}

// ---- facts ----

TEST(Environment, TellsWhatTheFilesSay) {
  const QuietMachine machine;
  const Environment environment = machine.capture();
  const std::pair<const char*, const char*> facts[] = {
      {"host", "bench-1"},
      {"kernel", "6.1.0-26-amd64"},
      {"os", "Debian GNU/Linux 12 (bookworm)"},
      {"cpu", "AMD EPYC 9754"},
      {"cpus", "4 threads, 2 cores, 1 socket"},
      {"caches", "L1 Data 32 KiB x 2, L1 Instruction 64 KiB x 2, L2 Unified 1 MiB x 2, L3 Unified 32 MiB"},
      {"machine", "Supermicro AS-1015"},
      {"memory", "24.0 GiB"},
      {"numa nodes", "2"},
      {"governor", "performance"},
      {"frequency", "2250 to 2550 MHz, at most 3100"},
      {"smt", "on"},
      {"boost", "off"},
      {"aslr", "on"},
      {"load", "0.12 0.58 0.59"},
      {"temperature", "47.2 C"},
      {"core throttles", "6"},
      {"package throttles", "0"},
      {"cpu seconds", "100.00"},
      {"stolen cpu seconds", "3.80"},
      {"affinity", "0-3"},
  };
  auto at = environment.facts.begin();
  for (const auto& [name, value] : facts) {  // in this order, and nothing between them
    ASSERT_NE(at, environment.facts.end()) << name;
    EXPECT_EQ(at->first, name);
    EXPECT_EQ(at->second, value) << name;
    ++at;
  }
  EXPECT_EQ(at->first, "mlbench");
  EXPECT_THAT(warnings(environment), IsEmpty());
}

TEST(Environment, KnowsTheProgram) {
  const Environment environment = Machine().capture();
  EXPECT_THAT(environment.fact("mlbench"), testing::ContainsRegex("^[0-9]+\\.[0-9]+"));
  EXPECT_THAT(environment.fact("mlbench commit"), testing::ContainsRegex("^([0-9a-f]{12,}|unknown)"));
  EXPECT_THAT(environment.fact("compiler"), testing::AnyOf(StartsWith("GCC "), StartsWith("Clang ")));
}

TEST(Environment, TellsOfVariablesThatDecideHowLibrariesCompute) {
  ::setenv("OMP_NUM_THREADS", " 3\n", 1);
  ::setenv("OPENBLAS_CORETYPE", "", 1);
  ::setenv("MLBENCH_TEST_OTHER", "1", 1);
  const Environment environment = Machine().capture();
  for (const char* name : {"OMP_NUM_THREADS", "OPENBLAS_CORETYPE", "MLBENCH_TEST_OTHER"}) ::unsetenv(name);
  EXPECT_EQ(environment.fact("OMP_NUM_THREADS"), "3");
  EXPECT_EQ(environment.fact("OPENBLAS_CORETYPE"), "\"\"");
  EXPECT_EQ(environment.fact("MLBENCH_TEST_OTHER"), "");
}

TEST(Environment, OfThisMachineIsNotEmpty) {
  const Environment environment = capture_environment();
  EXPECT_NE(environment.fact("kernel"), "");
  EXPECT_NE(environment.fact("cpus"), "");
  EXPECT_NE(environment.fact("cpu seconds"), "");
}

TEST(Environment, WithoutFilesHasTheProgramAlone) {
  const Environment environment = Machine().capture(2);
  ASSERT_FALSE(environment.facts.empty());
  EXPECT_EQ(environment.facts.front().first, "mlbench");
  EXPECT_THAT(warnings(environment), IsEmpty());
}

TEST(Environment, IsOneShortLineForEachFactWhateverStandsInTheFiles) {
  std::string hostile = "\x1b[2J\xff\"evil\"\\ \x7f\xc2\x85" + std::string(100000, 'x') + "\nsecond line";
  hostile.insert(hostile.begin() + 8, '\0');
  const QuietMachine machine;
  for (const char* path : {"proc/sys/kernel/hostname",
                           "proc/sys/kernel/osrelease",
                           "proc/loadavg",
                           "proc/stat",
                           "proc/self/cgroup",
                           "proc/self/personality",
                           "proc/sys/kernel/randomize_va_space",
                           "sys/devices/system/cpu/smt/active",
                           "sys/devices/system/cpu/cpufreq/boost",
                           "sys/devices/system/node/online",
                           "sys/class/dmi/id/sys_vendor",
                           "sys/class/thermal/thermal_zone0/temp",
                           "sys/class/hwmon/hwmon1/temp1_input",
                           "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
                           "sys/devices/system/cpu/cpu0/topology/core_id",
                           "sys/devices/system/cpu/cpu1/cache/index0/type",
                           "sys/devices/system/cpu/cpu0/cache/index2/size",
                           "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count",
                           "sys/hypervisor/type",
                           "sys/fs/cgroup/cpu.max",
                           "sys/fs/cgroup/memory.max"})
    machine.file(path, hostile);
  machine.file("proc/cpuinfo", "model name: " + hostile);
  machine.file("etc/os-release", "PRETTY_NAME=" + hostile);
  machine.file("proc/meminfo", "MemTotal: " + hostile);
  machine.file("proc/self/status", "Cpus_allowed_list: " + hostile);
  ::setenv("OMP_PLACES", "\n\x1b[1m", 1);
  const Environment environment = machine.capture();
  ::unsetenv("OMP_PLACES");
  EXPECT_THAT(environment.fact("host"), StartsWith("\\x1b[2J\\xff"));
  EXPECT_EQ(environment.fact("OMP_PLACES"), "\\x1b[1m");
  for (const auto& [name, value] : environment.facts) {
    EXPECT_LE(value.size(), 500U) << name;
    for (const char c : name + value) EXPECT_TRUE(c >= 0x20 && c < 0x7F) << name << ": " << value;
  }
  for (const char* name : {"memory", "aslr", "load", "smt", "boost", "cpu seconds", "cpu quota", "memory limit"})
    EXPECT_EQ(environment.fact(name), "") << name;
}

// A list of processors that would take all memory to write down.
TEST(Environment, DoesNotBelieveInABillionProcessors) {
  const QuietMachine machine;
  machine.file("sys/devices/system/cpu/online", "0-999999999\n");
  EXPECT_EQ(machine.fact("cpus"), "");
}

TEST(Environment, FoldersInTheirPlaceAreNoFiles) {
  const Machine machine;
  machine.file("proc/loadavg/inside", "1.0 1.0 1.0");
  machine.file("proc/cpuinfo/inside", "model name: none");
  EXPECT_EQ(machine.fact("load"), "");
  EXPECT_EQ(machine.fact("cpu"), "");
}

TEST(Environment, TakesTheFrequencyWhereItIsTold) {
  const QuietMachine machine;
  for (int i = 0; i < 4; ++i) machine.cpu(i, "cpufreq/scaling_cur_freq", "");
  EXPECT_EQ(machine.fact("frequency"), "2250.000 MHz, at most 3100");
}

TEST(Environment, ReadsIntelsBoostTheOtherWayRound) {
  const QuietMachine machine;
  machine.file("sys/devices/system/cpu/cpufreq/boost", "");
  machine.file("sys/devices/system/cpu/intel_pstate/no_turbo", "0\n");
  EXPECT_EQ(machine.fact("boost"), "on");
}

TEST(Environment, SeesThatAddressesAreNotRandom) {
  const QuietMachine machine;
  machine.file("proc/self/personality", "00040000\n");
  EXPECT_EQ(machine.fact("aslr"), "off");
  machine.file("proc/self/personality", "00000000\n");
  machine.file("proc/sys/kernel/randomize_va_space", "0\n");
  EXPECT_EQ(machine.fact("aslr"), "off");
}

// ---- warnings ----

TEST(EnvironmentWarnings, OfAGovernor) {
  const QuietMachine machine;
  machine.cpu(3, "cpufreq/scaling_governor", "powersave\n");
  const Environment environment = machine.capture();
  EXPECT_EQ(environment.fact("governor"), "performance, powersave");
  EXPECT_THAT(warnings(environment), ElementsAre(StartsWith("the governor is performance, powersave:")));
}

TEST(EnvironmentWarnings, OfAVirtualMachine) {
  const std::pair<const char*, const char*> signs[] = {
      {"proc/cpuinfo", "flags\t\t: fpu hypervisor lahf_lm\n"},
      {"sys/hypervisor/type", "xen\n"},
      {"sys/class/dmi/id/product_name", "VMware7,1\n"},
      {"sys/class/dmi/id/sys_vendor", "QEMU\n"},
  };
  for (const auto& [file, text] : signs) {
    const QuietMachine machine;
    machine.file(file, text);
    EXPECT_THAT(warnings(machine.capture()), ElementsAre(HasSubstr("virtual machine"))) << file;
  }
}

// Four processors: a load of 2.4 leaves enough for one thread and not for two.
TEST(EnvironmentWarnings, OfALoadThatTheThreadsWouldFeel) {
  const QuietMachine machine;
  machine.file("proc/loadavg", "2.52 0.00 0.00 3/602 29321\n");
  EXPECT_THAT(warnings(machine.capture(1)), IsEmpty());
  EXPECT_THAT(warnings(machine.capture(2)),
              ElementsAre("the load is 2.52 before the run, on 4 processors of which it is to use 2"));
  EXPECT_THAT(warnings(machine.capture(8)), Contains(HasSubstr("the load is 2.52")));
  machine.file("proc/loadavg", "0.50 0.00 0.00 3/602 29321\n");
  EXPECT_THAT(warnings(machine.capture()), IsEmpty());
  machine.file("proc/loadavg", "0.51 0.00 0.00 3/602 29321\n");
  EXPECT_THAT(warnings(machine.capture()), ElementsAre(HasSubstr("the load is 0.51")));
}

TEST(EnvironmentWarnings, OfAQuotaSmallerThanTheThreads) {
  const QuietMachine machine;
  machine.file("sys/fs/cgroup/cpu.max", "150000 100000\n");
  EXPECT_EQ(machine.fact("cpu quota"), "1.5 cpus");
  EXPECT_THAT(warnings(machine.capture(1)), IsEmpty());
  EXPECT_THAT(warnings(machine.capture(2)), ElementsAre("the control group has 1.5 processors, for 2 threads"));
  EXPECT_THAT(warnings(machine.capture()), ElementsAre("the control group has 1.5 processors, for 4 threads"));
}

TEST(EnvironmentWarnings, OfProcessorsThatTheProcessMayNotUse) {
  const QuietMachine machine;
  machine.file("proc/self/status", "Cpus_allowed_list:\t1,3\n");
  EXPECT_THAT(warnings(machine.capture(2)), IsEmpty());
  EXPECT_THAT(warnings(machine.capture(3)), ElementsAre("the process may use 2 of 4 processors, for 3 threads"));
}

// ---- control groups ----

TEST(ControlGroups, TheSmallestLimitOnTheWayToTheRootHolds) {
  const QuietMachine machine;
  machine.file("proc/self/cgroup", "0::/user.slice/bench.scope\n");
  machine.file("sys/fs/cgroup/user.slice/bench.scope/cpu.max", "max 100000\n");
  machine.file("sys/fs/cgroup/user.slice/cpu.max", "200000 100000\n");
  machine.file("sys/fs/cgroup/cpu.max", "300000 100000\n");
  machine.file("sys/fs/cgroup/user.slice/bench.scope/memory.max", "536870912\n");
  machine.file("sys/fs/cgroup/user.slice/memory.max", "max\n");
  EXPECT_EQ(machine.fact("cpu quota"), "2 cpus");
  EXPECT_EQ(machine.fact("memory limit"), "512 MiB");
}

TEST(ControlGroups, OfTheFirstVersionAreReadToo) {
  const QuietMachine machine;
  machine.file("proc/self/cgroup", "4:memory:/docker/1f\n2:cpu,cpuacct:/docker/1f\n1:cpuset:/\n");
  machine.file("sys/fs/cgroup/cpu,cpuacct/docker/1f/cpu.cfs_quota_us", "50000\n");
  machine.file("sys/fs/cgroup/cpu,cpuacct/docker/1f/cpu.cfs_period_us", "100000\n");
  machine.file("sys/fs/cgroup/memory/docker/1f/memory.limit_in_bytes", "1073741824\n");
  machine.file("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_EQ(machine.fact("cpu quota"), "0.5 cpus");
  EXPECT_EQ(machine.fact("memory limit"), "1.0 GiB");
}

TEST(ControlGroups, WithoutALimitAreNoFact) {
  const QuietMachine machine;
  machine.file("sys/fs/cgroup/cpu.max", "max 100000\n");
  machine.file("sys/fs/cgroup/cpu.cfs_quota_us", "-1\n");
  machine.file("sys/fs/cgroup/memory.max", "max\n");
  EXPECT_EQ(machine.fact("cpu quota"), "");
  EXPECT_EQ(machine.fact("memory limit"), "");
  machine.file("sys/fs/cgroup/cpu.max", "100000 0\n");
  EXPECT_EQ(machine.fact("cpu quota"), "");
}

TEST(ControlGroups, APathThatLeadsOutOfTheTreeIsNotFollowed) {
  const QuietMachine machine;
  machine.file("proc/self/cgroup", "0::/../../outside\n");
  machine.file("sys/outside/cpu.max", "100000 100000\n");
  machine.file("sys/fs/cgroup/cpu.max", "200000 100000\n");
  EXPECT_EQ(machine.fact("cpu quota"), "2 cpus");
}

// Everything that a machine at rest tells twice is compared but what says how it was at the time.
TEST(MayDiffer, IsTheMomentAndTheBuildAlone) {
  for (const char* fact : {"host", "load", "temperature", "frequency", "cpu seconds", "stolen cpu seconds",
                           "core throttles", "package throttles", "mlbench", "mlbench commit"})
    EXPECT_TRUE(may_differ(fact)) << fact;
  for (const char* fact : {"cpu", "cpus", "memory", "governor", "boost", "compiler", "build type", "cpu quota",
                           "OMP_NUM_THREADS", "backend", "cuda runtime"})
    EXPECT_FALSE(may_differ(fact)) << fact;
}

TEST(MayDiffer, LeavesNoFactOfTheSameMachineThatChangesByItself) {
  const Environment before = capture_environment(), after = capture_environment();
  for (const auto& [name, value] : before.facts) {
    if (!may_differ(name)) {
      EXPECT_EQ(after.fact(name), value) << name;
    }
  }
}

// ---- between two moments ----

TEST(WarningsBetween, AreNoneWhereNothingHappened) {
  const QuietMachine machine;
  const Environment before = machine.capture();
  machine.file("proc/loadavg", "4.00 2.00 1.00 3/602 29321\n");  // the run's own
  machine.file("proc/stat", "cpu  2000 0 500 8500 100 0 20 394 50 0\n");
  EXPECT_THAT(warnings_between(before, machine.capture()), IsEmpty());
  EXPECT_THAT(warnings_between({}, {}), IsEmpty());
}

TEST(WarningsBetween, OfThrottling) {
  const QuietMachine machine;
  const Environment before = machine.capture();
  machine.cpu(2, "thermal_throttle/core_throttle_count", "9\n");
  EXPECT_THAT(warnings_between(before, machine.capture()),
              ElementsAre("heat slowed the processor down during the run: 7 more core throttles"));
  machine.cpu(2, "thermal_throttle/package_throttle_count", "1\n");
  EXPECT_THAT(warnings_between(before, machine.capture()), Contains(HasSubstr("1 more package throttles")));
}

// 20 of 1000 ticks, of all processors together.
TEST(WarningsBetween, OfTimeThatOtherGuestsTook) {
  const QuietMachine machine;
  const Environment before = machine.capture();
  machine.file("proc/stat", "cpu  1000 0 500 8980 100 0 20 400 50 0\n");
  EXPECT_THAT(warnings_between(before, machine.capture()),
              ElementsAre("2.0% of the processors' time went to other guests during the run"));
}

TEST(WarningsBetween, OfSettingsThatChanged) {
  const QuietMachine machine;
  const Environment before = machine.capture();
  for (int i = 0; i < 4; ++i) machine.cpu(i, "cpufreq/scaling_governor", "powersave\n");
  machine.file("proc/self/status", "");
  EXPECT_THAT(warnings_between(before, machine.capture()),
              ElementsAre("governor changed during the run, from performance to powersave",
                          "affinity changed during the run, from 0-3 to not known"));
}

// ---- caches ----

TEST(CacheBytes, AreThoseOfAllLevelsButForInstructions) {
  const QuietMachine machine;
  EXPECT_EQ(cache_bytes(machine.options()), 1024U * (2 * 32 + 2 * 1024 + 32768));
  EXPECT_EQ(cache_bytes(Machine().options()), 0U);
}

TEST(CacheBytes, AreNotThoseOfSizesThatCannotBe) {
  const QuietMachine machine;
  for (const char* size : {"", "K", "-1K", "32768", "99999999999999999999K", "9999999999999K"}) {
    for (int i = 0; i < 4; ++i) machine.cache(i, 3, "3", "Unified", size, "0-3");
    EXPECT_EQ(cache_bytes(machine.options()), 1024U * (2 * 32 + 2 * 1024)) << size;
  }
}

// ---- reading files ----

TEST(SystemFiles, ListsOfNumbers) {
  EXPECT_THAT(numbers_in_list("0-2,5,7-7"), ElementsAre(0, 1, 2, 5, 7));
  EXPECT_THAT(numbers_in_list("3"), ElementsAre(3));
  for (const char* bad : {"", "-", "1-", "-1", "3-1", "0,,1", "a", "0-65536", "0 - 1", "18446744073709551616"})
    EXPECT_THAT(numbers_in_list(bad), IsEmpty()) << bad;
}

TEST(SystemFiles, NumbersAtTheBeginning) {
  EXPECT_EQ(leading_number("0.52 0.58"), 0.52);
  EXPECT_EQ(leading_number("17 kB"), 17.0);
  for (const char* bad : {"", " 1", "x", "-1", "nan", "inf", "."}) EXPECT_FALSE(leading_number(bad)) << bad;
}

TEST(SystemFiles, TextIsCutAndKeepsToALine) {
  EXPECT_EQ(presentable("  caf\xc3\xa9 \t\n"), "caf\xc3\xa9");
  EXPECT_EQ(presentable("a\nb"), "a\\x0ab");
  EXPECT_EQ(presentable(std::string(1000, 'x')), std::string(200, 'x') + "...");
  EXPECT_EQ(presentable(""), "");
}

}  // namespace
}  // namespace mlbench::measure
