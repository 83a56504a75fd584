// What follows from the parts of a result: its verdict, and what is named first.
#include "core/results.h"

#include <set>

#include <gtest/gtest.h>

namespace mlbench {
namespace {

using Verdict = BackendVerification::Verdict;

TapCheck check(VerifyMode mode, const std::string& tap, bool passed) {
  TapCheck out;
  out.mode = mode;
  out.tap = tap;
  out.passed = passed;
  return out;
}

BackendVerification passed_run() {
  BackendVerification run;
  run.checks = {check(VerifyMode::isolated, "embed", true), check(VerifyMode::chained, "embed", true)};
  return run;
}

TEST(Verdict, IsPassedWhereAllPassed) {
  BackendVerification run = passed_run();
  run.schedules = {{.a = "whole", .b = "tree", .passed = true}};
  run.invariances = {{.property = "taps on = off", .holds = true, .required = true},
                     {.property = "run to run", .holds = false, .required = false}};
  run.unsupported = {{"tap mlp.act", "fused"}};
  run.warnings = {"a tensor is not used"};
  EXPECT_EQ(run.verdict(), Verdict::passed);
  EXPECT_TRUE(run.passed());
}

// Each by itself is enough.
TEST(Verdict, IsFailedForATapAFaultAScheduleOrARequiredInvariance) {
  BackendVerification tap = passed_run(), fault = tap, schedule = tap, invariance = tap;
  tap.checks.back().passed = false;
  fault.faults = {{"memory.canary", "here", "overwritten"}};
  schedule.schedules = {{.a = "whole", .b = "tree", .passed = true}, {.a = "whole", .b = "chunked", .passed = false}};
  invariance.invariances = {{.property = "taps on = off", .holds = false, .required = true}};
  for (BackendVerification* run : {&tap, &fault, &schedule, &invariance}) {
    EXPECT_EQ(run->verdict(), Verdict::failed);
    EXPECT_FALSE(run->passed());
    run->untrusted = {{"untrusted.loose", "here", "loose"}};
    EXPECT_EQ(run->verdict(), Verdict::failed) << "what failed did not pass, trusted or not";
    run->error = "backend.failed: the device fell off the bus";
    EXPECT_EQ(run->verdict(), Verdict::error);
  }
}

TEST(Verdict, IsUntrustedOnlyWhereNothingFailed) {
  BackendVerification run = passed_run();
  run.untrusted = {{"untrusted.deaf", "logits", "all the same"}};
  EXPECT_EQ(run.verdict(), Verdict::untrusted);
  EXPECT_FALSE(run.passed());
}

TEST(Verdict, IsUnsupportedWhereNothingWasChecked) {
  BackendVerification run;
  EXPECT_EQ(run.verdict(), Verdict::unsupported);
  run.untrusted = {{"untrusted.deaf", "logits", "all the same"}};
  EXPECT_EQ(run.verdict(), Verdict::unsupported);
  run.faults = {{"cache.pages", "clear", "fewer pages"}};
  EXPECT_EQ(run.verdict(), Verdict::failed) << "a fault is one without any check";
  run.faults.clear();
  run.error = "out of memory";
  EXPECT_EQ(run.verdict(), Verdict::error);
}

TEST(Verdict, HasANameOfItsOwn) {
  std::set<std::string_view> names;
  for (const Verdict verdict :
       {Verdict::passed, Verdict::failed, Verdict::untrusted, Verdict::error, Verdict::unsupported}) {
    names.insert(name(verdict));
  }
  EXPECT_EQ(names, (std::set<std::string_view>{"passed", "failed", "untrusted", "error", "unsupported"}));
}

// Where an error is made says more than where it shows.
TEST(FirstFailure, IsIsolatedBeforeExactBeforeChained) {
  BackendVerification run;
  run.checks = {check(VerifyMode::chained, "c1", false),  check(VerifyMode::exact, "e0", true),
                check(VerifyMode::exact, "e1", false),    check(VerifyMode::exact, "e2", false),
                check(VerifyMode::isolated, "i0", true),  check(VerifyMode::isolated, "i1", false),
                check(VerifyMode::isolated, "i2", false), check(VerifyMode::chained, "c2", false)};
  const auto pass = [&](VerifyMode mode) {
    for (TapCheck& one : run.checks) {
      if (one.mode == mode) one.passed = true;
    }
  };
  for (const auto& [mode, tap] :
       {std::pair{VerifyMode::isolated, "i1"}, {VerifyMode::exact, "e1"}, {VerifyMode::chained, "c1"}}) {
    ASSERT_NE(run.first_failure(), nullptr);
    EXPECT_EQ(run.first_failure()->tap, tap);
    pass(mode);
  }
  EXPECT_EQ(run.first_failure(), nullptr);
}

TEST(Names, OfInputsAreReadBack) {
  for (const Inputs inputs : kInputs) EXPECT_EQ(parse_inputs(name(inputs)), inputs);
  EXPECT_EQ(parse_inputs("Random"), std::nullopt);
  EXPECT_EQ(parse_inputs(""), std::nullopt);
}

TEST(Names, OfModesDiffer) {
  std::set<std::string_view> names;
  for (const VerifyMode mode : kVerifyModes) names.insert(name(mode));
  EXPECT_EQ(names, (std::set<std::string_view>{"isolated", "chained", "exact"}));
}

}  // namespace
}  // namespace mlbench
