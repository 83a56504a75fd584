#include <algorithm>
#include <charconv>
#include <memory>
#include <numeric>
#include <span>

#include <fmt/format.h>

#include "core/child_process.h"
#include "core/processors.h"
#include "core/system_files.h"
#include "harness/measure/energy.h"
#include "harness/soak/telemetry.h"

namespace mlbench::soak {
namespace {

namespace fs = std::filesystem;
using machine::entries_of, machine::field_of, machine::leading_number, machine::line_of, machine::lines_of,
    machine::number_of;

constexpr double kThousand = 1000.0;  // of kHz in MHz, of millidegrees in degrees
constexpr double kMillion = 1e6;      // of Hz in MHz, of microwatts in watts
constexpr double kKibPerMib = 1024.0;
constexpr double kBytesPerMib = 1024.0 * 1024.0;

using Readings = std::vector<Reading>;

std::optional<double> sum_of(const std::vector<std::uint64_t>& values) {
  if (values.empty()) return std::nullopt;
  return static_cast<double>(std::accumulate(values.begin(), values.end(), std::uint64_t{0}));
}

class Collected {
 public:
  void add(const char* name, const char* unit, std::optional<double> value, bool counter = false) {
    if (value) readings_.push_back({name, unit, counter, *value});
  }
  // A number that stands in a file in another unit.
  void add(const char* name, const char* unit, const fs::path& file, double divisor, bool counter = false) {
    if (const auto value = number_of(file)) add(name, unit, static_cast<double>(*value) / divisor, counter);
  }
  [[nodiscard]] Readings take() { return std::move(readings_); }

 private:
  Readings readings_;
};

// ---- the processor ----

// Of all processors, in MHz.
std::vector<double> clocks(const fs::path& proc, const machine::Processors& processors) {
  std::vector<double> out;
  for (const std::uint64_t khz : processors.numbers("cpufreq/scaling_cur_freq"))
    out.push_back(static_cast<double>(khz) / kThousand);
  if (!out.empty()) return out;
  for (const std::string& line : lines_of(proc / "cpuinfo")) {
    if (!line.starts_with("cpu MHz")) continue;
    if (const auto mhz = leading_number(field_of({line}, "cpu MHz"))) out.push_back(*mhz);
  }
  return out;
}

// As the memory controllers' driver counts them (EDAC).
std::optional<double> memory_errors(const fs::path& sys, const char* file) {
  std::vector<std::uint64_t> counts;
  for (const fs::path& controller : entries_of(sys / "devices/system/edac/mc", "mc")) {
    if (const auto count = number_of(controller / file)) counts.push_back(*count);
  }
  return sum_of(counts);
}

std::optional<double> memory_in_use(const fs::path& proc) {
  const std::vector<std::string> lines = lines_of(proc / "meminfo");
  const auto all = leading_number(field_of(lines, "MemTotal")), free = leading_number(field_of(lines, "MemAvailable"));
  if (!all || !free) return std::nullopt;
  return (*all - *free) / kKibPerMib;
}

// Watts since the last question.
class PowerMeter {
 public:
  explicit PowerMeter(const fs::path& sys) : meter_(measure::EnergyMeter::find(sys / "class/powercap")) {}
  std::optional<double> watts() {
    const auto joules = meter_ ? meter_->joules() : std::nullopt;
    const Clock::time_point now = Clock::now();
    const double seconds = std::chrono::duration<double>(now - last_).count();
    const auto used = joules && last_joules_ ? std::optional(*joules - *last_joules_) : std::nullopt;
    last_ = now;
    last_joules_ = joules;
    return used && seconds > 0.0 ? std::optional(*used / seconds) : std::nullopt;
  }

 private:
  using Clock = std::chrono::steady_clock;
  std::optional<measure::EnergyMeter> meter_;
  Clock::time_point last_ = Clock::now();
  std::optional<double> last_joules_;
};

Readings read_processor(const fs::path& proc, const fs::path& sys, PowerMeter& power) {
  const machine::Processors processors(sys);
  Collected out;
  if (const std::vector<double> all = clocks(proc, processors); !all.empty()) {
    out.add("processor clock", "MHz", std::accumulate(all.begin(), all.end(), 0.0) / static_cast<double>(all.size()));
    out.add("lowest processor clock", "MHz", *std::ranges::min_element(all));
  }
  out.add("processor temperature", "C", machine::processor_celsius(sys));
  out.add("core throttles", "", sum_of(processors.numbers("thermal_throttle/core_throttle_count")), true);
  out.add("package throttles", "", sum_of(processors.numbers("thermal_throttle/package_throttle_count")), true);
  out.add("corrected memory errors", "", memory_errors(sys, "ce_count"), true);
  out.add("uncorrected memory errors", "", memory_errors(sys, "ue_count"), true);
  out.add("processor power", "W", power.watts());
  out.add("memory in use", "MiB", memory_in_use(proc));
  return out.take();
}

// ---- AMD ----

// "ue: 0" and "ce: 3" of the driver's ras folder.
std::optional<double> ras_count(const fs::path& device, const char* kind) {
  double sum = 0.0;
  bool any = false;
  for (const fs::path& block : entries_of(device / "ras", "")) {
    if (!block.filename().string().ends_with("_err_count")) continue;
    const auto count = leading_number(field_of(lines_of(block), kind));
    any |= count.has_value();
    sum += count.value_or(0.0);
  }
  return any ? std::optional(sum) : std::nullopt;
}

Readings read_amdgpu(const fs::path& device) {
  Collected out;
  for (const fs::path& monitor : entries_of(device / "hwmon", "hwmon")) {
    out.add("gpu clock", "MHz", monitor / "freq1_input", kMillion);
    out.add("gpu memory clock", "MHz", monitor / "freq2_input", kMillion);
    out.add("gpu temperature", "C", monitor / "temp1_input", kThousand);
    out.add("gpu hot spot", "C", monitor / "temp2_input", kThousand);
    out.add("gpu memory temperature", "C", monitor / "temp3_input", kThousand);
    const bool average = fs::exists(monitor / "power1_average");
    out.add("gpu power", "W", monitor / (average ? "power1_average" : "power1_input"), kMillion);
  }
  out.add("gpu busy", "%", device / "gpu_busy_percent", 1.0);
  out.add("gpu memory in use", "MiB", device / "mem_info_vram_used", kBytesPerMib);
  out.add("gpu corrected memory errors", "", ras_count(device, "ce"), true);
  out.add("gpu uncorrected memory errors", "", ras_count(device, "ue"), true);
  return out.take();
}

// ---- NVIDIA ----

struct NvidiaField {
  const char* name;
  const char* unit;
  bool counter;
};
// In the order of kNvidiaFields.
constexpr NvidiaField kNvidia[] = {{"gpu clock", "MHz", false},
                                   {"gpu memory clock", "MHz", false},
                                   {"gpu temperature", "C", false},
                                   {"gpu power", "W", false},
                                   {"gpu memory in use", "MiB", false},
                                   {"gpu busy", "%", false},
                                   {"gpu hardware slowdown", "", false},
                                   {"gpu thermal slowdown", "", false},
                                   {"gpu corrected memory errors", "", true},
                                   {"gpu uncorrected memory errors", "", true}};

std::string trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return "";
  return std::string(text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1));
}

