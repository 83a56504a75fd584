// Verifications of backends for tests of their reports.
#pragma once

#include <limits>
#include <string>
#include <vector>

#include "core/results.h"

namespace mlbench::reports::test {

[[nodiscard]] inline TapCheck passing(VerifyMode mode, const std::string& call, const std::string& kind, Index layer,
                                      double ratio) {
  TapCheck check;
  check.mode = mode;
  check.call = call;
  check.method = call.substr(call.find(' ') + 1);
  check.kind = kind;
  check.tap = layer < 0 ? kind : "layers." + std::to_string(layer) + "." + kind;
  check.layer = layer;
  check.elements = 100;
  check.ratio = ratio;
  check.error = ratio * 1e-6;
  check.limit = 1e-6;
  check.passed = true;
  return check;
}

[[nodiscard]] inline TapCheck failing(VerifyMode mode, const std::string& call, const std::string& kind, Index layer,
                                      double ratio) {
  TapCheck check = passing(mode, call, kind, layer, ratio);
  check.passed = false;
  check.straying = 3;
  check.worst = Mismatch{1, 7, "head 2 [5]", 1.0, 1.5};
  return check;
}

[[nodiscard]] inline BackendVerification run_of(std::vector<TapCheck> checks) {
  BackendVerification run;
  run.model = "llama-small";
  run.architecture = "llama";
  run.backend = "cpu";
  run.version = "oneDNN 2.6.3";
  run.device = "cpu";
  run.dtype = "bf16";
  run.arithmetic = {{"weights", "bf16"}, {"accumulation", "f32"}};
  run.seed = 7;
  run.checks = std::move(checks);
  run.memory_estimate_bytes = 1000;
  run.memory_peak_bytes = 900;
  return run;
}

inline constexpr auto kIsolated = VerifyMode::isolated;
inline constexpr auto kChained = VerifyMode::chained;

// Passed in both modes.
[[nodiscard]] inline BackendVerification passed_run() {
  return run_of({passing(kIsolated, "single/0 prefill", "embed", -1, 0.0),
                 passing(kIsolated, "single/0 prefill", "attn.q", 0, 0.25),
                 passing(kIsolated, "single/0 prefill", "attn.q", 1, 0.5),
                 passing(kChained, "single/0 prefill", "attn.q", 0, 0.125),
                 passing(kChained, "single/1 decode", "logits", -1, 0.75)});
}

// Failed in isolated mode at the query of layer 1, and after it in chained mode.
[[nodiscard]] inline BackendVerification failed_run() {
  BackendVerification run = passed_run();
  run.checks[2] = failing(kIsolated, "single/0 prefill", "attn.q", 1, 500.0);
  run.checks[4] = failing(kChained, "single/1 decode", "logits", -1, 2.0);
  run.again = "mlbench verify --preset llama-small --call \"single/0 prefill\"";
  return run;
}

[[nodiscard]] inline BackendVerification unsupported_run() {
  BackendVerification run = run_of({});
  run.unsupported = {{"dtype bf16", "no hardware for it"}};
  return run;
}

[[nodiscard]] inline BackendVerification broken_run() {
  BackendVerification run = run_of({passing(kChained, "single/0 prefill", "embed", -1, 0.0)});
  run.error = "backend.failed: the device fell off the bus";
  return run;
}

}  // namespace mlbench::reports::test
