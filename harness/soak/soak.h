// A backend under load for a long time, every value of which is checked: a workload such as a server's is repeated, and
// what each iteration gives must be what the first gave, which was held against the float64 reference.
//
// Before the clock starts, each workload runs two or three times. Where two of these runs give the same bits, every
// later one must, too; a backend whose runs differ in bits is held to the limits of chained verification.
// docs/qualify.md says how to read the result.
#pragma once

#include <functional>
#include <memory>

#include "backends/backend.h"
#include "core/soak_results.h"
#include "core/workers.h"
#include "harness/soak/telemetry.h"

namespace mlbench::soak {

struct SoakOptions {
  backends::RunConfig run;
  double seconds = 60.0;  // of iterations
  Index iterations = 0;   // at most; 0: any number
  Index workloads = 3;    // different ones, in turns
  Index calls = 24;       // of each
  Index taps_every = 4;   // iterations; 1: all give their taps, 0: none
  bool stop_at_first = false;
  std::uint64_t seed = 1;
  // Of what all workloads gave; where all taps take more, the outputs of layers are kept, else the results alone.
  std::uint64_t most_bytes = std::uint64_t{1} << 30U;
  TelemetryOptions telemetry;
  std::function<bool()> interrupted;  // null: never
  std::function<void(const std::string& doing, double done)> progress;
};

// Bytes that a soak keeps at most beside the model and what verification takes.
[[nodiscard]] std::uint64_t memory_estimate(const ModelConfig& config, const backends::Backend& backend,
                                            const SoakOptions& options);

// `backend` must support the model. What it throws becomes the result's `error`.
[[nodiscard]] SoakResults soak(const Model& model, backends::Backend& backend, const SoakOptions& options,
                               Workers& workers);

}  // namespace mlbench::soak
