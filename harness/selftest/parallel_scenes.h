// The small models and splits on which mistakes of parallel execution are planted, and honest runs made.
#pragma once

#include <span>
#include <string>

#include "core/workers.h"
#include "harness/plan.h"
#include "models/parts.h"
#include "models/weights.h"

namespace mlbench::selftest {

// Every architecture, with the splits that are legal for it, and in two instances. Biases wherever the architecture may
// have them.
struct ParallelScene {
  Architecture architecture;
  Split split;
  bool disaggregated = false;

  friend bool operator==(const ParallelScene&, const ParallelScene&) = default;
};

[[nodiscard]] std::span<const ParallelScene> parallel_scenes();
[[nodiscard]] std::string name(const ParallelScene& scene);  // "llama, 2 shards, 2 stages"

[[nodiscard]] ModelConfig config_of(const ParallelScene& scene);
[[nodiscard]] Model model_of(const ParallelScene& scene, DType dtype, std::uint64_t seed, Workers& workers);
// One sequence: what goes between workers does so in every call. Between two instances, in several pages.
[[nodiscard]] harness::Plan plan_of(const ParallelScene& scene, std::uint64_t seed);

}  // namespace mlbench::selftest
