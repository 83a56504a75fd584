// A table of functions as a Backend, in this process.
#pragma once

#include <memory>
#include <string>

#include "backends/backend.h"
#include "backends/plugin.h"

namespace mlbench::plugin {

// The table must be one that open_library() would accept. Its answers are checked: a status, type, size or shape that
// cannot be is ErrorKind::internal, backend.failed.
[[nodiscard]] std::unique_ptr<backends::Backend> make_in_process_backend(const mlbench_plugin* table);

}  // namespace mlbench::plugin
