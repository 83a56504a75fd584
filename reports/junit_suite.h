// JUnit XML in the making, in the dialect of tests/data/junit.xsd: suites of cases, counted as they are filled. All
// text is cleaned of what XML has no place for.
#pragma once

#include <functional>
#include <map>
#include <string>

#include <pugixml.hpp>

namespace mlbench::reports {

struct JUnitCounts {
  int tests = 0, failures = 0, errors = 0, skipped = 0;
};

// A suite that is being filled. Readers tell cases apart by name: one that comes again gets a number.
class JUnitSuite {
 public:
  JUnitSuite(pugi::xml_node node, std::string class_name) : node_(node), class_name_(std::move(class_name)) {}

  [[nodiscard]] const JUnitCounts& counts() const { return counts_; }
  void property(const std::string& name, const std::string& value);
  void pass(const std::string& name, const std::string& said);
  void fail(const std::string& name, const std::string& type, const std::string& message, const std::string& said);
  void break_off(const std::string& name, const std::string& type, const std::string& message);
  void skip(const std::string& name, const std::string& message);

 private:
  pugi::xml_node add(const std::string& name);

  pugi::xml_node node_;
  std::string class_name_;
  std::map<std::string, int> times_;
  JUnitCounts counts_;
};

class JUnitDocument {
 public:
  explicit JUnitDocument(const std::string& name);

  void add_suite(const std::string& name, const std::function<void(JUnitSuite&)>& fill);
  [[nodiscard]] std::string text();  // once, when all suites are there

 private:
  pugi::xml_document document_;
  pugi::xml_node suites_;
  JUnitCounts counts_;
};

}  // namespace mlbench::reports
