// Workers that hold the parts of a model, with a mistake in them: threads, whose sessions are those of a real backend.
// What is wrong is what they are given and what they hand each other, never their arithmetic.
#pragma once

#include <memory>

#include "backends/parallel/part_holders.h"
#include "harness/selftest/parallel_planted.h"

namespace mlbench::selftest {

// whole: a stage is run as its session does. by_parts: part by part, which is to be the same.
enum class Stages { whole, by_parts };

[[nodiscard]] std::unique_ptr<parallel::PartHolders> make_planted_holders(backends::Backend& backend,
                                                                          const ParallelPlanted& planted,
                                                                          Stages stages = Stages::whole);

}  // namespace mlbench::selftest
