#include "reports/verification_report.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>

#include <fmt/format.h>

#include "core/error.h"
#include "reports/table.h"

namespace mlbench::reports {
namespace {

using nlohmann::ordered_json;

// The comparisons of one tap, over all calls of the run.
struct TapSummary {
  const TapResult* worst;
  Index comparisons = 0;
  Index failed = 0;
};

// In the order in which taps are first computed.
std::vector<TapSummary> summarize(const GoldenVerification& result) {
  std::vector<TapSummary> summaries;
  std::map<std::string, std::size_t> index;
  for (const TapResult& tap : result.taps) {
    const auto [it, fresh] = index.try_emplace(tap.tap, summaries.size());
    if (fresh) summaries.push_back({.worst = &tap});
    TapSummary& summary = summaries[it->second];
    if (tap.ratio() > summary.worst->ratio()) summary.worst = &tap;
    ++summary.comparisons;
    if (!tap.passed) ++summary.failed;
  }
  return summaries;
}

std::string number(double value) { return std::isinf(value) ? "not finite" : fmt::format("{:.2e}", value); }

std::string failure_line(const TapResult& tap) {
  const Mismatch& at = *tap.worst;
  const std::string layer = tap.layer < 0 ? "" : fmt::format("layer {}, ", tap.layer);
  return fmt::format(
      "first tap that strays: {} ({}), batch row {}, position {}, {}tap {}, element {}: golden {:.17g}, computed "
      "{:.17g}; "
      "error {} > limit {} at this, the worst of {} straying elements of {}\n",
      tap.method, tap.step, at.batch_row, at.position, layer, tap.tap, at.element, at.expected, at.computed,
      number(tap.max_error), number(tap.limit), tap.straying, tap.elements);
}

ordered_json finite(double value) { return std::isfinite(value) ? ordered_json(value) : ordered_json(nullptr); }

ordered_json to_json(const TapResult& tap) {
  ordered_json out = {{"method", tap.method},
                      {"step", tap.step},
                      {"dataset", tap.dataset},
                      {"tap", tap.tap},
                      {"layer", tap.layer < 0 ? ordered_json(nullptr) : ordered_json(tap.layer)},
                      {"elements", tap.elements},
                      {"straying", tap.straying},
                      {"max_error", finite(tap.max_error)},
                      {"max_golden", finite(tap.max_expected)},
                      {"limit", finite(tap.limit)},
                      {"ratio", finite(tap.ratio())},
                      {"verdict", tap.passed ? "passed" : "failed"}};
  if (tap.worst) {
    out["worst"] = {{"batch_row", tap.worst->batch_row},
                    {"position", tap.worst->position},
                    {"element", tap.worst->element},
                    {"golden", finite(tap.worst->expected)},
                    {"computed", finite(tap.worst->computed)}};
  }
  return out;
}

}  // namespace

std::string to_text(const GoldenVerification& result, bool color) {
  const auto verdict = [&](bool passed) {
    const char* word = passed ? "passed" : "FAILED";
    return color ? fmt::format("\x1b[{}m{}\x1b[0m", passed ? 32 : 31, word) : std::string(word);
  };
  std::string out = fmt::format("{} ({}) in float64 against {}\n\n", result.model, result.architecture, result.golden);

  Table table({{"tap", Align::left},
               {"compared", Align::right},
               {"worst in", Align::left},
               {"error", Align::right},
               {"limit", Align::right},
               {"ratio", Align::right},
               {"verdict", Align::left}});
  for (const TapSummary& summary : summarize(result)) {
    const TapResult& worst = *summary.worst;
    table.add({worst.tap, fmt::format("{}", summary.comparisons), worst.step, number(worst.max_error),
               number(worst.limit), number(worst.ratio()), verdict(summary.failed == 0)});
  }
  out += table.text();

  Index failed = 0;
  double worst_ratio = 0.0;
  for (const TapResult& tap : result.taps) {
    failed += tap.passed ? 0 : 1;
    worst_ratio = std::max(worst_ratio, tap.ratio());
  }
  auto to = std::back_inserter(out);
  fmt::format_to(to, "\n{} of {} result datasets compared in {} comparisons; {} failed; worst error/limit {}\n",
                 result.compared_datasets, result.result_datasets, result.taps.size(), failed, number(worst_ratio));
  for (const Uncompared& dataset : result.uncompared) {
    fmt::format_to(to, "not compared: {}: {}\n", in_quotes(dataset.dataset), dataset.reason);
  }
  for (const std::string& note : result.notes) fmt::format_to(to, "note: {}\n", note);
  fmt::format_to(to, "{}\n", verdict(result.passed()));
  if (!result.enough_compared()) out += "fewer than 95% of the golden's result datasets could be compared\n";
  if (const TapResult* first = result.first_failure()) out += failure_line(*first);
  return out;
}

ordered_json to_json(const GoldenVerification& result) {
  ordered_json taps = ordered_json::array();
  for (const TapResult& tap : result.taps) taps.push_back(to_json(tap));
  ordered_json uncompared = ordered_json::array();
  for (const Uncompared& dataset : result.uncompared) {
    uncompared.push_back({{"dataset", dataset.dataset}, {"reason", dataset.reason}});
  }
  const TapResult* first = result.first_failure();
  return {{"command", "verify"},
          {"verdict", result.passed() ? "passed" : "failed"},
          {"model", result.model},
          {"architecture", result.architecture},
          {"golden", result.golden},
          {"backend", result.backend},
          {"dtype", result.dtype},
          {"rtol", result.rtol},
          {"datasets",
           {{"results", result.result_datasets},
            {"compared", result.compared_datasets},
            {"uncompared", result.result_datasets - result.compared_datasets}}},
          {"comparisons", result.taps.size()},
          {"first_failure", first == nullptr ? ordered_json(nullptr) : to_json(*first)},
          {"warnings", result.warnings},
          {"notes", result.notes},
          {"uncompared", uncompared},
          {"taps", taps}};
}

}  // namespace mlbench::reports
