#include "backends/plugin/open.h"

#include <fmt/format.h>

#include "backends/plugin/child_backend.h"
#include "backends/plugin/in_process.h"
#include "backends/plugin/library.h"

namespace mlbench::plugin {
namespace {

std::unique_ptr<backends::Backend> open_in_process(const std::string& path) {
  auto backend = make_in_process_backend(open_library(path));
  try {
    (void)description_of(*backend);
  } catch (const Error& error) {
    throw Error(ErrorKind::unavailable, "plugin.load", fmt::format("{}: {}", path, error.message()));
  }
  return backend;
}

}  // namespace

bool is_library_path(const std::string& name) { return name.find('/') != std::string::npos || name.ends_with(".so"); }

std::unique_ptr<backends::Backend> open_plugin(const std::string& path, const OpenOptions& options) {
  return options.in_process ? open_in_process(path) : make_child_backend(path, options.process);
}

}  // namespace mlbench::plugin
