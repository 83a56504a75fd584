// A worker's session that goes through its stage part by part, so that mistakes can be made between the parts.
#pragma once

#include <memory>

#include "backends/backend.h"
#include "harness/selftest/parallel_planted.h"

namespace mlbench::selftest {

// Whether a mistake is one between the parts of a stage.
[[nodiscard]] bool is_between_parts(const ParallelPlanted& planted);

// `part` under `run`, loaded by `backend`. Rows are not cut into micro-batches.
[[nodiscard]] std::unique_ptr<backends::Session> make_stepped_session(backends::Backend& backend, const Model& part,
                                                                      const backends::RunConfig& run,
                                                                      const ParallelPlanted& planted);

}  // namespace mlbench::selftest
