// Who checks the checker: verification is run on executions with a mistake in them, which it must find and place, and
// on honest ones, which it must pass. docs/selftest.md says how to read the result.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backends/backend.h"
#include "core/results.h"
#include "core/selftest_results.h"
#include "core/workers.h"
#include "harness/selftest/mistakes.h"
#include "harness/selftest/parallel_mistakes.h"

namespace mlbench::selftest {

struct SelftestOptions {
  std::vector<DType> dtypes = {DType::f32, DType::bf16};
  std::vector<Mistake> mistakes;
  std::vector<ParallelMistake> parallel_mistakes;  // each in every scene that has what it needs
  // Makes the backend whose sessions hold the parts of a model; null: nothing parallel is run, honest or not.
  std::function<std::unique_ptr<backends::Backend>()> backend_of_parts;
  Index seeds = 2;  // of honest runs: each scene with each; 0: none
  // Called from one thread at a time with what was done and the share that is done, in [0, 1].
  std::function<void(const std::string& doing, double done)> progress;
};

// Of what `mlbench verify` does to a scene: its plan on everyday inputs, or with that all the rest.
enum class Depth { plan, all };

// A scene with a mistake, to whatever depth it takes to find it; `executed` is set to whether the mistake's code ran.
[[nodiscard]] BackendVerification verify_with(Mistake mistake, DType dtype, bool& executed);
[[nodiscard]] BackendVerification verify_honest(Scene scene, DType dtype, std::uint64_t seed, Depth depth = Depth::all);

// What a verification says of a mistake.
[[nodiscard]] MistakeResult judged(const MistakeInfo& mistake, const BackendVerification& result, bool executed);

// Runs are shared out among `workers`; results do not depend on how many there are.
[[nodiscard]] SelftestResults run_selftest(const SelftestOptions& options, Workers& workers);

}  // namespace mlbench::selftest
