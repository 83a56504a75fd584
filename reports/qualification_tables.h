// The tables of a qualification, from what its steps wrote.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/bench_results.h"
#include "core/qualification_results.h"

namespace mlbench::reports {

// One verification: a model in a type.
struct VerifiedRow {
  std::string step, architecture, dtype, verdict;
  Index checks = 0, failed = 0;
  std::optional<double> isolated, chained, exact;  // largest error / limit
  // Whether the same bits come out; nothing where it was not tried.
  std::optional<bool> run_to_run, batch, taps;
  std::string first_failure;  // "attn.q in layers.1 ..."; empty: none
};
[[nodiscard]] std::vector<VerifiedRow> verified_rows(const Qualification& q);

[[nodiscard]] std::vector<ProbeResult> probe_rows(const Qualification& q);
[[nodiscard]] std::vector<BenchRow> bench_rows(const Qualification& q);

// A document of a step, by the step's name; null where there is none.
[[nodiscard]] const nlohmann::ordered_json* document_of(const Qualification& q, const std::string& step);

}  // namespace mlbench::reports
