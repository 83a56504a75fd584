// A group that hands on something else than its workers gave it.
#pragma once

#include <memory>

#include "backends/group.h"
#include "harness/selftest/parallel_planted.h"

namespace mlbench::selftest {

// Of one worker, whose honest group is `group`; without a mistake of its own it is that. `sums_per_layer`: 2, of
// attention and of the MLP in turn, or 1.
[[nodiscard]] std::shared_ptr<backends::Group> make_lying_group(std::shared_ptr<backends::Group> group,
                                                                const ParallelPlanted& planted, const Split& split,
                                                                Index worker, Index sums_per_layer);

}  // namespace mlbench::selftest
