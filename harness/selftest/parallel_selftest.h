// Verification of workers with a mistake in them, and of honest ones.
#pragma once

#include "core/results.h"
#include "core/selftest_results.h"
#include "harness/selftest/parallel_workers.h"

namespace mlbench::selftest {

struct PlantedRun {
  BackendVerification result;
  bool executed = false;
};

// `backend`: whose sessions hold the parts.
[[nodiscard]] PlantedRun verify_with(ParallelMistake mistake, const ParallelScene& scene, backends::Backend& backend,
                                     DType dtype, std::uint64_t seed);
[[nodiscard]] BackendVerification verify_honest(const ParallelScene& scene, backends::Backend& backend, DType dtype,
                                                std::uint64_t seed, Stages stages = Stages::whole);

[[nodiscard]] MistakeResult judged(const ParallelMistakeInfo& mistake, const ParallelScene& scene,
                                   const BackendVerification& result, bool executed);

}  // namespace mlbench::selftest
