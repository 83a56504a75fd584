// Verifications of backends as text for a terminal.
#include <algorithm>
#include <cmath>
#include <iterator>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"
#include "reports/backend_report.h"
#include "reports/figures.h"
#include "reports/schedules.h"
#include "reports/table.h"
#include "reports/tap_summary.h"

namespace mlbench::reports {
namespace {

using Verdict = BackendVerification::Verdict;
using Out = std::back_insert_iterator<std::string>;

constexpr int kRed = 31, kGreen = 32, kYellow = 33;

std::string coloured(std::string_view word, int code, bool color) {
  return color ? fmt::format("\x1b[{}m{}\x1b[0m", code, word) : std::string(word);
}

std::string show(Verdict verdict, bool color) {
  switch (verdict) {
    case Verdict::passed: return coloured("passed", kGreen, color);
    case Verdict::failed: return coloured("FAILED", kRed, color);
    case Verdict::error: return coloured("ERROR", kRed, color);
    case Verdict::untrusted: return coloured("UNTRUSTED", kYellow, color);
    case Verdict::unsupported: return coloured("unsupported", kYellow, color);
  }
  return "";
}

std::string show(bool passed, bool color) {
  return passed ? coloured("passed", kGreen, color) : coloured("FAILED", kRed, color);
}

bool has_exact(const BackendVerification& r) { return worst_check(r, VerifyMode::exact) != nullptr; }

// The modes that have columns: the exact one where anything was checked in it.
std::vector<VerifyMode> columns_of(bool exact) {
  std::vector<VerifyMode> modes = {VerifyMode::isolated, VerifyMode::chained};
  if (exact) modes.push_back(VerifyMode::exact);
  return modes;
}

// ---- sections, each empty where there is nothing ----

std::string heading(const BackendVerification& r) {
  std::string arithmetic;
  for (const auto& [what, type] : r.arithmetic) {
    fmt::format_to(std::back_inserter(arithmetic), "{}{} {}", arithmetic.empty() ? "" : ", ", what, type);
  }
  const std::string split = split_text(r.split);
  return fmt::format("{} ({}) on {} ({}), dtype {}{}{}\n{}{}\n", one_line(r.model), one_line(r.architecture),
                     one_line(r.backend), one_line(r.version), one_line(r.dtype), split.empty() ? "" : ", ",
                     one_line(split), one_line(arithmetic), arithmetic.empty() ? "" : "\n");
}

// "single/0, layer 3". A label is "story/number method"; the table has room for the first.
std::string worst_in(const TapSummary& s) {
  if (s.worst == nullptr) return "";
  const std::string layer = s.worst->layer < 0 ? "" : fmt::format(", layer {}", s.worst->layer);
  return one_line(s.worst->call.substr(0, s.worst->call.find(' '))) + layer;
}

std::string taps(const BackendVerification& result, bool color) {
  if (result.checks.empty()) return "";
  const std::vector<VerifyMode> modes = columns_of(has_exact(result));
  std::vector<Table::Column> columns = {{"tap", Align::left}};
  for (const VerifyMode mode : modes) {
    columns.push_back({std::string(name(mode)), Align::right});
    columns.push_back({"worst in", Align::left});
  }
  columns.push_back({"checks", Align::right});
  columns.push_back({"verdict", Align::left});
  Table table(columns);
  for (const TapRow& row : summarize(result, &TapCheck::kind)) {
    std::vector<std::string> cells = {one_line(row.key)};
    Index checks = 0, failed = 0;
    for (const VerifyMode mode : modes) {
      const TapSummary& s = row.in(mode);
      cells.push_back(s.worst == nullptr ? "-" : ratio_text(*s.worst));
      cells.push_back(worst_in(s));
      checks += s.checks;
      failed += s.failed;
    }
    cells.push_back(fmt::format("{}", checks));
    cells.push_back(failed == 0 ? show(true, color) : coloured(fmt::format("{} FAILED", failed), kRed, color));
    table.add(std::move(cells));
  }
  return fmt::format("error / limit\n{}\n", table.text());
}

std::string logits(const BackendVerification& result) {
  if (!result.logits) return "";
  const LogitsAgreement& l = *result.logits;
  const std::string close = l.close_top1 == 0 ? "" : fmt::format(" ({} more within the limits)", l.close_top1);
  const std::string where = l.max_kl_call.empty() ? "" : " in " + one_line(l.max_kl_call);
  return fmt::format(
      "logits against the reference's, {}\n"
      "KL divergence   mean {}, largest {} nats{}\n"
      "same top token  {} of {}{}\n"
      "top ten shared  {}\n\n",
      counted(l.rows, "row"), number(l.mean_kl), number(l.max_kl), where, l.same_top1, l.rows, close,
      std::isfinite(l.mean_top10_overlap) ? fmt::format("{:.4g}%", 100.0 * l.mean_top10_overlap) : "not finite");
}

std::string schedules(const BackendVerification& result, bool color) {
  if (result.schedules.empty()) return "";
  const ScheduleMatrix matrix = schedule_matrix(result);
  std::vector<Table::Column> columns = {{"", Align::left}};
  for (const std::string& name : matrix.names) columns.push_back({one_line(name), Align::right});
  Table table(columns);
  for (std::size_t a = 0; a < matrix.names.size(); ++a) {
    std::vector<std::string> cells = {one_line(matrix.names[a])};
    for (const ScheduleComparison* pair : matrix.pairs[a]) {
      if (pair == nullptr) {
        cells.emplace_back(cells.size() == a + 1 ? "." : "-");
      } else {
        cells.push_back(pair->passed ? cell_text(*pair) : coloured(cell_text(*pair) + " FAILED", kRed, color));
      }
    }
    table.add(std::move(cells));
  }
  std::string out = fmt::format("schedules: difference / limit, = where bitwise equal\n{}", table.text());
  for (const ScheduleComparison& pair : result.schedules) {
    if (!pair.passed) out += fmt::format("{}: {}\n", show(false, color), one_line(describe(pair)));
  }
  return out + "\n";
}

std::string invariances(const BackendVerification& result, bool color) {
  if (result.invariances.empty()) return "";
  Table table({{"invariance", Align::left},
               {"bitwise", Align::left},
               {"difference", Align::right},
               {"first tap", Align::left},
               {"call", Align::left},
               {"verdict", Align::left}});
  for (const Invariance& i : result.invariances) {
    const bool broken = i.required && !i.holds;
    table.add({one_line(i.property), i.holds ? "yes" : "no", number(i.max_difference), one_line(i.first_tap),
               one_line(i.call), i.required ? show(!broken, color) : "not required"});
  }
  return table.text() + "\n";
}

std::string distances(const BackendVerification& result) {
  if (result.distances.empty()) return "";
  Table table({{"tap", Align::left}, {"distance", Align::right}, {"worst in", Align::left}});
  for (const GoldenDistance& d : result.distances) table.add({one_line(d.kind), number(d.distance), one_line(d.call)});
  return fmt::format("max|difference| / max|golden| to {}, not judged\n{}\n", one_line(result.golden), table.text());
}

void add_findings(Out to, std::string_view what, const std::vector<Finding>& findings) {
  for (const Finding& f : findings) {
    fmt::format_to(to, "{}: {}: {}{}{}\n", what, one_line(f.code), one_line(f.where), f.where.empty() ? "" : ": ",
                   one_line(f.text));
  }
  if (!findings.empty()) {
    fmt::format_to(to, "what that means: mlbench --explain {}\n", one_line(findings.front().code));
  }
}

std::string describe(const Cause& cause) {
  const auto layers = static_cast<long long>(cause.layers.size()), calls = static_cast<long long>(cause.calls.size());
  const std::string where = layers == 0 ? "" : fmt::format(" in {} ({})", counted(layers, "layer"), layers_text(cause));
  return one_line(fmt::format("{} {}: {} failed{}, {}{}; first: {} of {}, {}", modes_text(cause), cause.kind,
                              counted(cause.checks, "check"), where, counted(calls, "call"),
                              cause.guess.empty() ? "" : "; it looks like: " + cause.guess, cause.first->tap,
                              cause.first->call, ratio_text(*cause.first)));
}

}  // namespace

std::string split_text(const SplitDescription& split) {
  if (split.hosts.empty()) return "";
  std::vector<std::string> hosts = split.hosts;
  std::ranges::sort(hosts);
  const auto [first, last] = std::ranges::unique(hosts);
  hosts.erase(first, last);
  const std::string pieces =
      split.pipeline_parallel > 1 ? fmt::format(" ({} micro-batches)", split.micro_batches) : std::string();
  std::string more = split.disaggregated ? ", prefill and decode apart" : "";
  if (split.replicas > 1) more += fmt::format(", {} replicas", split.replicas);
  if (!more.empty()) more += ",";
  return fmt::format("tp {}, pp {}{}{} on {} rank{} of {}", split.tensor_parallel, split.pipeline_parallel, pieces,
                     more, split.hosts.size(), split.hosts.size() == 1 ? "" : "s", fmt::join(hosts, ", "));
}

std::string describe_failure(const TapCheck& check) {
  const Mismatch at = check.worst.value_or(Mismatch{});
  const std::string layer = check.layer < 0 ? "" : fmt::format("layer {}, ", check.layer);
  return fmt::format(
      "{} {} ({}), sequence {}, position {}, {}tap {}, element {}: expected {:.9g}, computed {:.9g}; error {} is {} "
      "the limit {} ({} from the expected value rounded to its type, which that moves by {}), the worst of {} straying "
      "elements of {}",
      name(check.mode), check.method, check.call, at.batch_row, at.position, layer, check.tap, at.element, at.expected,
      at.computed, number(check.error), std::isfinite(check.ratio) ? number(check.ratio) + " times" : "beyond",
      number(check.limit), number(check.rounded_error), number(check.rounding), check.straying, check.elements);
}

Verdict verdict_of(std::span<const BackendVerification> results) {
  const auto any = [&](Verdict verdict) {
    return std::ranges::any_of(results, [&](const BackendVerification& r) { return r.verdict() == verdict; });
  };
  if (any(Verdict::failed) || any(Verdict::error)) return Verdict::failed;
  if (any(Verdict::untrusted)) return Verdict::untrusted;
  return any(Verdict::passed) ? Verdict::passed : Verdict::unsupported;
}

std::string to_text(const BackendVerification& result, bool color) {
  std::string out = heading(result) + taps(result, color) + logits(result) + schedules(result, color) +
                    invariances(result, color) + distances(result);
  auto to = std::back_inserter(out);
  for (const Unsupported& u : result.unsupported) {
    fmt::format_to(to, "unsupported: {}: {}\n", one_line(u.what), one_line(u.reason));
  }
  fmt::format_to(to, "{}\n", show(result.verdict(), color));
  if (!result.error.empty()) fmt::format_to(to, "the backend failed: {}\n", one_line(result.error));
  add_findings(to, "fault", result.faults);
  add_findings(to, "untrusted", result.untrusted);
  const std::vector<Cause> causes = causes_of(result);
  for (const Cause& cause : causes) fmt::format_to(to, "{}\n", describe(cause));
  if (const TapCheck* first = result.first_failure()) {
    fmt::format_to(to, "first tap that strays: {}\n", one_line(describe_failure(*first)));
    if (!result.again.empty()) fmt::format_to(to, "again: {}\n", one_line(result.again));
  }
  return out;
}

std::string summary_text(std::span<const BackendVerification> results, bool color) {
  const bool exact = std::ranges::any_of(results, has_exact);
  std::vector<Table::Column> columns = {
      {"model", Align::left}, {"backend", Align::left}, {"dtype", Align::left}, {"checks", Align::right}};
  for (const VerifyMode mode : columns_of(exact)) columns.push_back({std::string(name(mode)), Align::right});
  columns.push_back({"verdict", Align::left});
  Table table(columns);
  for (const BackendVerification& r : results) {
    std::vector<std::string> cells = {one_line(r.model), one_line(r.backend), one_line(r.dtype),
                                      fmt::format("{}", r.checks.size())};
    for (const VerifyMode mode : columns_of(exact)) cells.push_back(worst_text(r, mode));
    cells.push_back(show(r.verdict(), color));
    table.add(std::move(cells));
  }
  return table.text();
}

}  // namespace mlbench::reports
