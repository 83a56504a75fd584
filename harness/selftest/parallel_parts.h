// The part of a model that a worker holds by mistake.
#pragma once

#include "harness/selftest/parallel_planted.h"
#include "models/weights.h"

namespace mlbench::selftest {

// As part_of(), of which it is made; without a mistake of its own it is that.
[[nodiscard]] Model wrong_part_of(const Model& model, const ParallelPlanted& planted, const Split& split, Index shard,
                                  Index stage);

}  // namespace mlbench::selftest
