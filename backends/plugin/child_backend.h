// A plug-in in a process of its own as a Backend: whatever happens there, this process goes on.
#pragma once

#include <memory>
#include <string>

#include "backends/backend.h"
#include "backends/plugin/process.h"

namespace mlbench::plugin {

// Every session has a process to itself, so that one that crashed or hung takes nothing along, and the next load()
// begins anew. Questions without a session go to a process that the next load() takes over.
//
// Costs. A call crosses a socket, some 10 us on an idle machine; inputs and results are copied twice, through memory
// that both share, and taps through the socket. Weights are copied once, into memory that the child maps read-only.
// memory() counts these copies.
//
// Errors: those of the plug-in, and backend.crashed, backend.timeout (process.h). Results that the plug-in leaves
// unwritten are NaN; writing around them is backend.failed.
[[nodiscard]] std::unique_ptr<backends::Backend> make_child_backend(const std::string& library,
                                                                    const ProcessOptions& options);

}  // namespace mlbench::plugin
