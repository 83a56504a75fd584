// What machine and device are qualified: as far as the system tells.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "backends/backend.h"

namespace mlbench::qualify {

using Facts = std::vector<std::pair<std::string, std::string>>;

// Firmware, microcode, memory modules, links between NUMA nodes; of an AMD device its firmware, memory and PCI link.
// What is not told is "not known".
[[nodiscard]] Facts machine_facts(const std::filesystem::path& proc = "/proc",
                                  const std::filesystem::path& sys = "/sys");
[[nodiscard]] Facts amdgpu_facts(const std::filesystem::path& device);
// What `nvidia-smi --query-gpu=kNvidiaInventory --format=csv,noheader` prints of one device.
inline constexpr const char* kNvidiaInventory =
    "name,uuid,serial,driver_version,vbios_version,memory.total,pci.bus_id,pcie.link.gen.current,pcie.link.gen.max,"
    "pcie.link.width.current,pcie.link.width.max,ecc.mode.current,power.limit,compute_cap";
[[nodiscard]] Facts parse_nvidia_inventory(const std::string& text);

// Of a backend's device, beside the machine's: by nvidia-smi, or by the driver's files.
[[nodiscard]] Facts device_facts(const std::string& backend, const std::string& device);

// What the vendor's own tools print of the machine, each below its command; what is not there is said to be not there.
[[nodiscard]] std::string tool_outputs(const std::string& backend, const std::string& library);

}  // namespace mlbench::qualify
