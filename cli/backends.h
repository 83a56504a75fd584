// Backends by the names that people type.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "backends/backend.h"
#include "backends/plugin/open.h"

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

// Options that say how a backend in a shared library is run: --in-process and --time-limit.
class PluginOptions {
 public:
  void add_to(CLI::App& command);
  [[nodiscard]] const plugin::OpenOptions& get() const { return options_; }
  // What differs from the defaults, for a shell.
  [[nodiscard]] std::string command_line() const;
  // The same as words.
  [[nodiscard]] std::vector<std::string> words() const;

 private:
  plugin::OpenOptions options_;
};

// The backend of that name, or in the library of that path. Throws backend.unknown (a request error) with near names,
// backend.unavailable for one without a device, but for the host executor where `device` names that, and plugin.* for a
// library that cannot be used.
[[nodiscard]] std::unique_ptr<backends::Backend> make_backend(const std::string& name, const std::string& device = "",
                                                              const PluginOptions& options = {});
// The same for a listing: one that is not there says so in `missing`. Throws backend.unknown and plugin.*.
[[nodiscard]] BackendChoice backend_choice(const std::string& name, const PluginOptions& options);

}  // namespace mlbench::cli
