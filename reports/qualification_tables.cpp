#include "reports/qualification_tables.h"

#include <fmt/format.h>

#include "reports/bench_report.h"

namespace mlbench::reports {
namespace {

using nlohmann::ordered_json;

std::optional<double> figure_at(const ordered_json& from, const char* name) {
  const auto at = from.find(name);
  return at == from.end() || !at->is_number() ? std::nullopt : std::optional(at->get<double>());
}

std::optional<bool> invariance(const ordered_json& run, std::string_view property) {
  for (const ordered_json& one : run.value("invariances", ordered_json::array())) {
    if (one.value("property", "") == property) return one.value("holds", false);
  }
  return std::nullopt;
}

std::string failure_of(const ordered_json& run) {
  const auto at = run.find("first_failure");
  if (at == run.end() || !at->is_object())
    return run.value("error", ordered_json()).is_string() ? run.at("error").get<std::string>() : "";
  return fmt::format("{} {} in {}", at->value("mode", ""), at->value("tap", ""), at->value("call", ""));
}

VerifiedRow row_of(const std::string& step, const ordered_json& run) {
  VerifiedRow out;
  out.step = step;
  out.architecture = run.value("architecture", "");
  out.dtype = run.value("dtype", "");
  out.verdict = run.value("verdict", "");
  out.checks = run.value("checks", Index{0});
  out.failed = run.value("failed", Index{0});
  const ordered_json worst = run.value("worst_ratio", ordered_json::object());
  out.isolated = figure_at(worst, "isolated");
  out.chained = figure_at(worst, "chained");
  out.exact = figure_at(worst, "exact");
  out.run_to_run = invariance(run, "run to run");
  out.batch = invariance(run, "batch");
  out.taps = invariance(run, "taps on = off");
  out.first_failure = failure_of(run);
  return out;
}

}  // namespace

const ordered_json* document_of(const Qualification& q, const std::string& step) {
  const auto at = q.documents.find(step);
  return at == q.documents.end() ? nullptr : &at->second;
}

std::vector<VerifiedRow> verified_rows(const Qualification& q) {
  std::vector<VerifiedRow> out;
  for (const QualificationStep& step : q.steps) {
    const ordered_json* document = step.name.starts_with("verify-") ? document_of(q, step.name) : nullptr;
    if (document == nullptr) continue;
    for (const ordered_json& run : document->value("runs", ordered_json::array()))
      out.push_back(row_of(step.name, run));
  }
  return out;
}

std::vector<ProbeResult> probe_rows(const Qualification& q) {
  const ordered_json* document = document_of(q, "probe");
  return document == nullptr ? std::vector<ProbeResult>{} : read_probes(document->dump(), "the probe");
}

std::vector<BenchRow> bench_rows(const Qualification& q) {
  const ordered_json* document = document_of(q, "bench");
  return document == nullptr ? std::vector<BenchRow>{} : read_bench_run(document->dump(), "the benchmark").rows;
}

}  // namespace mlbench::reports
