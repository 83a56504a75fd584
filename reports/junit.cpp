#include "reports/junit.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "reports/backend_report.h"
#include "reports/figures.h"
#include "reports/junit_suite.h"
#include "reports/schedules.h"
#include "reports/tap_summary.h"

namespace mlbench::reports {
namespace {

// The checks of one mode, method and layer.
struct Case {
  std::string name;
  std::vector<const TapCheck*> checks;
};

std::vector<Case> cases_of(const BackendVerification& result) {
  std::vector<Case> cases;
  std::map<std::string, std::size_t> index;
  for (const TapCheck& check : result.checks) {
    const std::string where = check.layer < 0 ? "outside the layers" : fmt::format("layer {}", check.layer);
    const std::string name = fmt::format("{} {} {}", mlbench::name(check.mode), check.method, where);
    const auto [it, fresh] = index.try_emplace(name, cases.size());
    if (fresh) cases.push_back({name, {}});
    cases[it->second].checks.push_back(&check);
  }
  return cases;
}

void add_checks(JUnitSuite& suite, const BackendVerification& result) {
  for (const Case& c : cases_of(result)) {
    TapSummary summary;
    for (const TapCheck* check : c.checks) summary.add(*check);
    const std::string said = fmt::format("{}, worst error/limit {} at {} of {}", counted(summary.checks, "check"),
                                         ratio_text(*summary.worst), summary.worst->tap, summary.worst->call);
    const auto first = std::ranges::find_if(c.checks, [](const TapCheck* check) { return !check->passed; });
    if (first == c.checks.end()) {
      suite.pass(c.name, said);
    } else {
      const std::string guess = (*first)->guess.empty() ? "" : "; it looks like: " + (*first)->guess;
      suite.fail(c.name, "bound", describe_failure(**first) + guess, said);
    }
  }
}

void add_findings(JUnitSuite& suite, const BackendVerification& result) {
  const auto add = [&](const std::string& what, const Finding& f) {
    suite.fail(fmt::format("{} {}{}{}", what, f.code, f.where.empty() ? "" : " ", f.where), f.code,
               fmt::format("{}: {}", f.code, f.text), "");
  };
  for (const Finding& fault : result.faults) add("fault", fault);
  for (const Finding& reason : result.untrusted) add("untrusted", reason);
}

void add_comparisons(JUnitSuite& suite, const BackendVerification& result) {
  for (const ScheduleComparison& pair : result.schedules) {
    const std::string name = fmt::format("schedule {} / {}", pair.a, pair.b);
    if (pair.passed) {
      suite.pass(name, describe(pair));
    } else {
      suite.fail(name, "schedule", describe(pair), "");
    }
  }
  for (const Invariance& i : result.invariances) {
    if (i.required && !i.holds) {
      suite.fail("invariance " + i.property, "invariance", describe(i), "");
    } else {
      suite.pass("invariance " + i.property, describe(i) + (i.required ? "" : "; not required"));
    }
  }
}

// Figures that no case has a place for.
void add_properties(JUnitSuite& suite, const BackendVerification& result) {
  suite.property("model", result.model);
  suite.property("version", result.version);
  suite.property("device", result.device);
  suite.property("seed", std::to_string(result.seed));
  suite.property("verdict", std::string(name(result.verdict())));
  for (const auto& [what, type] : result.arithmetic) suite.property(what, type);
  for (const VerifyMode mode : kVerifyModes) {
    if (worst_check(result, mode) != nullptr) {
      suite.property(fmt::format("worst_ratio.{}", name(mode)), worst_text(result, mode));
    }
  }
  if (!result.logits) return;
  const LogitsAgreement& logits = *result.logits;
  suite.property("logits.rows", std::to_string(logits.rows));
  suite.property("logits.mean_kl", number(logits.mean_kl));
  suite.property("logits.max_kl", number(logits.max_kl));
  suite.property("logits.same_top1", std::to_string(logits.same_top1));
  suite.property("logits.close_top1", std::to_string(logits.close_top1));
  suite.property("logits.mean_top10_overlap", number(logits.mean_top10_overlap));
}

void fill(JUnitSuite& suite, const BackendVerification& result) {
  add_properties(suite, result);
  add_checks(suite, result);
  add_findings(suite, result);
  add_comparisons(suite, result);
  for (const Unsupported& u : result.unsupported) suite.skip(u.what, u.reason);
  if (!result.error.empty()) suite.break_off("run", "backend", result.error);
}

}  // namespace

std::string to_junit(std::span<const BackendVerification> results) {
  JUnitDocument document("mlbench verify");
  for (const BackendVerification& result : results) {
    const std::string name = fmt::format("{}.{}.{}", result.architecture, result.backend, result.dtype);
    document.add_suite(name, [&](JUnitSuite& suite) { fill(suite, result); });
  }
  return document.text();
}

}  // namespace mlbench::reports
