// What a soak runs: stories such as a server's, in which sequences come and go, made of a seed.
#pragma once

#include "harness/plan.h"

namespace mlbench::soak {

// One story of about `calls` calls: prompts of 1 to 48 tokens, alone and together, some in pieces; all live sequences
// decoded together; forks, token trees with their commits, entries taken back, sequences that end and whose pages
// others get. Within what the model has positions for. The same seed gives the same story, and another seed another
// one.
[[nodiscard]] harness::Story make_workload(const ModelConfig& config, std::uint64_t seed, Index number, Index calls);

}  // namespace mlbench::soak
