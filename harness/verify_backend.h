// A backend against the live float64 reference: both get the same weights, rounded to the backend's storage type, so
// that what is left is the backend's own arithmetic. docs/verify.md says how to read the result.
#pragma once

#include <functional>
#include <span>
#include <string>

#include "backends/backend.h"
#include "core/results.h"
#include "core/workers.h"
#include "harness/cases.h"
#include "harness/evidence.h"
#include "harness/plan.h"
#include "harness/rounding.h"

namespace mlbench::harness {

struct BackendOptions {
  backends::RunConfig run;
  bool isolated = true;  // and exact, where a case is
  bool chained = true;
  bool schedules = false;  // every way to compute the same rows against every other, in chained mode
  // The golden that the plan comes from, to which the backend's distance is reported; null: none.
  golden::GoldenFile* golden_file = nullptr;
  const golden::HfGolden* golden = nullptr;
  Bounds bounds = Bounds::probabilistic;
  std::uint64_t seed = 1;  // of what moves values at random in chained mode
  // Gets what first_failure names, once everything was run; null: nobody.
  std::function<void(const Evidence&)> evidence;
  // Called now and then with what is being done and the share that is done, in [0, 1].
  std::function<void(const std::string& doing, double done)> progress;
};

// A verification in which nothing was checked yet.
[[nodiscard]] BackendVerification verification_of(const Model& model, const backends::Backend& backend,
                                                  const backends::RunConfig& run);

// A declared arithmetic for people: {"accumulation", "f32"}.
[[nodiscard]] std::vector<std::pair<std::string, std::string>> described(const backends::Arithmetic& arithmetic);

// What a run will need, the backend's part and the reference's.
[[nodiscard]] std::uint64_t memory_estimate(const ModelConfig& config, DType stored, const backends::Backend& backend,
                                            const Plan& plan, const BackendOptions& options);

// `backend` must support the model; cases whose own model it does not support are listed. What it throws while it runs
// becomes the result's `error`.
[[nodiscard]] BackendVerification verify_backend(const Model& model, backends::Backend& backend,
                                                 std::span<const VerifyCase> cases, const BackendOptions& options,
                                                 Workers& workers);
// One plan, on everyday inputs.
[[nodiscard]] BackendVerification verify_backend(const Model& model, backends::Backend& backend, const Plan& plan,
                                                 const BackendOptions& options, Workers& workers);

}  // namespace mlbench::harness
