// A session in another process, as one of this: every call is asked over a connection.
#pragma once

#include <memory>

#include "backends/backend.h"
#include "backends/plugin/caller.h"

namespace mlbench::plugin {

// `answer`: to Op::load, of the process that `caller` reaches; `config` of the model that was loaded, and of which its
// taps are.
[[nodiscard]] std::unique_ptr<backends::Session> make_remote_session(std::shared_ptr<Caller> caller,
                                                                     const ModelConfig& config, Reader& answer);

}  // namespace mlbench::plugin