// Its driver renamed some fields; one that it does not know fails the whole question.
std::string ask_nvidia(int index) {
  constexpr double kPatience = 5.0;
  std::string fields = kNvidiaFields;
  for (int attempt = 0; attempt < 2; ++attempt) {
    const ChildOutcome said = run_child(
        {"nvidia-smi", "--query-gpu=" + fields, "--format=csv,noheader,nounits", fmt::format("--id={}", index)},
        {.time_limit_s = kPatience});
    if (said.exit_code == 0) return said.out;
    for (std::size_t at = 0; (at = fields.find("throttle_reasons", at)) != std::string::npos;)
      fields.replace(at, std::string_view("throttle_reasons").size(), "event_reasons");
  }
  return "";
}

std::vector<std::string> names_of(std::span<const NvidiaField> fields) {
  std::vector<std::string> out;
  for (const NvidiaField& field : fields) out.emplace_back(field.name);
  return out;
}

}  // namespace

TelemetrySource processor_source(const fs::path& proc, const fs::path& sys) {
  const auto power = std::make_shared<PowerMeter>(sys);
  return {"/proc and /sys",
          {"processor clock", "processor temperature", "core throttles", "package throttles", "corrected memory errors",
           "uncorrected memory errors", "processor power", "memory in use"},
          [=] { return read_processor(proc, sys, *power); }};
}

TelemetrySource amdgpu_source(const fs::path& device) {
  return {device.string(),
          {"gpu clock", "gpu memory clock", "gpu temperature", "gpu hot spot", "gpu memory temperature", "gpu power",
           "gpu busy", "gpu memory in use", "gpu corrected memory errors", "gpu uncorrected memory errors"},
          [=] { return read_amdgpu(device); }};
}

std::vector<fs::path> amdgpu_devices(const fs::path& sys) {
  std::vector<std::pair<std::string, fs::path>> found;  // by their place on the bus
  std::error_code none;
  for (const fs::path& card : entries_of(sys / "class/drm", "card")) {
    if (card.filename().string().find('-') != std::string::npos) continue;  // "card0-DP-1": a connector
    if (line_of(card / "device/vendor") != "0x1002") continue;
    const fs::path device = fs::canonical(card / "device", none);
    if (!none) found.emplace_back(device.filename().string(), device);
  }
  std::ranges::sort(found);
  std::vector<fs::path> out;
  for (const auto& [place, device] : found) out.push_back(device);
  return out;
}

TelemetrySource nvidia_source(int index) {
  return {"nvidia-smi", names_of(kNvidia), [=] { return parse_nvidia_line(ask_nvidia(index)); }};
}

std::vector<Reading> parse_nvidia_line(const std::string& text) {
  Readings out;
  std::size_t begin = 0;
  const std::string line = text.substr(0, text.find('\n'));
  for (const NvidiaField& field : kNvidia) {
    if (begin > line.size()) break;
    const std::size_t comma = std::min(line.find(',', begin), line.size());
    const std::string value = trimmed(std::string_view(line).substr(begin, comma - begin));
    begin = comma + 1;
    if (value == "Active" || value == "Not Active") {
      out.push_back({field.name, field.unit, field.counter, value == "Active" ? 1.0 : 0.0});
      continue;
    }
    double number = 0.0;
    const auto [end, failed] = std::from_chars(value.data(), value.data() + value.size(), number);
    if (failed != std::errc{} || end != value.data() + value.size()) continue;  // "[N/A]", "[Not Supported]"
    out.push_back({field.name, field.unit, field.counter, number});
  }
  return out;
}

std::vector<TelemetrySource> sources_for(const std::string& backend, const std::string& device) {
  std::vector<TelemetrySource> out = {processor_source()};
  const std::size_t colon = device.find(':');
  const auto index = machine::number_in(colon == std::string::npos ? "0" : device.substr(colon + 1));
  if (!index || device == "host") return out;
  if (backend == "cuda") out.push_back(nvidia_source(static_cast<int>(*index)));
  if (backend == "rocm") {
    const auto devices = amdgpu_devices();
    if (*index < devices.size()) out.push_back(amdgpu_source(devices[*index]));
  }
  return out;
}

}  // namespace mlbench::soak
