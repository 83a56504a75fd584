#include "reports/markdown.h"

#include <algorithm>
#include <iterator>

#include <fmt/format.h>

#include "reports/backend_report.h"
#include "reports/figures.h"
#include "reports/schedules.h"
#include "reports/tap_summary.h"

namespace mlbench::reports {
namespace {

using Verdict = BackendVerification::Verdict;
using Out = std::back_insert_iterator<std::string>;

// GitHub takes comments of 65536 characters; what a table leaves out is counted.
constexpr std::size_t kMostRows = 20;

std::string_view show(Verdict verdict) {
  switch (verdict) {
    case Verdict::passed: return "passed";
    case Verdict::failed: return "**FAILED**";
    case Verdict::untrusted: return "**UNTRUSTED**";
    case Verdict::error: return "**ERROR**";
    case Verdict::unsupported: return "unsupported";
  }
  return "";
}

std::string verdict_line(std::span<const BackendVerification> results) {
  std::string counts;
  for (const Verdict verdict :
       {Verdict::passed, Verdict::failed, Verdict::untrusted, Verdict::error, Verdict::unsupported}) {
    const auto count = std::ranges::count_if(results, [&](const auto& r) { return r.verdict() == verdict; });
    if (count > 0) counts += fmt::format("{}{} {}", counts.empty() ? "" : ", ", count, name(verdict));
  }
  return fmt::format("### mlbench verify: {}\n\n{}: {}\n", name(verdict_of(results)),
                     counted(static_cast<long long>(results.size()), "run"), counts.empty() ? "none" : counts);
}

void add_runs(Out to, std::span<const BackendVerification> results) {
  std::vector<VerifyMode> modes;
  for (const VerifyMode mode : kVerifyModes) {
    if (std::ranges::any_of(results, [&](const auto& r) { return worst_check(r, mode) != nullptr; }))
      modes.push_back(mode);
  }
  std::string titles, rule;
  for (const VerifyMode mode : modes) {
    titles += fmt::format(" worst {} |", name(mode));
    rule += "---:|";
  }
  fmt::format_to(to, "\n| model | arch | backend | dtype | verdict | checks | failed |{}\n", titles);
  fmt::format_to(to, "|---|---|---|---|---|---:|---:|{}\n", rule);
  for (const BackendVerification& r : results) {
    fmt::format_to(to, "| {} | {} | {} | {} | {} | {} | {} |", markdown_code(r.model), markdown_code(r.architecture),
                   markdown_code(r.backend), markdown_code(r.dtype), show(r.verdict()), r.checks.size(),
                   std::ranges::count_if(r.checks, [](const TapCheck& check) { return !check.passed; }));
    for (const VerifyMode mode : modes) fmt::format_to(to, " {} |", worst_text(r, mode));
    fmt::format_to(to, "\n");
  }
  if (!modes.empty()) fmt::format_to(to, "\nWorst: the largest error / limit; up to 1 passes.\n");
}

void add_findings(Out to, std::string_view what, const std::vector<Finding>& findings) {
  for (std::size_t i = 0; i < std::min(findings.size(), kMostRows); ++i) {
    const Finding& f = findings[i];
    fmt::format_to(to, "- {} {}{}{}: {}\n", what, markdown_code(f.code), f.where.empty() ? "" : " in ",
                   markdown_code(f.where), markdown_code(f.text));
  }
  if (findings.size() > kMostRows) fmt::format_to(to, "- {} more\n", findings.size() - kMostRows);
}

void add_comparisons(Out to, const BackendVerification& r) {
  std::size_t left_out = 0;
  for (const ScheduleComparison& pair : r.schedules) {
    if (pair.passed) continue;
    if (left_out < kMostRows) fmt::format_to(to, "- schedules {}\n", markdown_code(describe(pair)));
    ++left_out;
  }
  if (left_out > kMostRows) fmt::format_to(to, "- {} more\n", left_out - kMostRows);
  for (const Invariance& i : r.invariances) {
    if (i.required && !i.holds) fmt::format_to(to, "- invariance {}\n", markdown_code(describe(i)));
  }
}

void add_causes(Out to, const BackendVerification& r) {
  const std::vector<Cause> causes = causes_of(r);
  if (causes.empty()) return;
  fmt::format_to(to, "\n| mode | tap | failed | layers | calls | looks like | first in | error / limit |\n");
  fmt::format_to(to, "|---|---|---:|---|---:|---|---|---:|\n");
  for (std::size_t i = 0; i < std::min(causes.size(), kMostRows); ++i) {
    const Cause& cause = causes[i];
    fmt::format_to(to, "| {} | {} | {} | {} | {} | {} | {} | {} |\n", modes_text(cause), markdown_code(cause.kind),
                   cause.checks, layers_text(cause), cause.calls.size(), markdown_code(cause.guess),
                   markdown_code(cause.first->call), ratio_text(*cause.first));
  }
  if (causes.size() > kMostRows) fmt::format_to(to, "\n{} more causes\n", causes.size() - kMostRows);
}

void add_run(Out to, const BackendVerification& r) {
  fmt::format_to(to, "\n#### {} on {}, {}: {}\n\n", markdown_code(r.model), markdown_code(r.backend),
                 markdown_code(r.dtype), name(r.verdict()));
  if (!r.error.empty()) fmt::format_to(to, "- the backend failed: {}\n", markdown_code(r.error));
  add_findings(to, "fault", r.faults);
  add_findings(to, "untrusted", r.untrusted);
  add_comparisons(to, r);
  for (const Unsupported& u : r.unsupported) {
    fmt::format_to(to, "- unsupported: {}: {}\n", markdown_code(u.what), markdown_code(u.reason));
  }
  add_causes(to, r);
  if (const TapCheck* first = r.first_failure()) {
    fmt::format_to(to, "\nFirst tap that strays: {}\n", markdown_code(describe_failure(*first)));
  }
  if (!r.again.empty()) fmt::format_to(to, "\nAgain:\n\n{}", markdown_block(r.again));
}

}  // namespace

std::string to_markdown(std::span<const BackendVerification> results) {
  std::string out = verdict_line(results);
  auto to = std::back_inserter(out);
  if (!results.empty()) add_runs(to, results);
  for (const BackendVerification& r : results) {
    if (!r.passed()) add_run(to, r);
  }
  return out;
}

}  // namespace mlbench::reports
