// What a backend says of itself before anything else is asked of it.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "backends/backend.h"

namespace mlbench::plugin {

// Whether there is any but the host executor.
[[nodiscard]] inline bool has_device(const std::vector<backends::DeviceInfo>& devices) {
  return std::ranges::any_of(devices, [](const auto& device) { return device.id != backends::kHostExecutor; });
}

struct Description {
  std::string name, version;
  std::vector<backends::DeviceInfo> devices;
  std::string why_none;  // where there is no device
};

[[nodiscard]] inline Description description_of(const backends::Backend& backend) {
  Description out{std::string(backend.name()), backend.version(), backend.devices(), ""};
  if (!has_device(out.devices)) out.why_none = backend.why_none();
  return out;
}

}  // namespace mlbench::plugin
