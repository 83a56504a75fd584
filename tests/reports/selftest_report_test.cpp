// What a selftest shows, and when it is enough.
#include "reports/selftest_report.h"

#include <limits>

#include <gmock/gmock.h>

namespace mlbench::reports {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

MistakeResult placed(const std::string& name) {
  return {.name = name,
          .what = "something is wrong",
          .scene = "llama",
          .executed = true,
          .verdict = "failed",
          .found = true,
          .placed = true,
          .where = "layers.0.attn.q",
          .call = "isolated single/0 prefill",
          .ratio = 7.25};
}

MistakeResult not_found(const std::string& name) {
  MistakeResult out = placed(name);
  out.verdict = "passed";
  out.found = out.placed = false;
  out.where = out.call = "";
  out.ratio = 0.75;
  return out;
}

MistakeResult not_executed(const std::string& name) {
  MistakeResult out = not_found(name);
  out.executed = false;
  return out;
}

MistakeResult found_elsewhere(const std::string& name) {
  MistakeResult out = placed(name);
  out.placed = false;
  out.where = "logits";
  return out;
}

// `count` mistakes of a type, of which the first are as given and the others placed.
SelftestOfType type_with(const std::string& dtype, std::vector<MistakeResult> first, std::size_t count) {
  SelftestOfType out;
  out.dtype = dtype;
  out.required_found = required_share(dtype);
  out.mistakes = std::move(first);
  while (out.mistakes.size() < count) out.mistakes.push_back(placed("other"));
  out.honest_runs = 38;
  return out;
}

SelftestResults results_of(SelftestOfType type) { return {.seeds = 2, .types = {std::move(type)}}; }

TEST(SelftestScore, AllFoundPlacedAndNoAlarmIsEnough) {
  EXPECT_TRUE(type_with("f32", {}, 20).enough());
  EXPECT_TRUE(type_with("bf16", {}, 20).enough());
}

TEST(SelftestScore, OneMissedIsTooFewInF32AndOneInTwentyIsNotInBf16) {
  EXPECT_FALSE(type_with("f32", {not_found("a")}, 1000).enough());
  EXPECT_TRUE(type_with("bf16", {not_found("a")}, 20).enough());
  EXPECT_FALSE(type_with("bf16", {not_found("a")}, 19).enough());
}

TEST(SelftestScore, OneNotExecutedIsOneMissed) {
  EXPECT_FALSE(type_with("f32", {not_executed("a")}, 1000).enough());
  EXPECT_EQ(type_with("f32", {not_executed("a")}, 10).executed(), 9);
}

TEST(SelftestScore, OneInTwentyMayBeFoundElsewhere) {
  EXPECT_TRUE(type_with("f32", {found_elsewhere("a")}, 20).enough());
  EXPECT_FALSE(type_with("f32", {found_elsewhere("a"), found_elsewhere("b")}, 20).enough());
}

TEST(SelftestScore, OneFalseAlarmIsTooMany) {
  SelftestOfType type = type_with("bf16", {}, 20);
  type.alarms.push_back({.scene = "phi", .seed = 2, .verdict = "failed", .where = "logits", .call = "", .ratio = 1.5});
  EXPECT_FALSE(type.enough());
}

TEST(SelftestScore, OneTypeThatIsNotEnoughDecides) {
  SelftestResults results = results_of(type_with("f32", {}, 20));
  results.types.push_back(type_with("bf16", {not_found("a")}, 3));
  EXPECT_FALSE(results.enough());
}

TEST(SelftestScore, WhatIsCertainMustBePlacedAndHidesNothing) {
  const auto certain = [](MistakeResult m) {
    m.certain = true;
    return m;
  };
  EXPECT_FALSE(type_with("bf16", {certain(not_found("a"))}, 1000).enough());
  EXPECT_FALSE(type_with("bf16", {certain(found_elsewhere("a"))}, 1000).enough());
  std::vector<MistakeResult> many(1000, certain(placed("a")));
  many.push_back(not_found("b"));
  EXPECT_FALSE(type_with("bf16", many, 1010).enough()) << "one of ten that are not certain is missing";
  EXPECT_TRUE(type_with("bf16", many, 1020).enough());
}

TEST(SelftestReport, OneMistakePlacedInManyConfigurationsIsOneLine) {
  std::vector<MistakeResult> same(3, placed("split"));
  same.push_back(found_elsewhere("split"));
  same.back().scene = "orion";
  same.push_back(not_found("split"));
  same.back().scene = "phi, 2 shards";
  same.back().certain = true;
  const std::string text = to_text(results_of(type_with("f32", same, 6)), false);
  EXPECT_THAT(text, ::testing::ContainsRegex("split +f32 +llama \\+ 2 more +failed +layers.0.attn.q"));
  EXPECT_THAT(text, ::testing::ContainsRegex("split +f32 +orion +failed +logits .*found elsewhere"));
  EXPECT_THAT(text, HasSubstr("not found: split, f32, phi, 2 shards: something is wrong"));
}

TEST(SelftestReport, TextHasTheScoresAndNamesWhatWasMissed) {
  SelftestOfType type =
      type_with("f32", {not_found("missed-one"), not_executed("idle-one"), found_elsewhere("astray")}, 10);
  type.alarms.push_back(
      {.scene = "phi", .seed = 2, .verdict = "failed", .where = "layers.1.out", .call = "chained x", .ratio = 1.5});
  const std::string text = to_text(results_of(type), false);
  EXPECT_THAT(text, ::testing::ContainsRegex("f32 +10 +9 +8 +7 +38 +1 +FAILED"));
  EXPECT_THAT(text, HasSubstr("not found: missed-one, f32: something is wrong; largest error/limit 0.75\n"));
  EXPECT_THAT(text, HasSubstr("not executed: idle-one"));
  EXPECT_THAT(text, ::testing::ContainsRegex("astray +f32 +llama +failed +logits .*found elsewhere"));
  EXPECT_THAT(text, HasSubstr("false alarm: phi, f32, seed 2: failed at layers.1.out chained x, error/limit 1.5\n"));
  EXPECT_THAT(text, HasSubstr("selftest FAILED\n"));
  EXPECT_THAT(text, Not(HasSubstr("\x1b")));
}

TEST(SelftestReport, ColourIsOnlyAdded) {
  const SelftestResults results = results_of(type_with("f32", {not_found("a")}, 5));
  std::string colored = to_text(results, true);
  EXPECT_THAT(colored, HasSubstr("\x1b[31m"));
  for (std::size_t at = 0; (at = colored.find('\x1b')) != std::string::npos;) {
    colored.erase(at, colored.find('m', at) - at + 1);
  }
  EXPECT_EQ(colored, to_text(results, false));
}

TEST(SelftestReport, JsonHasTheCountsOfEachTypeAndEveryMistake) {
  SelftestOfType type = type_with("bf16", {not_found("missed-one"), found_elsewhere("astray")}, 10);
  type.mistakes[1].ratio = std::numeric_limits<double>::infinity();
  type.honest_ratio = 0.5;
  const nlohmann::ordered_json json = to_json(results_of(type));
  EXPECT_EQ(json["verdict"], "failed");
  EXPECT_EQ(json["seeds"], 2);
  const auto& only = json["types"][0];
  EXPECT_EQ(only["dtype"], "bf16");
  EXPECT_EQ(only["planted"], 10);
  EXPECT_EQ(only["executed"], 10);
  EXPECT_EQ(only["found"], 9);
  EXPECT_EQ(only["placed"], 8);
  EXPECT_EQ(only["required_found"], 0.95);
  EXPECT_EQ(only["honest_runs"], 38);
  EXPECT_EQ(only["false_alarms"], 0);
  EXPECT_EQ(only["honest_ratio"], 0.5);
  ASSERT_EQ(only["mistakes"].size(), 10U);
  EXPECT_EQ(only["mistakes"][0]["name"], "missed-one");
  EXPECT_EQ(only["mistakes"][0]["found"], false);
  EXPECT_EQ(only["mistakes"][0]["ratio"], 0.75);
  EXPECT_EQ(only["mistakes"][1]["ratio"], nullptr) << "JSON has no infinity";
  EXPECT_EQ(only["mistakes"][2]["where"], "layers.0.attn.q");
}

}  // namespace
}  // namespace mlbench::reports
