#include "reports/junit.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <sstream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <pugixml.hpp>

#include "reports/backend_report.h"

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

// UTF-8 without control characters: XML 1.0 has no place for them, escaped or not.
std::string xml_text(const std::string& value) {
  using nlohmann::json;
  std::string text = json::parse(json(value).dump(-1, ' ', false, json::error_handler_t::replace)).get<std::string>();
  std::ranges::replace_if(
      text, [](unsigned char c) { return c < 0x20 && c != '\t' && c != '\n'; }, '?');
  return text;
}

void set(pugi::xml_node node, const char* attribute, const std::string& value) {
  node.append_attribute(attribute).set_value(xml_text(value).c_str());
}

void add_property(pugi::xml_node properties, const std::string& name, const std::string& value) {
  const pugi::xml_node property = properties.append_child("property");
  set(property, "name", name);
  set(property, "value", value);
}

pugi::xml_node add_case(pugi::xml_node suite, const std::string& class_name, const std::string& name) {
  const pugi::xml_node node = suite.append_child("testcase");
  set(node, "classname", class_name);
  set(node, "name", name);
  set(node, "time", "0");
  return node;
}

struct Counts {
  int tests = 0, failures = 0, errors = 0, skipped = 0;
};

Counts fill(pugi::xml_node suite, const BackendVerification& result, const std::string& class_name) {
  Counts counts;
  for (const Case& c : cases_of(result)) {
    ++counts.tests;
    pugi::xml_node node = add_case(suite, class_name, c.name);
    const auto worst = *std::ranges::max_element(c.checks, {}, [](const TapCheck* check) { return check->ratio; });
    const auto first = std::ranges::find_if(c.checks, [](const TapCheck* check) { return !check->passed; });
    if (first != c.checks.end()) {
      ++counts.failures;
      const pugi::xml_node failure = node.append_child("failure");
      set(failure, "message", describe_failure(**first));
      set(failure, "type", "bound");
    }
    node.append_child("system-out")
        .text()
        .set(xml_text(fmt::format("{} checks, worst error/limit {:.3g} at {} of {}", c.checks.size(), worst->ratio,
                                  worst->tap, worst->call))
                 .c_str());
  }
  for (const Unsupported& u : result.unsupported) {
    ++counts.tests;
    ++counts.skipped;
    set(add_case(suite, class_name, u.what).append_child("skipped"), "message", u.reason);
  }
  if (!result.error.empty()) {
    ++counts.tests;
    ++counts.errors;
    const pugi::xml_node error = add_case(suite, class_name, "run").append_child("error");
    set(error, "message", result.error);
    set(error, "type", "backend");
  }
  return counts;
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
    pugi::xml_node properties = suite.append_child("properties");
    add_property(properties, "model", result.model);
    add_property(properties, "version", result.version);
    for (const auto& [what, type] : result.arithmetic) add_property(properties, what, type);
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
