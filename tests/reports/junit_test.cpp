// JUnit reports, read back with a parser and held against the schema.
#include "reports/junit.h"

#include <cstdlib>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <pugixml.hpp>

#include "tests/reports/example_run.h"
#include "tests/support/temp_dir.h"

namespace mlbench::reports {
namespace {

using mlbench::test::TempDir;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kHostile = "<&>\"' ]]> \x01\x1b[31m \x7f \t tab\nline";

class JUnit : public ::testing::Test {
 protected:
  pugi::xml_node parse(const std::vector<BackendVerification>& runs) {
    text_ = to_junit(runs);
    EXPECT_TRUE(document_.load_string(text_.c_str())) << text_;
    return document_.child("testsuites");
  }

  // What a suite or all suites count, against their cases.
  static void expect_counts(const pugi::xml_node& node, const std::string& cases) {
    const auto count = [&](const std::string& with) {
      return static_cast<int>(node.select_nodes((cases + with).c_str()).size());
    };
    EXPECT_EQ(node.attribute("tests").as_int(-1), count(""));
    EXPECT_EQ(node.attribute("failures").as_int(-1), count("[failure]"));
    EXPECT_EQ(node.attribute("errors").as_int(-1), count("[error]"));
    EXPECT_EQ(node.attribute("skipped").as_int(-1), count("[skipped]"));
  }

  std::string text_;
  pugi::xml_document document_;
};

std::vector<BackendVerification> all_kinds() {
  return {test::passed_run(), test::failed_run(), test::unsupported_run(), test::broken_run()};
}

std::vector<BackendVerification> hostile() {
  BackendVerification run = test::failed_run();
  run.model = run.version = run.architecture = run.backend = run.dtype = kHostile;
  run.checks[2].call = run.checks[2].worst->element = kHostile;
  run.unsupported = {{kHostile, kHostile}};
  run.error = kHostile;
  return {run};
}

TEST_F(JUnit, HasASuiteForEachRunAndACaseForEachModeMethodAndLayer) {
  const pugi::xml_node suites = parse({test::passed_run()});
  const pugi::xml_node suite = suites.child("testsuite");
  EXPECT_STREQ(suite.attribute("name").value(), "llama.cpu.bf16");
  EXPECT_STREQ(suite.child("properties").first_child().attribute("value").value(), "llama-small");
  std::vector<std::string> cases;
  for (const pugi::xml_node& node : suite.children("testcase")) {
    cases.emplace_back(node.attribute("name").value());
    EXPECT_STREQ(node.attribute("classname").value(), "llama.cpu.bf16");
    EXPECT_FALSE(node.child("failure"));
  }
  EXPECT_THAT(cases, ::testing::ElementsAre("isolated prefill outside the layers", "isolated prefill layer 0",
                                            "isolated prefill layer 1", "chained prefill layer 0",
                                            "chained decode outside the layers"));
}

TEST_F(JUnit, CountsAddUp) {
  const pugi::xml_node suites = parse(all_kinds());
  int runs = 0;
  for (const pugi::xml_node& suite : suites.children("testsuite")) {
    expect_counts(suite, "testcase");
    ++runs;
  }
  EXPECT_EQ(runs, 4);
  expect_counts(suites, "testsuite/testcase");
  EXPECT_EQ(suites.attribute("failures").as_int(), 2);
  EXPECT_EQ(suites.attribute("errors").as_int(), 1);
  EXPECT_EQ(suites.attribute("skipped").as_int(), 1);
}

TEST_F(JUnit, AFailureSaysWhereAndByHowMuch) {
  const pugi::xml_node suites = parse({test::failed_run()});
  const pugi::xml_node failure =
      suites.select_node("testsuite/testcase[@name='isolated prefill layer 1']/failure").node();
  EXPECT_THAT(failure.attribute("message").value(), HasSubstr("tap layers.1.attn.q"));
  EXPECT_THAT(failure.attribute("message").value(), HasSubstr("500 times"));
}

TEST_F(JUnit, KeepsWhatXmlCanHoldAndReplacesTheRest) {
  const pugi::xml_node suites = parse(hostile());
  const pugi::xml_node error = suites.select_node("testsuite/testcase/error").node();
  const std::string message = error.attribute("message").value();
  EXPECT_THAT(message, HasSubstr("<&>\"' ]]> ?"));
  EXPECT_THAT(message, Not(HasSubstr("\x1b")));
  expect_counts(suites, "testsuite/testcase");
}

TEST_F(JUnit, HasNoControlCharactersAnywhere) {
  parse(hostile());
  for (const char c : text_) {
    EXPECT_FALSE(static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t') << static_cast<int>(c);
  }
  for (const char* reference : {"&#01;", "&#1;", "&#27;"}) EXPECT_THAT(text_, Not(HasSubstr(reference)));
}

TEST_F(JUnit, IsDeclaredAsUtf8AndIsIt) {
  BackendVerification run = test::broken_run();
  run.error = "caf\xc3\xa9 \xff\xfe broken";  // an error may carry any bytes
  parse({run});
  EXPECT_THAT(text_, HasSubstr("encoding=\"UTF-8\""));
  EXPECT_THAT(text_, HasSubstr("caf\xc3\xa9"));
  EXPECT_THAT(text_, Not(HasSubstr("\xff")));
}

TEST_F(JUnit, OfNoRunsIsAnEmptyReport) {
  const pugi::xml_node suites = parse({});
  EXPECT_FALSE(suites.first_child());
  EXPECT_STREQ(suites.attribute("tests").value(), "0");
}

TEST_F(JUnit, FollowsTheSchema) {
  if (std::system("command -v xmllint >/dev/null") != 0) GTEST_SKIP() << "xmllint is not installed";  // NOLINT
  const TempDir dir;
  BackendVerification bytes = test::broken_run();
  bytes.error = "\xff\xfe";
  const std::vector<std::vector<BackendVerification>> reports = {all_kinds(), hostile(), {}, {bytes}};
  for (std::size_t i = 0; i < reports.size(); ++i) {
    const std::string path = dir / fmt::format("report{}.xml", i);
    mlbench::test::write_file(path, to_junit(reports[i]));
    const std::string command = fmt::format("xmllint --noout --schema '{}/junit.xsd' '{}' 2>'{}/said'",
                                            MLBENCH_TEST_DATA, path, dir.path().string());
    EXPECT_EQ(std::system(command.c_str()), 0) << i << ": " << mlbench::test::read_file(dir / "said");  // NOLINT
  }
}

}  // namespace
}  // namespace mlbench::reports
