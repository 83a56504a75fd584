#include "harness/qualify/inventory.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <span>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/child_process.h"
#include "core/system_files.h"
#include "harness/soak/telemetry.h"

namespace mlbench::qualify {
namespace {

namespace fs = std::filesystem;
using machine::entries_of, machine::field_of, machine::line_of, machine::lines_of, machine::number_in,
    machine::presentable;

constexpr const char* kNotKnown = "not known";
constexpr double kBytesPerGib = 1024.0 * 1024.0 * 1024.0;

void add(Facts& facts, const std::string& name, const std::string& value) {
  facts.emplace_back(name, value.empty() ? kNotKnown : value);
}

std::string joined(const std::set<std::string>& values) { return fmt::format("{}", fmt::join(values, ", ")); }

// "8 x 32768 MB DDR5" as the memory controllers' driver knows them (EDAC).
std::string memory_modules(const fs::path& sys) {
  std::map<std::string, int> kinds;
  for (const fs::path& controller : entries_of(sys / "devices/system/edac/mc", "mc")) {
    for (const fs::path& module : entries_of(controller, "dimm"))
      ++kinds[fmt::format("{} MB {}", line_of(module / "size"), line_of(module / "dimm_mem_type"))];
  }
  std::vector<std::string> out;
  for (const auto& [kind, count] : kinds) out.push_back(fmt::format("{} x {}", count, kind));
  return presentable(fmt::format("{}", fmt::join(out, ", ")));
}

// "10 21 / 21 10": a line for each node.
std::string node_distances(const fs::path& sys) {
  std::vector<std::string> out;
  for (const fs::path& node : entries_of(sys / "devices/system/node", "node")) {
    if (const std::string line = line_of(node / "distance"); !line.empty()) out.push_back(line);
  }
  return presentable(fmt::format("{}", fmt::join(out, " / ")));
}

std::string microcode(const fs::path& proc) {
  std::set<std::string> versions;
  for (const std::string& line : lines_of(proc / "cpuinfo")) {
    if (line.starts_with("microcode")) versions.insert(field_of({line}, "microcode"));
  }
  return joined(versions);
}

// "8.0 GT/s PCIe x16, at most 16.0 GT/s PCIe x16"
std::string pci_link(const fs::path& device) {
  const std::string speed = line_of(device / "current_link_speed"), width = line_of(device / "current_link_width");
  if (speed.empty() || width.empty()) return "";
  return fmt::format("{} x{}, at most {} x{}", speed, width, line_of(device / "max_link_speed"),
                     line_of(device / "max_link_width"));
}

std::string memory_of(const fs::path& device) {
  const auto bytes = machine::number_of(device / "mem_info_vram_total");
  return bytes ? fmt::format("{:.1f} GiB", static_cast<double>(*bytes) / kBytesPerGib) : "";
}

std::vector<std::string> words_of(const std::string& command) {
  std::vector<std::string> out;
  for (std::size_t at = 0; at < command.size();) {
    const std::size_t end = std::min(command.find(' ', at), command.size());
    if (end > at) out.push_back(command.substr(at, end - at));
    at = end + 1;
  }
  return out;
}

std::string output_of(const std::vector<std::string>& words) {
  constexpr double kPatience = 30.0;
  const ChildOutcome said = run_child(words, {.time_limit_s = kPatience});
  if (!said.fail.empty()) return "not there\n";
  return said.out + said.err + (said.timed_out ? "\n(ended: it took too long)\n" : "");
}

}  // namespace

Facts machine_facts(const fs::path& proc, const fs::path& sys) {
  const fs::path dmi = sys / "class/dmi/id";
  Facts out;
  add(out, "firmware",
      presentable(line_of(dmi / "bios_vendor") + " " + line_of(dmi / "bios_version") + " " +
                  line_of(dmi / "bios_date")));
  add(out, "mainboard", presentable(line_of(dmi / "board_vendor") + " " + line_of(dmi / "board_name")));
  add(out, "microcode", microcode(proc));
  add(out, "memory modules", memory_modules(sys));
  add(out, "distances of NUMA nodes", node_distances(sys));
  return out;
}

Facts amdgpu_facts(const fs::path& device) {
  Facts out;
  add(out, "gpu", presentable(line_of(device / "product_name") + " " + line_of(device / "device")));
  add(out, "gpu serial number", line_of(device / "serial_number"));
  add(out, "gpu driver", "amdgpu " + line_of("/sys/module/amdgpu/version"));
  add(out, "gpu firmware", line_of(device / "vbios_version"));
  std::vector<std::string> parts;
  for (const fs::path& file : entries_of(device / "fw_version", ""))
    parts.push_back(fmt::format("{} {}", file.filename().string(), line_of(file)));
  add(out, "gpu firmware of its parts", presentable(fmt::format("{}", fmt::join(parts, ", "))));
  add(out, "gpu memory", memory_of(device));
  add(out, "gpu link", pci_link(device));
  return out;
}

Facts parse_nvidia_inventory(const std::string& text) {
  static constexpr std::array kNames = {"gpu",
                                        "gpu id",
                                        "gpu serial number",
                                        "gpu driver",
                                        "gpu firmware",
                                        "gpu memory",
                                        "gpu PCI address",
                                        "gpu link generation",
                                        "gpu link generation, at most",
                                        "gpu link width",
                                        "gpu link width, at most",
                                        "gpu ECC",
                                        "gpu power limit",
                                        "gpu compute capability"};
  const std::string line = text.substr(0, text.find('\n'));
  Facts out;
  std::size_t begin = 0;
  for (const char* name : kNames) {
    const std::size_t comma = std::min(line.find(',', std::min(begin, line.size())), line.size());
    const std::string value = begin < line.size() ? presentable(line.substr(begin, comma - begin)) : "";
    add(out, name, value.starts_with('[') ? "" : value);
    begin = comma + 1;
  }
  return out;
}

Facts device_facts(const std::string& backend, const std::string& device) {
  const std::size_t colon = device.find(':');
  const auto index = number_in(colon == std::string::npos ? "0" : device.substr(colon + 1));
  if (!index || device == backends::kHostExecutor) return {};
  if (backend == "cuda") {
    constexpr double kPatience = 30.0;
    const ChildOutcome said = run_child({"nvidia-smi", std::string("--query-gpu=") + kNvidiaInventory,
                                         "--format=csv,noheader", fmt::format("--id={}", *index)},
                                        {.time_limit_s = kPatience});
    return parse_nvidia_inventory(said.exit_code == 0 ? said.out : "");
  }
  const auto devices = backend == "rocm" ? soak::amdgpu_devices() : std::vector<fs::path>{};
  return *index < devices.size() ? amdgpu_facts(devices[*index]) : Facts{};
}

std::string tool_outputs(const std::string& backend, const std::string& library) {
  static constexpr std::array kCuda = {"nvidia-smi -q", "nvidia-smi topo -m", "nvidia-smi nvlink --status"};
  static constexpr std::array kRocm = {
      "rocminfo",         "rocm-smi --showallinfo",      "rocm-smi --showtopo",     "amd-smi version",
      "hipconfig --full", "cat /opt/rocm/.info/version", "ls -l /dev/kfd /dev/dri", "id",
      "modinfo amdgpu"};
  static constexpr std::array kAll = {"uname -a", "lscpu", "lspci -nn", "dmidecode --type bios,memory"};
  std::string out;
  const auto run = [&](const std::vector<std::string>& words) {
    out += fmt::format("\n$ {}\n{}", fmt::join(words, " "), output_of(words));
  };
  const auto run_all = [&](std::span<const char* const> commands) {
    for (const char* command : commands) run(words_of(command));
  };
  run_all(kAll);
  if (backend == "cuda") run_all(kCuda);
  if (backend == "rocm") run_all(kRocm);
  if (!library.empty()) run({"ldd", library});
  if (backend == "rocm")
    run({"sh", "-c",
         "env | grep -E '^(HIP|ROC|HSA|AMD|LD_LIBRARY_PATH|GPU_)'; { dpkg-query --show --showformat='${Package} "
         "${Version}\\n' || rpm -qa; } 2>/dev/null | grep -E '^(lib)?(hip|roc|amd|hsa)'"});
  return out;
}

}  // namespace mlbench::qualify
