#include "reports/backend_report.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <map>

#include <fmt/format.h>

#include "core/error.h"
#include "reports/table.h"

namespace mlbench::reports {
namespace {

using nlohmann::ordered_json;

constexpr std::array kModes = {VerifyMode::isolated, VerifyMode::chained};

std::string number(double value) { return std::isfinite(value) ? fmt::format("{:.3g}", value) : "not finite"; }
ordered_json finite(double value) { return std::isfinite(value) ? ordered_json(value) : ordered_json(nullptr); }

// The checks of one key in one mode.
struct Summary {
  const TapCheck* worst = nullptr;
  Index checks = 0, failed = 0, elements = 0, straying = 0;

  void add(const TapCheck& check) {
    if (worst == nullptr || check.ratio > worst->ratio || std::isnan(check.ratio)) worst = &check;
    ++checks;
    failed += check.passed ? 0 : 1;
    elements += check.elements;
    straying += check.straying;
  }
};

struct Row {
  std::string key;
  std::array<Summary, 2> by_mode;
};

// In the order in which keys are first checked.
template <class Key>
std::vector<Row> summarize(const BackendVerification& result, const Key& key_of) {
  std::vector<Row> rows;
  std::map<std::string, std::size_t> index;
  for (const TapCheck& check : result.checks) {
    const auto [it, fresh] = index.try_emplace(key_of(check), rows.size());
    if (fresh) rows.push_back({it->first, {}});
    rows[it->second].by_mode[static_cast<std::size_t>(check.mode)].add(check);
  }
  return rows;
}

std::string coloured(std::string_view word, int code, bool color) {
  return color ? fmt::format("\x1b[{}m{}\x1b[0m", code, word) : std::string(word);
}

std::string_view verdict_of(const BackendVerification& result) {
  if (!result.error.empty()) return "error";
  if (result.checks.empty()) return "unsupported";
  return result.passed() ? "passed" : "failed";
}

std::string show_verdict(const BackendVerification& result, bool color) {
  const std::string_view verdict = verdict_of(result);
  if (verdict == "passed") return coloured(verdict, 32, color);
  if (verdict == "unsupported") return coloured(verdict, 33, color);
  return coloured(verdict == "failed" ? "FAILED" : "ERROR", 31, color);
}

double worst_ratio(const BackendVerification& result, VerifyMode mode) {
  double worst = -1.0;
  for (const TapCheck& check : result.checks) {
    if (check.mode == mode) worst = std::max(worst, check.ratio);
  }
  return worst;
}

std::string show_ratio(double ratio) { return ratio < 0.0 ? "-" : number(ratio); }

std::string heading(const BackendVerification& r) {
  std::string arithmetic;
  for (const auto& [what, type] : r.arithmetic) {
    fmt::format_to(std::back_inserter(arithmetic), "{}{} {}", arithmetic.empty() ? "" : ", ", what, type);
  }
  return fmt::format("{} ({}) on {} ({}), dtype {}\n{}{}", r.model, r.architecture, r.backend, r.version, r.dtype,
                     arithmetic, arithmetic.empty() ? "" : "\n");
}

ordered_json to_json(const TapCheck& check) {
  ordered_json out = {{"mode", name(check.mode)},
                      {"call", check.call},
                      {"method", check.method},
                      {"tap", check.tap},
                      {"layer", check.layer < 0 ? ordered_json(nullptr) : ordered_json(check.layer)},
                      {"elements", check.elements},
                      {"straying", check.straying},
                      {"ratio", finite(check.ratio)},
                      {"error", finite(check.error)},
                      {"limit", finite(check.limit)},
                      {"verdict", check.passed ? "passed" : "failed"}};
  if (check.worst) {
    out["worst"] = {{"sequence", check.worst->batch_row},
                    {"position", check.worst->position},
                    {"element", check.worst->element},
                    {"expected", finite(check.worst->expected)},
                    {"computed", finite(check.worst->computed)}};
  }
  return out;
}

ordered_json to_json(const BackendVerification& result) {
  ordered_json arithmetic = ordered_json::object();
  for (const auto& [what, type] : result.arithmetic) arithmetic[what] = type;
  ordered_json unsupported = ordered_json::array();
  for (const Unsupported& u : result.unsupported) unsupported.push_back({{"what", u.what}, {"reason", u.reason}});
  ordered_json taps = ordered_json::array();
  for (const Row& row : summarize(result, [](const TapCheck& check) { return check.tap; })) {
    for (const VerifyMode mode : kModes) {
      const Summary& s = row.by_mode[static_cast<std::size_t>(mode)];
      if (s.worst == nullptr) continue;
      taps.push_back({{"tap", row.key},
                      {"mode", name(mode)},
                      {"checks", s.checks},
                      {"failed", s.failed},
                      {"elements", s.elements},
                      {"straying", s.straying},
                      {"ratio", finite(s.worst->ratio)},
                      {"error", finite(s.worst->error)},
                      {"limit", finite(s.worst->limit)},
                      {"call", s.worst->call}});
    }
  }
  constexpr std::size_t kMostFailures = 100;
  ordered_json failures = ordered_json::array();
  for (const TapCheck& check : result.checks) {
    if (!check.passed && failures.size() < kMostFailures) failures.push_back(to_json(check));
  }
  ordered_json distances = ordered_json::array();
  for (const GoldenDistance& d : result.distances) {
    distances.push_back({{"tap", d.kind}, {"distance", finite(d.distance)}, {"call", d.call}});
  }
  const TapCheck* first = result.first_failure();
  ordered_json ratios = ordered_json::object();
  for (const VerifyMode mode : kModes) {
    const double worst = worst_ratio(result, mode);
    ratios[std::string(name(mode))] = worst < 0.0 ? ordered_json(nullptr) : finite(worst);
  }
  return {{"verdict", verdict_of(result)},
          {"model", result.model},
          {"architecture", result.architecture},
          {"backend", result.backend},
          {"version", result.version},
          {"device", result.device},
          {"dtype", result.dtype},
          {"arithmetic", arithmetic},
          {"seed", result.seed},
          {"memory_bytes", {{"estimate", result.memory_estimate_bytes}, {"peak", result.memory_peak_bytes}}},
          {"checks", result.checks.size()},
          {"failed", std::ranges::count_if(result.checks, [](const TapCheck& check) { return !check.passed; })},
          {"worst_ratio", ratios},
          {"first_failure", first == nullptr ? ordered_json(nullptr) : to_json(*first)},
          {"again", result.again.empty() ? ordered_json(nullptr) : ordered_json(result.again)},
          {"error", result.error.empty() ? ordered_json(nullptr) : ordered_json(result.error)},
          {"golden", result.golden.empty() ? ordered_json(nullptr) : ordered_json(result.golden)},
          {"distances_to_golden", distances},
          {"unsupported", unsupported},
          {"warnings", result.warnings},
          {"failures", failures},
          {"taps", taps}};
}

}  // namespace

std::string describe_failure(const TapCheck& check) {
  const Mismatch& at = *check.worst;
  const std::string layer = check.layer < 0 ? "" : fmt::format("layer {}, ", check.layer);
  return fmt::format(
      "{} {} ({}), sequence {}, position {}, {}tap {}, element {}: expected {:.9g}, computed {:.9g}; error {} is {} of "
      "the "
      "limit {}, the worst of {} straying elements of {}",
      name(check.mode), check.method, check.call, at.batch_row, at.position, layer, check.tap, at.element, at.expected,
      at.computed, number(check.error), std::isfinite(check.ratio) ? number(check.ratio) + " times" : "beyond",
      number(check.limit), check.straying, check.elements);
}

std::string to_text(const BackendVerification& result, bool color) {
  std::string out = heading(result) + "\n";
  auto to = std::back_inserter(out);
  if (!result.checks.empty()) {
    Table table({{"tap", Align::left},
                 {"isolated", Align::right},
                 {"worst in", Align::left},
                 {"chained", Align::right},
                 {"worst in", Align::left},
                 {"checks", Align::right},
                 {"verdict", Align::left}});
    for (const Row& row : summarize(result, [](const TapCheck& check) { return check.kind; })) {
      std::vector<std::string> cells = {row.key};
      for (const Summary& s : row.by_mode) {
        cells.push_back(s.worst == nullptr ? "-" : number(s.worst->ratio));
        const std::string layer =
            s.worst == nullptr || s.worst->layer < 0 ? "" : fmt::format(", layer {}", s.worst->layer);
        // A label is "story/number method"; the table has room for the first.
        cells.push_back(s.worst == nullptr ? "" : s.worst->call.substr(0, s.worst->call.find(' ')) + layer);
      }
      const Index failed = row.by_mode[0].failed + row.by_mode[1].failed;
      cells.push_back(fmt::format("{}", row.by_mode[0].checks + row.by_mode[1].checks));
      cells.push_back(failed == 0 ? coloured("passed", 32, color)
                                  : coloured(fmt::format("{} FAILED", failed), 31, color));
      table.add(std::move(cells));
    }
    fmt::format_to(to, "error / limit\n{}\n", table.text());
  }
  if (!result.distances.empty()) {
    Table table({{"tap", Align::left}, {"distance", Align::right}, {"worst in", Align::left}});
    for (const GoldenDistance& d : result.distances) table.add({d.kind, number(d.distance), d.call});
    fmt::format_to(to, "max|difference| / max|golden| to {}, not judged\n{}\n", result.golden, table.text());
  }
  for (const Unsupported& u : result.unsupported) fmt::format_to(to, "unsupported: {}: {}\n", u.what, u.reason);
  fmt::format_to(to, "{}\n", show_verdict(result, color));
  if (!result.error.empty()) fmt::format_to(to, "the backend failed: {}\n", one_line(result.error));
  if (const TapCheck* first = result.first_failure()) {
    fmt::format_to(to, "first tap that strays: {}\n", describe_failure(*first));
    if (!result.again.empty()) fmt::format_to(to, "again: {}\n", result.again);
  }
  return out;
}

std::string summary_text(std::span<const BackendVerification> results, bool color) {
  Table table({{"model", Align::left},
               {"backend", Align::left},
               {"dtype", Align::left},
               {"checks", Align::right},
               {"isolated", Align::right},
               {"chained", Align::right},
               {"verdict", Align::left}});
  for (const BackendVerification& r : results) {
    table.add({r.model, r.backend, r.dtype, fmt::format("{}", r.checks.size()),
               show_ratio(worst_ratio(r, VerifyMode::isolated)), show_ratio(worst_ratio(r, VerifyMode::chained)),
               show_verdict(r, color)});
  }
  return table.text();
}

ordered_json to_json(std::span<const BackendVerification> results) {
  ordered_json runs = ordered_json::array();
  bool failed = false, any = false;
  for (const BackendVerification& result : results) {
    runs.push_back(to_json(result));
    const std::string_view verdict = verdict_of(result);
    failed |= verdict == "failed" || verdict == "error";
    any |= verdict == "passed";
  }
  return {{"command", "verify"}, {"verdict", failed ? "failed" : any ? "passed" : "unsupported"}, {"runs", runs}};
}

}  // namespace mlbench::reports
