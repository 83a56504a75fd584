#include "reports/bench_row.h"
#include "reports/figures.h"
#include "reports/qualification_report.h"
#include "reports/qualification_tables.h"

namespace mlbench::reports {
namespace {

using nlohmann::ordered_json;

ordered_json or_null(const std::optional<double>& value) { return value ? finite(*value) : ordered_json(nullptr); }
ordered_json or_null(const std::optional<bool>& value) { return value ? ordered_json(*value) : ordered_json(nullptr); }
ordered_json or_null(const std::string& text) { return text.empty() ? ordered_json(nullptr) : ordered_json(text); }

ordered_json json_of(const QualificationStep& s) {
  return {{"name", s.name},       {"verdict", name(s.verdict)},   {"exit_code", s.exit_code},
          {"seconds", s.seconds}, {"note", or_null(s.note)},      {"invocation", s.command},
          {"files", s.files},     {"finding", or_null(s.finding)}};
}

ordered_json json_of(const VerifiedRow& r) {
  return {{"step", r.step},
          {"architecture", r.architecture},
          {"dtype", r.dtype},
          {"verdict", r.verdict},
          {"checks", r.checks},
          {"failed", r.failed},
          {"isolated", or_null(r.isolated)},
          {"chained", or_null(r.chained)},
          {"exact", or_null(r.exact)},
          {"run_to_run", or_null(r.run_to_run)},
          {"batch", or_null(r.batch)},
          {"taps", or_null(r.taps)},
          {"first_failure", or_null(r.first_failure)}};
}

ordered_json json_of(const ProbeResult& p) {
  return {{"dtype", p.dtype},
          {"threads", p.threads},
          {"read_bytes_per_second", finite(p.read_bytes_per_second)},
          {"flops_per_second", finite(p.flops_per_second)}};
}

ordered_json json_of(const BenchRow& r) {
  const auto tokens = r.tokens_per_second ? finite(r.tokens_per_second->value) : ordered_json(nullptr);
  return {{"model", r.point.model}, {"dtype", r.point.dtype}, {"batch", r.point.batch},      {"prompt", r.point.prompt},
          {"gen", r.point.gen},     {"method", r.method},     {"tokens_per_second", tokens}, {"mfu", or_null(r.mfu)},
          {"mbu", or_null(r.mbu)},  {"check", outcome(r)}};
}

template <class Rows>
ordered_json list_of(const Rows& rows) {
  ordered_json out = ordered_json::array();
  for (const auto& row : rows) out.push_back(json_of(row));
  return out;
}

// The soak's own document has the samples.
ordered_json soak_summary(const Qualification& q) {
  const ordered_json* document = document_of(q, "soak");
  if (document == nullptr) return nullptr;
  ordered_json out;
  for (const char* field : {"verdict", "model", "dtype", "seconds", "iterations", "values_compared", "criterion",
                            "checks", "worst_ratio", "check_failure", "faults", "findings", "error"})
    out[field] = document->value(field, ordered_json());
  return out;
}

ordered_json pairs(const std::vector<std::pair<std::string, std::string>>& facts) {
  ordered_json out = ordered_json::array();
  for (const auto& [fact, value] : facts) out.push_back({{"name", fact}, {"value", value}});
  return out;
}

}  // namespace

ordered_json to_json(const Qualification& q) {
  const ordered_json* siblings = document_of(q, "siblings");
  return {{"command", "qualify"},
          {"verdict", verdict_text(q)},
          {"program", q.program},
          {"started", q.started},
          {"finished", q.finished},
          {"invocation", q.command},
          {"backend", q.backend},
          {"version", q.version},
          {"device", q.device},
          {"description", q.description},
          {"quick", q.quick},
          {"interrupted", q.interrupted},
          {"inventory", pairs(q.inventory)},
          {"warnings", q.warnings},
          {"steps", list_of(q.steps)},
          {"verifications", list_of(verified_rows(q))},
          {"probes", list_of(probe_rows(q))},
          {"bench", list_of(bench_rows(q))},
          {"soak", soak_summary(q)},
          {"siblings", siblings == nullptr ? ordered_json(nullptr) : *siblings}};
}

}  // namespace mlbench::reports
