#include "reports/junit.h"

#include <algorithm>
#include <map>
#include <sstream>

#include <fmt/format.h>
#include <pugixml.hpp>

#include "reports/backend_report.h"
#include "reports/figures.h"
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

void set(pugi::xml_node node, const char* attribute, const std::string& value) {
  node.append_attribute(attribute).set_value(clean_text(value).c_str());
}

void add_property(pugi::xml_node properties, const std::string& name, const std::string& value) {
  const pugi::xml_node property = properties.append_child("property");
  set(property, "name", name);
  set(property, "value", value);
}

struct Counts {
  int tests = 0, failures = 0, errors = 0, skipped = 0;
};

// A suite that is being filled. Readers tell cases apart by name: one that comes again gets a number.
class Suite {
 public:
  Suite(pugi::xml_node node, std::string class_name) : node_(node), class_name_(std::move(class_name)) {}

  [[nodiscard]] const Counts& counts() const { return counts_; }
  void pass(const std::string& name, const std::string& said) { say(add(name), said); }
  void fail(const std::string& name, const std::string& type, const std::string& message, const std::string& said) {
    pugi::xml_node node = add(name);
    ++counts_.failures;
    set_reason(node.append_child("failure"), type, message);
    say(node, said);
  }
  void break_off(const std::string& name, const std::string& type, const std::string& message) {
    ++counts_.errors;
    set_reason(add(name).append_child("error"), type, message);
  }
  void skip(const std::string& name, const std::string& message) {
    ++counts_.skipped;
    set(add(name).append_child("skipped"), "message", message);
  }

 private:
  pugi::xml_node add(const std::string& name) {
    ++counts_.tests;
    const int times = ++times_[name];
    pugi::xml_node node = node_.append_child("testcase");
    set(node, "classname", class_name_);
    set(node, "name", times == 1 ? name : fmt::format("{} ({})", name, times));
    set(node, "time", "0");
    return node;
  }
  static void set_reason(pugi::xml_node node, const std::string& type, const std::string& message) {
    set(node, "message", message);
    set(node, "type", type);
  }
  static void say(pugi::xml_node node, const std::string& said) {
    if (!said.empty()) node.append_child("system-out").text().set(clean_text(said).c_str());
  }

  pugi::xml_node node_;
  std::string class_name_;
  std::map<std::string, int> times_;
  Counts counts_;
};

void add_checks(Suite& suite, const BackendVerification& result) {
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

void add_findings(Suite& suite, const BackendVerification& result) {
  const auto add = [&](const std::string& what, const Finding& f) {
    suite.fail(fmt::format("{} {}{}{}", what, f.code, f.where.empty() ? "" : " ", f.where), f.code,
               fmt::format("{}: {}", f.code, f.text), "");
  };
  for (const Finding& fault : result.faults) add("fault", fault);
  for (const Finding& reason : result.untrusted) add("untrusted", reason);
}

void add_comparisons(Suite& suite, const BackendVerification& result) {
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

Counts fill(pugi::xml_node node, const BackendVerification& result, const std::string& class_name) {
  Suite suite(node, class_name);
  add_checks(suite, result);
  add_findings(suite, result);
  add_comparisons(suite, result);
  for (const Unsupported& u : result.unsupported) suite.skip(u.what, u.reason);
  if (!result.error.empty()) suite.break_off("run", "backend", result.error);
  return suite.counts();
}

// Figures that no case has a place for.
void add_properties(pugi::xml_node properties, const BackendVerification& result) {
  add_property(properties, "model", result.model);
  add_property(properties, "version", result.version);
  add_property(properties, "device", result.device);
  add_property(properties, "seed", std::to_string(result.seed));
  add_property(properties, "verdict", std::string(name(result.verdict())));
  for (const auto& [what, type] : result.arithmetic) add_property(properties, what, type);
  for (const VerifyMode mode : kVerifyModes) {
    if (worst_check(result, mode) != nullptr) {
      add_property(properties, fmt::format("worst_ratio.{}", name(mode)), worst_text(result, mode));
    }
  }
  if (!result.logits) return;
  const LogitsAgreement& logits = *result.logits;
  add_property(properties, "logits.rows", std::to_string(logits.rows));
  add_property(properties, "logits.mean_kl", number(logits.mean_kl));
  add_property(properties, "logits.max_kl", number(logits.max_kl));
  add_property(properties, "logits.same_top1", std::to_string(logits.same_top1));
  add_property(properties, "logits.close_top1", std::to_string(logits.close_top1));
  add_property(properties, "logits.mean_top10_overlap", number(logits.mean_top10_overlap));
}

void set_counts(pugi::xml_node node, const Counts& counts) {
  set(node, "tests", std::to_string(counts.tests));
  set(node, "failures", std::to_string(counts.failures));
  set(node, "errors", std::to_string(counts.errors));
  set(node, "skipped", std::to_string(counts.skipped));
  set(node, "time", "0");
}

}  // namespace

std::string to_junit(std::span<const BackendVerification> results) {
  pugi::xml_document document;
  const pugi::xml_node declaration = document.append_child(pugi::node_declaration);
  set(declaration, "version", "1.0");
  set(declaration, "encoding", "UTF-8");
  pugi::xml_node suites = document.append_child("testsuites");
  set(suites, "name", "mlbench verify");
  Counts all;
  for (const BackendVerification& result : results) {
    const std::string class_name = fmt::format("{}.{}.{}", result.architecture, result.backend, result.dtype);
    pugi::xml_node suite = suites.append_child("testsuite");
    set(suite, "name", class_name);
    add_properties(suite.append_child("properties"), result);
    const Counts counts = fill(suite, result, class_name);
    set_counts(suite, counts);
    all.tests += counts.tests;
    all.failures += counts.failures;
    all.errors += counts.errors;
    all.skipped += counts.skipped;
  }
  set_counts(suites, all);
  std::ostringstream out;
  document.save(out, "  ");
  return out.str();
}

}  // namespace mlbench::reports
