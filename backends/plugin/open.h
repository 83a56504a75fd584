// A backend from a shared library, by its path.
#pragma once

#include <memory>
#include <string>

#include "backends/backend.h"
#include "backends/plugin/process.h"

namespace mlbench::plugin {

struct OpenOptions {
  bool in_process = false;  // in this process, for debuggers: what happens to it happens to us
  ProcessOptions process;
};

// Whether the name of a backend is the path of a library: it holds a '/' or ends in ".so".
[[nodiscard]] bool is_library_path(const std::string& name);

// Errors are ErrorKind::unavailable: those of open_library(), and plugin.load where it cannot even say what it is.
[[nodiscard]] std::unique_ptr<backends::Backend> open_plugin(const std::string& path, const OpenOptions& options);

}  // namespace mlbench::plugin
