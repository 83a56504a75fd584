#include "harness/measure/energy.h"

#include <algorithm>
#include <string>
#include <string_view>

#include "core/system_files.h"

namespace mlbench::measure {
namespace {

namespace fs = std::filesystem;
using machine::line_of, machine::number_of;

constexpr double kMicrojoules = 1e6;  // of a joule

// Whether a folder is a domain of the highest level: "intel-rapl:0". Parts of it are "intel-rapl:0:1"; the same
// counters appear once more as "intel-rapl-mmio:0".
bool is_domain(const std::string& folder) {
  constexpr std::string_view kPrefix = "intel-rapl:";
  return folder.starts_with(kPrefix) && folder.size() > kPrefix.size() &&
         std::all_of(folder.begin() + kPrefix.size(), folder.end(), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

std::optional<EnergyMeter> EnergyMeter::find(const fs::path& powercap) {
  EnergyMeter meter;
  std::error_code none;
  for (fs::directory_iterator at(powercap, none), end; !none && at != end; at.increment(none)) {
    const fs::path domain = at->path();
    // Beside packages there may be one for the whole platform, "psys", which contains them.
    if (!is_domain(domain.filename()) || !line_of(domain / "name").starts_with("package-")) continue;
    const auto range = number_of(domain / "max_energy_range_uj"), now = number_of(domain / "energy_uj");
    if (!range || !now || *now > *range) return std::nullopt;
    meter.packages_.push_back({domain / "energy_uj", *range, *now});
  }
  if (meter.packages_.empty()) return std::nullopt;
  return meter;
}

std::optional<double> EnergyMeter::joules() {
  for (Package& package : packages_) {
    const auto now = number_of(package.counter);
    lost_ = lost_ || !now || *now > package.range_uj;
    if (lost_) return std::nullopt;
    used_uj_ += *now >= package.last_uj ? *now - package.last_uj : package.range_uj - package.last_uj + *now;
    package.last_uj = *now;
  }
  return static_cast<double>(used_uj_) / kMicrojoules;
}

}  // namespace mlbench::measure
