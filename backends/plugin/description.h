// What a backend says of itself before anything else is asked of it.
#pragma once

#include <string>
#include <vector>

#include "backends/backend.h"

namespace mlbench::plugin {

struct Description {
  std::string name, version;
  std::vector<backends::DeviceInfo> devices;
  std::string why_none;  // where there is no device
};

[[nodiscard]] inline Description description_of(const backends::Backend& backend) {
  Description out{std::string(backend.name()), backend.version(), backend.devices(), ""};
  if (out.devices.empty()) out.why_none = backend.why_none();
  return out;
}

}  // namespace mlbench::plugin
