// Opens a shared library that implements backends/plugin.h.
#pragma once

#include <string>

#include "backends/plugin.h"

namespace mlbench::plugin {

// The library's table, checked. It stays loaded until the process ends: device runtimes do not bear being unloaded.
// `path` is taken as a file's, also without a slash. Errors are ErrorKind::unavailable, name the file, and say what it
// has and what is needed:
//   plugin.load     no such file, no shared library, one that needs what is not there
//   plugin.symbol   it exports no mlbench_plugin_entry
//   plugin.version  another abi_version
//   plugin.table    no table, one that is too small or of no sensible size, or one that lacks a function or the name
// The table may be one of an earlier revision: has_measure_rates().
[[nodiscard]] const mlbench_plugin* open_library(const std::string& path);

// Whether the table reaches that far, and offers it.
[[nodiscard]] bool has_measure_rates(const mlbench_plugin& table);

}  // namespace mlbench::plugin
