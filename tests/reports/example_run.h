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
  BackendVerification run = run_of(std::vector<TapCheck>{});
  run.unsupported = {{"dtype bf16", "no hardware for it"}};
  return run;
}

[[nodiscard]] inline BackendVerification broken_run() {
  BackendVerification run = run_of({passing(kChained, "single/0 prefill", "embed", -1, 0.0)});
  run.error = "backend.failed: the device fell off the bus";
  return run;
}

inline constexpr auto kExact = VerifyMode::exact;

// With something in every field. Failed, for many reasons.
[[nodiscard]] inline BackendVerification full_run() {
  BackendVerification run = failed_run();
  TapCheck beyond_zero = failing(kExact, "single/0 prefill", "attn.q", 1, std::numeric_limits<double>::infinity());
  beyond_zero.inputs = Inputs::exact;
  beyond_zero.error = 0.125;
  beyond_zero.limit = 0.0;
  beyond_zero.guess = run.checks[2].guess = "halves of a head are swapped";
  run.checks.push_back(beyond_zero);
  run.checks.push_back(passing(kExact, "single/0 prefill", "embed", -1, 0.0));
  run.golden = "golden.h5";
  run.distances = {{"attn.q", 0.0123, "prefill"}};
  run.faults = {{"memory.canary", "single/0 prefill, logits", "4 bytes behind it changed"}};
  run.untrusted = {{"untrusted.loose", "layers.0.attn.q", "the limit is 3 times the signal"}};
  run.logits = LogitsAgreement{100, 1e-5, 0.25, "single/1 decode", 97, 2, 0.995};
  run.schedules = {{"whole", "chunked", true, 0.0, 0.0, "", -1, true},
                   {"whole", "page size 1", false, 1e-3, 0.5, "layers.0.attn.out", 3, true},
                   {"chunked", "page size 1", false, 2e-3, 4.0, "layers.1.attn.out", 9, false}};
  run.invariances = {{"run to run", true, true, 0.0, "", ""},
                     {"batch", false, false, 1e-6, "layers.0.attn.q", "single/0 prefill"},
                     {"taps on = off", false, true, 1e-2, "logits", "single/1 decode"}};
  run.unsupported = {{"sliding windows", "no kernel for them"}};
  run.warnings = {"a tensor is not used"};
  return run;
}

// Nothing failed, and that shows nothing.
[[nodiscard]] inline BackendVerification untrusted_run() {
  BackendVerification run = passed_run();
  run.untrusted = {{"untrusted.constant", "", "two prompts gave equal logits"}};
  return run;
}

// The same text wherever text may stand.
[[nodiscard]] inline BackendVerification run_full_of(const std::string& text) {
  BackendVerification run = full_run();
  run.model = run.architecture = run.backend = run.version = run.device = run.dtype = text;
  run.golden = run.again = run.error = text;
  run.arithmetic = {{text, text}};
  for (TapCheck& check : run.checks) {
    check.call = check.method = check.tap = check.kind = text;
    check.guess = check.passed ? "" : text;
    if (check.worst) check.worst->element = text;
  }
  run.distances = {{text, 1.0, text}};
  run.faults = run.untrusted = {{text, text, text}};
  run.logits->max_kl_call = text;
  for (ScheduleComparison& pair : run.schedules) pair.first_tap = text;
  run.schedules[0].a = run.schedules[1].a = text;
  for (Invariance& i : run.invariances) i.property = i.first_tap = i.call = text;
  run.unsupported = {{text, text}};
  run.warnings = {text};
  return run;
}

// With a figure that is none wherever one may stand.
[[nodiscard]] inline BackendVerification run_full_of(double figure) {
  BackendVerification run = full_run();
  for (TapCheck& check : run.checks) {
    check.ratio = check.error = check.limit = figure;
    if (check.worst) check.worst->expected = check.worst->computed = figure;
  }
  run.distances = {{"attn.q", figure, "prefill"}};
  run.logits->mean_kl = run.logits->max_kl = run.logits->mean_top10_overlap = figure;
  for (ScheduleComparison& pair : run.schedules) pair.max_difference = pair.ratio = figure;
  for (Invariance& i : run.invariances) i.max_difference = figure;
  return run;
}

}  // namespace mlbench::reports::test
