// Verification on executions with a mistake in them.
#include "harness/selftest/selftest.h"

#include <algorithm>
#include <ostream>

#include <gmock/gmock.h>

namespace mlbench::selftest {

static void PrintTo(const MistakeInfo& mistake, std::ostream* out) { *out << mistake.name; }

namespace {

using ::testing::ElementsAre;

class EveryMistake : public ::testing::TestWithParam<MistakeInfo> {};
INSTANTIATE_TEST_SUITE_P(Planted, EveryMistake, ::testing::ValuesIn(mistakes().begin(), mistakes().end()),
                         [](const auto& mistake) {
                           std::string name(mistake.param.name);
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

TEST_P(EveryMistake, IsExecutedFoundAndPlacedInF32) {
  bool executed = false;
  const BackendVerification result = verify_with(GetParam().mistake, DType::f32, executed);
  EXPECT_TRUE(executed);
  const MistakeResult judgement = judged(GetParam(), result, executed);
  EXPECT_TRUE(judgement.found) << "largest error/limit " << judgement.ratio;
  EXPECT_TRUE(judgement.placed) << judgement.where << " " << judgement.call;
}

TEST_P(EveryMistake, IsExecutedInBf16) {
  bool executed = false;
  (void)verify_with(GetParam().mistake, DType::bf16, executed);
  EXPECT_TRUE(executed);
}

TapCheck failed(const std::string& tap, const std::string& kind) {
  TapCheck check;
  check.call = "single/0 prefill";
  check.tap = tap;
  check.kind = kind;
  check.ratio = 3.0;
  return check;
}

TapCheck passed(double ratio) {
  TapCheck check = failed("embed", "embed");
  check.ratio = ratio;
  check.passed = true;
  return check;
}

MistakeInfo at_query() {
  return {Mistake::rope_turns_back, "some-mistake", "the sine is wrong", Scene::orion, {"attn.q"}};
}

TEST(Judged, PlacedIsTheFirstTapThatFails) {
  BackendVerification result;
  result.checks = {passed(0.5), failed("layers.0.attn.q", "attn.q"), failed("logits", "logits")};
  const MistakeResult m = judged(at_query(), result, true);
  EXPECT_TRUE(m.found);
  EXPECT_TRUE(m.placed);
  EXPECT_EQ(m.where, "layers.0.attn.q");
  EXPECT_EQ(m.call, "isolated single/0 prefill");
  EXPECT_EQ(m.ratio, 3.0);
  EXPECT_EQ(m.verdict, "failed");
}

TEST(Judged, ALaterTapInTheRightPlaceIsNotPlaced) {
  BackendVerification result;
  result.checks = {failed("layers.0.attn.k", "attn.k"), failed("layers.0.attn.q", "attn.q")};
  const MistakeResult m = judged(at_query(), result, true);
  EXPECT_TRUE(m.found);
  EXPECT_FALSE(m.placed);
}

TEST(Judged, APlaceInOneLayerIsNoOther) {
  MistakeInfo info = at_query();
  info.places = {"layers.1.attn.q"};
  BackendVerification result;
  result.checks = {failed("layers.0.attn.q", "attn.q")};
  EXPECT_FALSE(judged(info, result, true).placed);
}

TEST(Judged, AFindingIsFoundAndPlacedByItsCode) {
  MistakeInfo info = at_query();
  info.places = {"memory.canary"};
  BackendVerification result;
  result.checks = {passed(0.5)};
  result.faults = {{"memory.canary", "single/0 prefill", "bytes were overwritten"}};
  const MistakeResult m = judged(info, result, true);
  EXPECT_TRUE(m.placed);
  EXPECT_EQ(m.where, "memory.canary");
  EXPECT_EQ(m.ratio, 0.5);
}

TEST(Judged, ARequiredInvarianceIsFoundAndAnotherIsNot) {
  MistakeInfo info = at_query();
  info.places = {"taps on = off"};
  BackendVerification result;
  result.checks = {passed(0.5)};
  result.invariances = {{.property = "taps on = off", .holds = false, .required = false}};
  EXPECT_FALSE(judged(info, result, true).found);
  result.invariances[0].required = true;
  EXPECT_TRUE(judged(info, result, true).placed);
}

TEST(Judged, WhatWasNotExecutedIsNotFoundWhateverFails) {
  BackendVerification result;
  result.checks = {failed("layers.0.attn.q", "attn.q")};
  EXPECT_FALSE(judged(at_query(), result, false).found);
}

TEST(Judged, UntrustedAndErrorAreFound) {
  BackendVerification result;
  result.checks = {passed(0.5)};
  EXPECT_FALSE(judged(at_query(), result, true).found);
  result.untrusted = {{"untrusted.constant", "logits", "all the same"}};
  EXPECT_TRUE(judged(at_query(), result, true).found);
  result.untrusted.clear();
  result.error = "backend.failed: it fell over";
  EXPECT_TRUE(judged(at_query(), result, true).found);
  EXPECT_EQ(judged(at_query(), result, true).where, "backend.failed");
}

TEST(RunSelftest, CountsByTypeInTheTablesOrderAndTellsItsProgress) {
  Workers workers(2);
  SelftestOptions options;
  options.mistakes = {Mistake::mask_sees_next, Mistake::head_bias_dropped};
  options.seeds = 0;
  std::vector<double> shares;
  options.progress = [&](const std::string&, double done) { shares.push_back(done); };
  const SelftestResults results = run_selftest(options, workers);
  ASSERT_EQ(results.types.size(), 2U);
  for (const SelftestOfType& type : results.types) {
    EXPECT_EQ(type.planted(), 2);
    EXPECT_EQ(type.placed(), 2);
    EXPECT_EQ(type.mistakes[0].name, "mask-sees-next");
    EXPECT_EQ(type.honest_runs, 0);
  }
  EXPECT_TRUE(results.enough());
  EXPECT_THAT(shares, ElementsAre(0.25, 0.5, 0.75, 1.0));
}

}  // namespace
}  // namespace mlbench::selftest
