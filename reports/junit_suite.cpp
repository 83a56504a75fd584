#include "reports/junit_suite.h"

#include <sstream>

#include <fmt/format.h>

#include "reports/figures.h"

namespace mlbench::reports {
namespace {

void set(pugi::xml_node node, const char* attribute, const std::string& value) {
  node.append_attribute(attribute).set_value(clean_text(value).c_str());
}

void set_reason(pugi::xml_node node, const std::string& type, const std::string& message) {
  set(node, "message", message);
  set(node, "type", type);
}

void say(pugi::xml_node node, const std::string& said) {
  if (!said.empty()) node.append_child("system-out").text().set(clean_text(said).c_str());
}

void set_counts(pugi::xml_node node, const JUnitCounts& counts) {
  set(node, "tests", std::to_string(counts.tests));
  set(node, "failures", std::to_string(counts.failures));
  set(node, "errors", std::to_string(counts.errors));
  set(node, "skipped", std::to_string(counts.skipped));
  set(node, "time", "0");
}

}  // namespace

void JUnitSuite::property(const std::string& name, const std::string& value) {
  pugi::xml_node properties = node_.child("properties");
  if (!properties) properties = node_.prepend_child("properties");
  const pugi::xml_node property = properties.append_child("property");
  set(property, "name", name);
  set(property, "value", value);
}

void JUnitSuite::pass(const std::string& name, const std::string& said) { say(add(name), said); }

void JUnitSuite::fail(const std::string& name, const std::string& type, const std::string& message,
                      const std::string& said) {
  pugi::xml_node node = add(name);
  ++counts_.failures;
  set_reason(node.append_child("failure"), type, message);
  say(node, said);
}

void JUnitSuite::break_off(const std::string& name, const std::string& type, const std::string& message) {
  ++counts_.errors;
  set_reason(add(name).append_child("error"), type, message);
}

void JUnitSuite::skip(const std::string& name, const std::string& message) {
  ++counts_.skipped;
  set(add(name).append_child("skipped"), "message", message);
}

pugi::xml_node JUnitSuite::add(const std::string& name) {
  ++counts_.tests;
  const int times = ++times_[name];
  pugi::xml_node node = node_.append_child("testcase");
  set(node, "classname", class_name_);
  set(node, "name", times == 1 ? name : fmt::format("{} ({})", name, times));
  set(node, "time", "0");
  return node;
}

JUnitDocument::JUnitDocument(const std::string& name) {
  const pugi::xml_node declaration = document_.append_child(pugi::node_declaration);
  set(declaration, "version", "1.0");
  set(declaration, "encoding", "UTF-8");
  suites_ = document_.append_child("testsuites");
  set(suites_, "name", name);
}

void JUnitDocument::add_suite(const std::string& name, const std::function<void(JUnitSuite&)>& fill) {
  const pugi::xml_node node = suites_.append_child("testsuite");
  set(node, "name", name);
  JUnitSuite suite(node, name);
  fill(suite);
  set_counts(node, suite.counts());
  counts_.tests += suite.counts().tests;
  counts_.failures += suite.counts().failures;
  counts_.errors += suite.counts().errors;
  counts_.skipped += suite.counts().skipped;
}

std::string JUnitDocument::text() {
  set_counts(suites_, counts_);
  std::ostringstream out;
  document_.save(out, "  ");
  return out.str();
}

}  // namespace mlbench::reports
