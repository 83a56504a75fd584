#include "reports/golden_run.h"

#include <fmt/format.h>

namespace mlbench::reports {
namespace {

// "attn.q" of "layers.3.attn.q".
std::string kind_of(const TapResult& tap) {
  const std::string prefix = fmt::format("layers.{}.", tap.layer);
  return tap.layer >= 0 && tap.tap.starts_with(prefix) ? tap.tap.substr(prefix.size()) : tap.tap;
}

TapCheck check_of(const TapResult& tap) {
  TapCheck check;
  check.mode = VerifyMode::chained;
  check.call = tap.step;
  check.method = tap.method;
  check.tap = tap.tap;
  check.kind = kind_of(tap);
  check.layer = tap.layer;
  check.elements = tap.elements;
  check.straying = tap.straying;
  check.ratio = tap.ratio();
  check.error = tap.max_error;
  check.limit = tap.limit;
  check.passed = tap.passed;
  check.worst = tap.worst;
  return check;
}

}  // namespace

BackendVerification as_run(const GoldenVerification& result) {
  BackendVerification run;
  run.model = result.model;
  run.architecture = result.architecture;
  run.backend = result.backend;
  run.dtype = result.dtype;
  run.golden = result.golden;
  for (const TapResult& tap : result.taps) run.checks.push_back(check_of(tap));
  for (const Uncompared& dataset : result.uncompared) run.unsupported.push_back({dataset.dataset, dataset.reason});
  run.warnings = result.warnings;
  run.warnings.insert(run.warnings.end(), result.notes.begin(), result.notes.end());
  if (!result.enough_compared()) {
    run.faults.push_back({"golden.uncompared", result.golden,
                          fmt::format("{} of its {} result datasets could be compared; 95% must be",
                                      result.compared_datasets, result.result_datasets)});
  }
  return run;
}

}  // namespace mlbench::reports
