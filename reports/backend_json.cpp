// Verifications of backends as JSON.
#include <algorithm>

#include "reports/backend_report.h"
#include "reports/figures.h"
#include "reports/tap_summary.h"

namespace mlbench::reports {
namespace {

using nlohmann::ordered_json;

ordered_json or_null(const std::string& text) { return text.empty() ? ordered_json(nullptr) : ordered_json(text); }
ordered_json or_null(Index index) { return index < 0 ? ordered_json(nullptr) : ordered_json(index); }

template <class Values, class Function>
ordered_json list_of(const Values& values, const Function& json_of) {
  ordered_json out = ordered_json::array();
  for (const auto& value : values) out.push_back(json_of(value));
  return out;
}

ordered_json json_of_check(const TapCheck& check) {
  ordered_json out = {{"mode", name(check.mode)},
                      {"inputs", name(check.inputs)},
                      {"call", check.call},
                      {"method", check.method},
                      {"tap", check.tap},
                      {"kind", check.kind},
                      {"layer", or_null(check.layer)},
                      {"elements", check.elements},
                      {"straying", check.straying},
                      {"ratio", finite(check.ratio)},
                      {"error", finite(check.error)},
                      {"limit", finite(check.limit)},
                      {"rounded_error", finite(check.rounded_error)},
                      {"rounding", finite(check.rounding)},
                      {"verdict", check.passed ? "passed" : "failed"},
                      {"guess", or_null(check.guess)},
                      {"worst", nullptr}};
  if (check.worst) {
    out["worst"] = {{"sequence", check.worst->batch_row},
                    {"position", check.worst->position},
                    {"element", check.worst->element},
                    {"expected", finite(check.worst->expected)},
                    {"computed", finite(check.worst->computed)}};
  }
  return out;
}

ordered_json json_of_failures(const BackendVerification& result) {
  constexpr std::size_t kMost = 100;
  ordered_json out = ordered_json::array();
  for (const TapCheck& check : result.checks) {
    if (!check.passed && out.size() < kMost) out.push_back(json_of_check(check));
  }
  return out;
}

ordered_json json_of_taps(const BackendVerification& result) {
  ordered_json out = ordered_json::array();
  for (const TapRow& row : summarize(result, &TapCheck::tap)) {
    for (const VerifyMode mode : kVerifyModes) {
      const TapSummary& s = row.in(mode);
      if (s.worst == nullptr) continue;
      out.push_back({{"tap", row.key},
                     {"mode", name(mode)},
                     {"checks", s.checks},
                     {"failed", s.failed},
                     {"elements", s.elements},
                     {"straying", s.straying},
                     {"ratio", finite(s.worst->ratio)},
                     {"error", finite(s.worst->error)},
                     {"limit", finite(s.worst->limit)},
                     {"rounded_error", finite(s.worst->rounded_error)},
                     {"rounding", finite(s.worst->rounding)},
                     {"call", s.worst->call}});
    }
  }
  return out;
}

ordered_json json_of_ratios(const BackendVerification& result) {
  ordered_json out = ordered_json::object();
  for (const VerifyMode mode : kVerifyModes) {
    const TapCheck* worst = worst_check(result, mode);
    out[std::string(name(mode))] = worst == nullptr ? ordered_json(nullptr) : finite(worst->ratio);
  }
  return out;
}

ordered_json json_of_cause(const Cause& cause) {
  const auto mode_name = [](VerifyMode mode) { return name(mode); };
  return {{"modes", list_of(cause.modes, mode_name)},
          {"kind", cause.kind},
          {"guess", or_null(cause.guess)},
          {"checks", cause.checks},
          {"layers", cause.layers},
          {"calls", cause.calls.size()},
          {"first", json_of_check(*cause.first)}};
}

ordered_json json_of_finding(const Finding& finding) {
  return {{"code", finding.code}, {"where", finding.where}, {"text", finding.text}};
}

ordered_json json_of_logits(const std::optional<LogitsAgreement>& logits) {
  if (!logits) return nullptr;
  return {{"rows", logits->rows},
          {"mean_kl", finite(logits->mean_kl)},
          {"max_kl", finite(logits->max_kl)},
          {"max_kl_call", logits->max_kl_call},
          {"same_top1", logits->same_top1},
          {"close_top1", logits->close_top1},
          {"mean_top10_overlap", finite(logits->mean_top10_overlap)}};
}

ordered_json json_of_schedules(const ScheduleComparison& pair) {
  return {{"a", pair.a},
          {"b", pair.b},
          {"bitwise", pair.bitwise},
          {"max_difference", finite(pair.max_difference)},
          {"ratio", finite(pair.ratio)},
          {"first_tap", or_null(pair.first_tap)},
          {"position", or_null(pair.position)},
          {"verdict", pair.passed ? "passed" : "failed"}};
}

ordered_json json_of_invariance(const Invariance& i) {
  return {{"property", i.property},
          {"holds", i.holds},
          {"required", i.required},
          {"max_difference", finite(i.max_difference)},
          {"first_tap", or_null(i.first_tap)},
          {"call", or_null(i.call)}};
}

ordered_json json_of_distance(const GoldenDistance& d) {
  return {{"tap", d.kind}, {"distance", finite(d.distance)}, {"call", d.call}};
}

ordered_json json_of_unsupported(const Unsupported& u) { return {{"what", u.what}, {"reason", u.reason}}; }

ordered_json json_of_run(const BackendVerification& result) {
  ordered_json arithmetic = ordered_json::object();
  for (const auto& [what, type] : result.arithmetic) arithmetic[what] = type;
  const TapCheck* first = result.first_failure();
  return {{"verdict", name(result.verdict())},
          {"model", result.model},
          {"architecture", result.architecture},
          {"backend", result.backend},
          {"version", result.version},
          {"device", result.device},
          {"dtype", result.dtype},
          {"split",
           {{"tensor_parallel", result.split.tensor_parallel},
            {"pipeline_parallel", result.split.pipeline_parallel},
            {"micro_batches", result.split.micro_batches},
            {"disaggregated", result.split.disaggregated},
            {"replicas", result.split.replicas},
            {"mapped", result.split.mapped},
            {"hosts", result.split.hosts}}},
          {"arithmetic", arithmetic},
          {"bounds", result.worst_case_bounds ? "deterministic" : "probabilistic"},
          {"seed", result.seed},
          {"memory_bytes", {{"estimate", result.memory_estimate_bytes}, {"peak", result.memory_peak_bytes}}},
          {"checks", result.checks.size()},
          {"failed", std::ranges::count_if(result.checks, [](const TapCheck& check) { return !check.passed; })},
          {"worst_ratio", json_of_ratios(result)},
          {"first_failure", first == nullptr ? ordered_json(nullptr) : json_of_check(*first)},
          {"again", or_null(result.again)},
          {"error", or_null(result.error)},
          {"faults", list_of(result.faults, json_of_finding)},
          {"untrusted", list_of(result.untrusted, json_of_finding)},
          {"causes", list_of(causes_of(result), json_of_cause)},
          {"logits", json_of_logits(result.logits)},
          {"schedules", list_of(result.schedules, json_of_schedules)},
          {"invariances", list_of(result.invariances, json_of_invariance)},
          {"golden", or_null(result.golden)},
          {"distances_to_golden", list_of(result.distances, json_of_distance)},
          {"unsupported", list_of(result.unsupported, json_of_unsupported)},
          {"warnings", result.warnings},
          {"failures", json_of_failures(result)},
          {"taps", json_of_taps(result)}};
}

}  // namespace

ordered_json to_json(std::span<const BackendVerification> results) {
  return {{"command", "verify"}, {"verdict", name(verdict_of(results))}, {"runs", list_of(results, json_of_run)}};
}

}  // namespace mlbench::reports
