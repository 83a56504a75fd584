// A cache as a server's is after an hour: no page is fresh. What stands in slots that no sequence owns must not reach
// a result.
#pragma once

#include "backends/backend.h"
#include "harness/guarded.h"

namespace mlbench::harness {

// Fills the cache, page by page, with the keys and values of rows that are no numbers, and clears it. A cache that is
// not empty afterwards, or has fewer pages than before, is the fault cache.pages.
void make_dirty(const ModelConfig& config, const KvLimits& limits, backends::Session& session, backends::KvCache& cache,
                const FaultReport& report);

}  // namespace mlbench::harness
