// What samples come to: rates by hand, percentiles where there are samples enough, times that cannot be true.
#include "harness/measure/figures.h"

#include <cmath>

#include <gmock/gmock.h>

#include "harness/measure/cost.h"
#include "models/presets.h"

namespace mlbench::measure {
namespace {

BenchRow decode_row(std::size_t repetitions, double seconds) {
  BenchRow row;
  row.point.dtype = "f32";
  row.point.batch = 2;
  row.point.prompt = 8;
  row.point.gen = 4;
  row.method = "batch_decode";
  row.decode = true;
  row.check = BenchCheck::passed;
  for (std::size_t i = 0; i < repetitions; ++i) {
    row.samples.push_back(seconds);
    row.steps.emplace_back(4, seconds / 4.0);
  }
  return row;
}

const ModelConfig& config() {
  static const ModelConfig kConfig = preset_config("llama-small");
  return kConfig;
}

TEST(Figures, AreTokensOverTimeWithItsInterval) {
  BenchRow row = decode_row(9, 0.5);
  row.samples = {0.4, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.8};
  complete(row, config(), nullptr, 0, 0.95);
  ASSERT_TRUE(row.tokens_per_second);
  EXPECT_DOUBLE_EQ(row.median->value, 0.5);
  EXPECT_DOUBLE_EQ(row.tokens_per_second->value, 8 / 0.5);
  EXPECT_DOUBLE_EQ(row.tokens_per_second->low, 8 / row.median->high) << "the slowest time is the lowest rate";
  EXPECT_DOUBLE_EQ(row.tokens_per_second->high, 8 / row.median->low);
  EXPECT_FALSE(row.mfu);
  EXPECT_FALSE(row.mbu);
  EXPECT_EQ(row.check, BenchCheck::passed);
}

TEST(Figures, OfFewSamplesHaveNoInterval) {
  BenchRow row = decode_row(5, 0.5);  // 6 are asked for
  complete(row, config(), nullptr, 0, 0.95);
  EXPECT_EQ(row.tokens_per_second->low, 0.0);
  EXPECT_TRUE(std::isinf(row.tokens_per_second->high) && row.tokens_per_second->high > 0.0);
}

TEST(Figures, GivePercentilesOfStepsOnlyWithEnoughOfThem) {
  for (const auto& [repetitions, p90, p99] : {std::tuple(15U, false, false), std::tuple(16U, true, false),
                                              std::tuple(165U, true, false), std::tuple(166U, true, true)}) {
    BenchRow row = decode_row(repetitions, 0.5);  // 4 steps each: 64 and 662 are asked for
    complete(row, config(), nullptr, 0, 0.95);
    EXPECT_EQ(row.p90.has_value(), p90) << repetitions;
    EXPECT_EQ(row.p99.has_value(), p99) << repetitions;
    EXPECT_DOUBLE_EQ(*row.p50, 0.125);
  }
}

TEST(Figures, OfNoSamplesAreNone) {
  BenchRow row = decode_row(0, 0.5);
  complete(row, config(), nullptr, 0, 0.95);
  EXPECT_FALSE(row.median);
}

TEST(Figures, SharesAreOfWhatTheDeviceReaches) {
  BenchRow row = decode_row(9, 0.5);
  const ProbeResult rates{"cpu", "", "f32", 1, 1e9, 2e9};
  complete(row, config(), &rates, 0, 0.95);
  ASSERT_TRUE(row.mfu && row.mbu);
  EXPECT_DOUBLE_EQ(*row.mfu, row.flops_per_token * 8 / 0.5 / 2e9);
  EXPECT_DOUBLE_EQ(*row.mbu, row.bytes_per_token * 8 / 0.5 / 1e9);
}

// Four steps of two sequences: the weights are read four times.
TEST(Figures, CountTheCostOfEveryStep) {
  BenchRow row = decode_row(9, 0.5);
  complete(row, config(), nullptr, 0, 0.95);
  double flops = 0.0;
  for (Index step = 0; step < 4; ++step)
    flops += cost_of(config(), DType::f32, {.batch = 2, .rows = 1, .before = 8 + step, .logit_rows = 2}).flops;
  EXPECT_DOUBLE_EQ(row.flops_per_token, flops / 8);
}

TEST(Figures, ARepetitionThatIsQuickerThanTheDeviceIsImplausible) {
  const ProbeResult rates{"cpu", "", "f32", 1, 1e9, 1e9};
  BenchRow honest = decode_row(9, 0.5);
  complete(honest, config(), &rates, 0, 0.95);
  ASSERT_GT(honest.floor_seconds, 0.0);
  EXPECT_EQ(honest.check, BenchCheck::passed);
  BenchRow one_of_nine = decode_row(9, 0.5);
  one_of_nine.samples[4] = 0.9 * honest.floor_seconds;
  complete(one_of_nine, config(), &rates, 0, 0.95);
  EXPECT_EQ(one_of_nine.check, BenchCheck::implausible);
  EXPECT_THAT(one_of_nine.check_text, ::testing::HasSubstr("allows no less than"));
}

TEST(Figures, WhatWasNotCheckedStaysUnchecked) {
  const ProbeResult rates{"cpu", "", "f32", 1, 1e9, 1e9};
  BenchRow row = decode_row(9, 1e-9);
  row.check = BenchCheck::unchecked;
  complete(row, config(), &rates, 0, 0.95);
  EXPECT_EQ(row.check, BenchCheck::unchecked);
}

// Against one instance in one piece, whatever both are split into; of its ranks, those of both instances.
TEST(Scaling, OfPrefillAndDecodeApartIsThatOfAllItsRanks) {
  std::vector<BenchRow> rows(3, decode_row(30, 0.5));
  rows[1].point.disaggregated = true;
  rows[2].point.disaggregated = true;
  rows[2].point.tensor_parallel = 2;
  for (std::size_t i = 0; i < rows.size(); ++i)
    rows[i].tokens_per_second = Estimate{100.0 * static_cast<double>(i + 1), 0.0, 0.0};
  add_scaling(rows);
  EXPECT_FALSE(rows[0].scaling);
  EXPECT_DOUBLE_EQ(rows[1].scaling.value().speedup, 2.0);
  EXPECT_DOUBLE_EQ(rows[1].scaling.value().efficiency.value(), 1.0);
  EXPECT_DOUBLE_EQ(rows[2].scaling.value().speedup, 3.0);
  EXPECT_DOUBLE_EQ(rows[2].scaling.value().efficiency.value(), 0.75);
}

}  // namespace
}  // namespace mlbench::measure
