// Which devices there are, and what is missing where there are none.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "backends/gpu/vendor/status.h"

namespace mlbench::gpu::vendor {

struct Device {
  int index = 0;            // as the vendor counts
  std::string description;  // "NVIDIA H200, sm_90"
  std::uint64_t memory_bytes = 0;
};

// What was looked for: devices, or why there is none, in one line.
struct Found {
  std::vector<Device> devices;
  std::string why_none;
};

template <class Api>
[[nodiscard]] typename Api::Properties said_of(int device) {
  typename Api::Properties said{};
  check<Api>(Api::get_properties(&said, device), "asking for a device's properties");
  return said;
}

// Adds the device, or says why not.
template <class Api>
[[nodiscard]] std::string add_device(int index, std::vector<Device>& devices) {
  typename Api::Properties said{};
  if (const auto status = Api::get_properties(&said, index); status != Api::kSuccess) {
    static_cast<void>(Api::last_error());
    return fmt::format("device {}: {}", index, text_of<Api>(status));
  }
  if (const std::string why = Api::why_without_kernels(said); !why.empty())
    return fmt::format("device {}, {}: {}", index, said.name, why);
  devices.push_back({index, fmt::format("{}, {}", said.name, Api::processor_of(said)), said.totalGlobalMem});
  return "";
}

// Those that this build has kernels for, where driver and libraries are there. Throws nothing. Devices are counted
// before a library is opened: some end the process where there is none.
template <class Api>
[[nodiscard]] Found look() {
  int count = 0;
  const auto status = Api::device_count(&count);
  if (status != Api::kSuccess || count == 0) {
    static_cast<void>(Api::last_error());
    return {{}, Api::why_not_counted(status == Api::kSuccess ? Api::kNoDevice : status)};
  }
  if (std::string why = Api::why_no_library(); !why.empty()) return {{}, std::move(why)};
  Found found;
  for (int index = 0; index < count; ++index) {
    const std::string why = add_device<Api>(index, found.devices);
    if (!why.empty()) found.why_none += (found.why_none.empty() ? "" : "; ") + why;
  }
  if (!found.devices.empty()) found.why_none.clear();
  return found;
}

}  // namespace mlbench::gpu::vendor
