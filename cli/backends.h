// Backends by the names that people type.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backends/backend.h"

namespace mlbench::cli {

struct BackendChoice {
  std::string name;
  std::string summary;
  std::string missing;                        // what it would take; empty: it is ready
  std::string version;                        // of what it computes with, where it is part of this build
  std::vector<backends::DeviceInfo> devices;  // that it sees
};
// The reference first, then those of the registry.
[[nodiscard]] std::vector<BackendChoice> known_backends();

// Throws backend.unknown (a request error) with near names, and backend.unavailable for one that is not part of this
// build or has no device.
[[nodiscard]] std::unique_ptr<backends::Backend> make_backend(const std::string& name);

}  // namespace mlbench::cli
