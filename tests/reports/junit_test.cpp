// JUnit reports, read back with a parser and held against the schema.
#include "reports/junit.h"

#include <cmath>
#include <cstdlib>
#include <set>

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
  return {test::passed_run(), test::failed_run(),    test::unsupported_run(),
          test::broken_run(), test::untrusted_run(), test::full_run()};
}

std::vector<BackendVerification> hostile() { return {test::run_full_of(kHostile)}; }

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
  EXPECT_EQ(runs, 6);
  expect_counts(suites, "testsuite/testcase");
  EXPECT_EQ(suites.attribute("failures").as_int(), 10);  // 2, and 1 without trust, and 7 of the run that has all
  EXPECT_EQ(suites.attribute("errors").as_int(), 1);
  EXPECT_EQ(suites.attribute("skipped").as_int(), 2);
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

TEST_F(JUnit, HasACaseForEachFindingScheduleAndInvariance) {
  const pugi::xml_node suite = parse({test::full_run()}).child("testsuite");
  const auto outcome = [&](const std::string& name) {
    const pugi::xml_node node = suite.find_child_by_attribute("testcase", "name", name.c_str());
    if (!node) return std::string("absent");
    return std::string(node.child("failure") ? node.child("failure").attribute("type").value() : "passed");
  };
  EXPECT_EQ(outcome("exact prefill layer 1"), "bound");
  EXPECT_EQ(outcome("exact prefill outside the layers"), "passed");
  EXPECT_EQ(outcome("fault memory.canary single/0 prefill, logits"), "memory.canary");
  EXPECT_EQ(outcome("untrusted untrusted.loose layers.0.attn.q"), "untrusted.loose");
  EXPECT_EQ(outcome("schedule whole / chunked"), "passed");
  EXPECT_EQ(outcome("schedule whole / page size 1"), "passed");
  EXPECT_EQ(outcome("schedule chunked / page size 1"), "schedule");
  EXPECT_EQ(outcome("invariance run to run"), "passed");
  EXPECT_EQ(outcome("invariance batch"), "passed");  // does not hold and need not
  EXPECT_EQ(outcome("invariance taps on = off"), "invariance");
}

TEST_F(JUnit, OfAFailureSaysWhatItLooksLike) {
  const pugi::xml_node suite = parse({test::full_run()}).child("testsuite");
  EXPECT_THAT(suite.select_node("testcase/failure").node().attribute("message").value(),
              HasSubstr("; it looks like: halves of a head are swapped"));
}

TEST_F(JUnit, HasTheFiguresOfARunAsProperties) {
  const pugi::xml_node properties = parse({test::full_run()}).child("testsuite").child("properties");
  const auto value = [&](const char* name) {
    return std::string(properties.find_child_by_attribute("property", "name", name).attribute("value").value());
  };
  EXPECT_EQ(value("verdict"), "failed");
  EXPECT_EQ(value("seed"), "7");
  EXPECT_EQ(value("worst_ratio.isolated"), "500");
  EXPECT_EQ(value("worst_ratio.exact"), "limit 0");
  EXPECT_EQ(value("logits.max_kl"), "0.25");
  EXPECT_EQ(value("logits.same_top1"), "97");
  EXPECT_EQ(value("logits.mean_top10_overlap"), "0.995");
}

// Readers tell cases apart by their names.
TEST_F(JUnit, NamesNoTwoCasesAlike) {
  BackendVerification run = test::full_run();
  run.faults.push_back(run.faults.front());
  const pugi::xml_node suite = parse({run}).child("testsuite");
  std::set<std::string> names;
  for (const pugi::xml_node& node : suite.children("testcase"))
    EXPECT_TRUE(names.insert(node.attribute("name").value()).second) << node.attribute("name").value();
}

TEST_F(JUnit, SurvivesFiguresThatAreNone) {
  for (const double figure : {std::numeric_limits<double>::infinity(), std::nan("")}) {
    const pugi::xml_node suites = parse({test::run_full_of(figure)});
    expect_counts(suites, "testsuite/testcase");
    EXPECT_THAT(text_, HasSubstr("name=\"logits.mean_kl\" value=\"not finite\""));
  }
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
