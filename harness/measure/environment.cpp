#include "harness/measure/environment.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <map>
#include <set>

#include <fmt/format.h>

#include "core/control_group.h"
#include "core/processors.h"
#include "core/system_files.h"
#include "mlbench_commit.h"  // made by commit.cmake

namespace mlbench::measure {
namespace {

using namespace machine;  // NOLINT(google-build-using-namespace): what reads the files

namespace fs = std::filesystem;

constexpr double kMiB = 1024.0 * 1024.0;

// Facts, without those that are not known.
class Facts {
 public:
  void add(const std::string& name, const std::string& value) {
    if (!value.empty()) facts_.emplace_back(name, value);
  }
  void add(const std::string& name, std::optional<std::uint64_t> value) {
    if (value) add(name, fmt::format("{}", *value));
  }
  [[nodiscard]] std::vector<std::pair<std::string, std::string>> take() { return std::move(facts_); }

 private:
  std::vector<std::pair<std::string, std::string>> facts_;
};

std::string joined(const std::set<std::string>& values) {
  std::string out;
  for (const std::string& value : values) {
    if (!value.empty()) out += (out.empty() ? "" : ", ") + value;
  }
  return presentable(out);
}

std::string on_or_off(const std::string& text, std::string_view on) {
  return text != "0" && text != "1" ? "" : text == on ? "on" : "off";
}

std::string bytes_text(double bytes) {
  if (bytes >= 1024.0 * kMiB) return fmt::format("{:.1f} GiB", bytes / 1024.0 / kMiB);
  return bytes >= kMiB ? fmt::format("{:.4g} MiB", bytes / kMiB) : fmt::format("{:.4g} KiB", bytes / 1024.0);
}

// ---- processors ----

// "L1 Data 48 KiB x 2, L2 Unified 1 MiB x 2, L3 Unified 32 MiB"
std::string caches_text(const Processors& processors) {
  std::string out;
  for (const auto& [what, all] : processors.caches()) {
    out += fmt::format("{}L{} {} {}", out.empty() ? "" : ", ", what.first, what.second,
                       bytes_text(static_cast<double>(all.begin()->second)));
    if (all.size() > 1) out += fmt::format(" x {}", all.size());
  }
  return presentable(out);
}

// In MHz: "2596, at most 3700", or "2100 to 3650, at most 3700".
std::string frequency_text(const Processors& processors, const std::vector<std::string>& cpuinfo) {
  std::string now = field_of(cpuinfo, "cpu MHz");
  if (const auto khz = processors.numbers("cpufreq/scaling_cur_freq"); !khz.empty()) {
    const auto [least, most] = std::ranges::minmax(khz);
    now = least / 1000 == most / 1000 ? fmt::format("{}", most / 1000)
                                      : fmt::format("{} to {}", least / 1000, most / 1000);
  }
  const auto limits = processors.numbers("cpufreq/cpuinfo_max_freq");
  if (now.empty()) return "";
  return limits.empty() ? now + " MHz" : fmt::format("{} MHz, at most {}", now, std::ranges::max(limits) / 1000);
}

std::string boost_text(const fs::path& cpus) {
  const std::string boost = line_of(cpus / "cpufreq/boost");
  return !boost.empty() ? on_or_off(boost, "1") : on_or_off(line_of(cpus / "intel_pstate/no_turbo"), "0");
}

// ---- heat ----

std::string temperature_text(const fs::path& sys) {
  const std::optional<double> celsius = machine::processor_celsius(sys);
  return celsius ? fmt::format("{:.1f} C", *celsius) : "";
}

std::optional<std::uint64_t> throttles(const Processors& processors, const char* file) {
  const auto counts = processors.numbers(file);
  if (counts.empty()) return std::nullopt;
  std::uint64_t sum = 0;
  for (const std::uint64_t count : counts) sum += count;
  return sum;
}

// ---- what others take ----

// Seconds of all processors since the start, and of these the stolen ones (proc(5), /proc/stat).
std::vector<double> cpu_seconds(const fs::path& proc) {
  const std::string line = line_of(proc / "stat");
  if (!line.starts_with("cpu ")) return {};
  constexpr std::size_t kSteal = 7;  // user nice system idle iowait irq softirq steal; guests' are part of user's
  std::vector<double> fields;
  for (std::size_t at = line.find_first_of("0123456789"); at < line.size() && fields.size() <= kSteal;
       at = line.find_first_not_of(' ', std::min(line.find(' ', at), line.size()))) {
    const auto ticks = leading_number(std::string_view(line).substr(at));
    if (!ticks) return {};
    fields.push_back(*ticks);
  }
  if (fields.size() <= kSteal) return {};
  double sum = 0.0;
  for (const double field : fields) sum += field;
  const auto per_second = static_cast<double>(::sysconf(_SC_CLK_TCK));
  return {sum / per_second, fields[kSteal] / per_second};
}

// What the name of a machine says of it.
bool sounds_virtual(const std::string& machine) {
  constexpr std::string_view kNames[] = {"QEMU", "KVM",       "VMware", "VirtualBox", "Virtual Machine",
                                         "Xen",  "Parallels", "Bochs",  "BHYVE"};
  return std::ranges::any_of(kNames, [&](auto name) { return machine.find(name) != std::string::npos; });
}

std::string virtual_machine_text(const fs::path& sys, const std::vector<std::string>& cpuinfo,
                                 const std::string& machine) {
  for (const std::string& line : cpuinfo) {
    if (line.starts_with("flags") && line.find(" hypervisor") != std::string::npos) return "yes: the processor says so";
  }
  if (!line_of(sys / "hypervisor/type").empty()) return "yes: " + line_of(sys / "hypervisor/type");
  return sounds_virtual(machine) ? "yes: its name is a hypervisor's" : "";
}

// ---- the process ----

std::string aslr_text(const fs::path& proc) {
  constexpr unsigned long kNoRandomAddresses = 0x0040000;  // personality(2)
  const std::string own = line_of(proc / "self/personality");
  if ((std::strtoul(own.c_str(), nullptr, 16) & kNoRandomAddresses) != 0) return "off";
  const auto mode = number_of(proc / "sys/kernel/randomize_va_space");
  return !mode ? "" : *mode == 0 ? "off" : "on";
}

std::string compiler_text() {
#ifdef __clang__
  return presentable(std::string("Clang ") + __clang_version__);
#else
  return presentable(std::string("GCC ") + __VERSION__);
#endif
}

std::map<std::string, std::string> variables() {
  constexpr std::string_view kPrefixes[] = {"OMP_", "GOMP_",     "KMP_",       "ONEDNN_",        "DNNL_",
                                            "MKL_", "OPENBLAS_", "LD_PRELOAD", "GLIBC_TUNABLES", "MALLOC_"};
  std::map<std::string, std::string> out;
  for (char** at = environ; at != nullptr && *at != nullptr; ++at) {
    const std::string_view text = *at;
    const bool matters = std::ranges::any_of(kPrefixes, [&](auto prefix) { return text.starts_with(prefix); });
    const std::size_t equals = text.find('=');
    if (!matters || equals == std::string_view::npos) continue;
    const std::string value = presentable(text.substr(equals + 1));
    out[presentable(text.substr(0, equals))] = value.empty() ? "\"\"" : value;
  }
  return out;
}

// ---- all of it ----

void add_machine(Facts& facts, const EnvironmentOptions& options, const Processors& processors) {
  const auto& [proc, sys, etc, threads] = options;
  const std::vector<std::string> cpuinfo = lines_of(proc / "cpuinfo");
  std::string os = field_of(lines_of(etc / "os-release"), "PRETTY_NAME", '=');
  os.erase(std::remove_if(os.begin(), os.end(), [](char c) { return c == '"' || c == '\\'; }), os.end());
  const fs::path dmi = sys / "class/dmi/id";
  const std::string machine = presentable(line_of(dmi / "sys_vendor") + " " + line_of(dmi / "product_name"));
  const auto memory = leading_number(field_of(lines_of(proc / "meminfo"), "MemTotal"));
  const std::size_t nodes = numbers_in_list(line_of(sys / "devices/system/node/online")).size();

  facts.add("host", line_of(proc / "sys/kernel/hostname"));
  facts.add("kernel", line_of(proc / "sys/kernel/osrelease"));
  facts.add("os", os);
  facts.add("cpu", field_of(cpuinfo, "model name"));
  facts.add("cpus", processors.counts());
  facts.add("caches", caches_text(processors));
  facts.add("machine", machine);
  facts.add("virtual machine", virtual_machine_text(sys, cpuinfo, machine));
  facts.add("memory", memory ? bytes_text(*memory * 1024.0) : "");
  facts.add("numa nodes", nodes == 0 ? "" : fmt::format("{}", nodes));
  facts.add("governor", joined(processors.distinct("cpufreq/scaling_governor")));
  facts.add("frequency", frequency_text(processors, cpuinfo));
  facts.add("smt", on_or_off(line_of(processors.folder() / "smt/active"), "1"));
  facts.add("boost", boost_text(processors.folder()));
  facts.add("aslr", aslr_text(proc));
}

void add_state(Facts& facts, const EnvironmentOptions& options, const Processors& processors) {
  const std::string load = line_of(options.proc / "loadavg");  // "0.52 0.58 0.59 3/602 29321"
  std::size_t end = 0;
  for (int i = 0; i < 3 && end != std::string::npos; ++i) end = load.find(' ', end + 1);
  facts.add("load", leading_number(load) ? load.substr(0, end) : "");
  facts.add("temperature", temperature_text(options.sys));
  facts.add("core throttles", throttles(processors, "thermal_throttle/core_throttle_count"));
  facts.add("package throttles", throttles(processors, "thermal_throttle/package_throttle_count"));
  if (const auto seconds = cpu_seconds(options.proc); !seconds.empty()) {
    facts.add("cpu seconds", fmt::format("{:.2f}", seconds[0]));
    facts.add("stolen cpu seconds", fmt::format("{:.2f}", seconds[1]));
  }
  const auto quota = cpu_quota(options.proc, options.sys);
  const auto limit = memory_limit(options.proc, options.sys);
  facts.add("cpu quota", quota ? fmt::format("{:g} cpus", *quota) : "");
  facts.add("memory limit", limit ? bytes_text(static_cast<double>(*limit)) : "");
  facts.add("affinity", field_of(lines_of(options.proc / "self/status"), "Cpus_allowed_list"));
}

void add_program(Facts& facts) {
  facts.add("mlbench", MLBENCH_VERSION);
  facts.add("mlbench commit", std::string(kCommit) + (kChanged ? ", with changes" : ""));
  facts.add("compiler", compiler_text());
  facts.add("build type", MLBENCH_BUILD_TYPE);
  for (const auto& [name, value] : variables()) facts.add(name, value);
}

std::vector<std::string> warnings_of(const Environment& environment, int processors, int threads) {
  std::vector<std::string> out;
  const auto fact = [&](std::string_view name) { return environment.fact(name); };
  if (const std::string governor = fact("governor"); !governor.empty() && governor != "performance")
    out.push_back(fmt::format("the governor is {}: clocks change with the load; performance keeps them up", governor));
  if (!fact("virtual machine").empty())
    out.emplace_back("this is a virtual machine: what other guests do shows in the figures");
  const double wanted = threads > 0 ? threads : processors;
  const auto load = leading_number(fact("load"));
  if (load && processors > 0 && *load > std::max(processors - wanted, 0.0) + 0.5) {
    out.push_back(fmt::format("the load is {:g} before the run, on {} processor{} of which it is to use {:g}", *load,
                              processors, processors == 1 ? "" : "s", wanted));
  }
  if (const auto quota = leading_number(fact("cpu quota")); quota && *quota < wanted)
    out.push_back(fmt::format("the control group has {:g} processors, for {:g} threads", *quota, wanted));
  const std::size_t allowed = numbers_in_list(fact("affinity")).size();
  if (allowed > 0 && static_cast<double>(allowed) < wanted)
    out.push_back(
        fmt::format("the process may use {} of {} processors, for {:g} threads", allowed, processors, wanted));
  if (const std::string type = fact("build type"); type != "Release" && type != "RelWithDebInfo")
    out.push_back(fmt::format("mlbench is not built for speed: the build type is {}", type.empty() ? "none" : type));
  return out;
}

}  // namespace

Environment capture_environment(const EnvironmentOptions& options) {
  const Processors processors(options.sys);
  Facts facts;
  add_machine(facts, options, processors);
  add_state(facts, options, processors);
  add_program(facts);
  Environment out{facts.take(), {}};
  out.warnings = warnings_of(out, processors.count(), options.threads);
  return out;
}

std::vector<std::string> warnings_between(const Environment& before, const Environment& after) {
  std::vector<std::string> out;
  const auto growth = [&](std::string_view name) {
    const auto then = leading_number(before.fact(name)), now = leading_number(after.fact(name));
    return then && now ? *now - *then : 0.0;
  };
  for (const char* part : {"core", "package"}) {
    const double times = growth(fmt::format("{} throttles", part));
    if (times > 0.0)
      out.push_back(fmt::format("heat slowed the processor down during the run: {:g} more {} throttles", times, part));
  }
  constexpr double kMuch = 0.01;
  const double all = growth("cpu seconds"), stolen = growth("stolen cpu seconds");
  if (all > 0.0 && stolen > kMuch * all)
    out.push_back(
        fmt::format("{:.1f}% of the processors' time went to other guests during the run", 100 * stolen / all));
  for (const char* name : {"governor", "boost", "smt", "cpus", "cpu quota", "affinity"}) {
    if (before.fact(name) == after.fact(name)) continue;
    const auto shown = [&](const Environment& of) { return of.fact(name).empty() ? "not known" : of.fact(name); };
    out.push_back(fmt::format("{} changed during the run, from {} to {}", name, shown(before), shown(after)));
  }
  return out;
}

std::uint64_t cache_bytes(const EnvironmentOptions& options) { return Processors(options.sys).cache_bytes(); }

bool may_differ(std::string_view fact) {
  constexpr std::array<std::string_view, 10> kNames = {
      "host",        "frequency",          "load",    "temperature",   "core throttles", "package throttles",
      "cpu seconds", "stolen cpu seconds", "mlbench", "mlbench commit"};
  return std::ranges::find(kNames, fact) != kNames.end();
}

}  // namespace mlbench::measure
