// Synthetic series: when the rules stop, and when they must not.
#include "harness/measure/rules.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <random>

#include <gmock/gmock.h>

#include "core/error.h"

namespace mlbench::measure {
namespace {

using testing::AllOf;
using testing::Ge;
using testing::HasSubstr;
using testing::Le;

// The time that the i-th repetition would take without noise.
using Curve = std::function<double(int)>;

double flat(int) { return 1.0; }
double drift(int i) { return 1.05 - 0.05 * std::min(i, 40) / 40.0; }
double decay(int i) { return 1.0 + 0.2 * std::exp(-i / 10.0); }
double step(int i) { return i < 20 ? 1.05 : 1.0; }
double spikes(int i) { return i % 10 == 3 ? 3.0 : 1.0; }
double slow_first(int i) { return i == 0 ? 20.0 : 1.0; }

constexpr int kNever = 2000;

// The number of repetitions after which each of 200 series was taken to have settled.
std::vector<int> settled_after(const Curve& curve, double noise) {
  std::mt19937_64 random(1);
  std::normal_distribution<double> normal;
  std::vector<int> out;
  for (int i = 0; i < 200; ++i) {
    WarmUp warmup({.max_seconds = std::numeric_limits<double>::infinity()});
    int n = 0;
    while (n < kNever && !warmup.settled()) warmup.add(curve(n++) * std::exp(noise * normal(random)));
    out.push_back(n);
  }
  std::ranges::sort(out);
  return out;
}

int before(const std::vector<int>& settled, int repetition) {
  return static_cast<int>(std::ranges::count_if(settled, [&](int n) { return n < repetition; }));
}

TEST(WarmUp, SettlesSoonOnAFlatSeries) {
  EXPECT_LE(settled_after(flat, 0.0).back(), 10) << "constant";
  for (const double noise : {0.001, 0.01, 0.05}) {
    const std::vector<int> settled = settled_after(flat, noise);
    EXPECT_LE(settled[100], noise > 0.01 ? 60 : 45) << noise;
    EXPECT_LE(settled[190], 130) << noise;
    EXPECT_LT(settled.back(), kNever) << noise;
  }
}

// At most 5% of the series before repetition 33, when 1% of the drift's 5% is left.
TEST(WarmUp, IsNotSettledInsideOfADrift) {
  for (const double noise : {0.0, 0.002, 0.01}) EXPECT_LE(before(settled_after(drift, noise), 33), 10) << noise;
  EXPECT_LE(before(settled_after([](int i) { return 2.05 - drift(i); }, 0.01), 33), 10) << "upwards";
}

TEST(WarmUp, IsNotSettledBeforeALargeDecayHasEnded) {
  for (const double noise : {0.0, 0.01}) {
    const std::vector<int> settled = settled_after(decay, noise);
    EXPECT_EQ(before(settled, 30), 0) << "1% is left after 30";
    EXPECT_LE(settled[190], 150);
  }
}

// With noise as small as 0.2%, twenty equal times are no sign that a step will come, and none could be asked for.
TEST(WarmUp, IsNotSettledBeforeAStepThatNoiseDoesNotHideFromIt) {
  EXPECT_LE(before(settled_after(step, 0.01), 21), 10);
}

TEST(WarmUp, IsNotFooledBySingleOutliers) {
  for (const Curve& curve : {Curve(spikes), Curve(slow_first)}) {
    const std::vector<int> settled = settled_after(curve, 0.01);
    EXPECT_THAT(settled[100], AllOf(Ge(20), Le(50)));
  }
  // Nor does an outlier make a drift look like noise.
  EXPECT_LE(before(settled_after([](int i) { return drift(i) * spikes(i); }, 0.01), 33), 10);
}

// 10 microseconds each, of which the first is slower by 20% and the three hundredth no longer.
TEST(WarmUp, SeesADriftOfManyShortRepetitions) {
  WarmUp warmup({.max_seconds = 10.0});
  std::mt19937_64 random(2);
  std::normal_distribution<double> normal;
  const auto time = [&](int i) {
    return 1e-5 * (1.2 - 0.2 * std::min(i, 300) / 300.0) * std::exp(0.01 * normal(random));
  };
  int n = 0;
  while (!warmup.done()) warmup.add(time(n++));
  EXPECT_TRUE(warmup.settled());
  EXPECT_GE(n, 290);
}

TEST(WarmUp, GivesUpWhenItsTimeIsSpentAndSaysSo) {
  WarmUp warmup({.max_seconds = 3.0});
  int n = 0;
  for (; !warmup.done(); ++n) warmup.add(0.1 * (1.0 + 0.05 * n));
  EXPECT_TRUE(warmup.gave_up());
  EXPECT_FALSE(warmup.settled());
  EXPECT_THAT(n, AllOf(Ge(10), Le(30)));
  WarmUp none({.max_seconds = 0.0});
  EXPECT_TRUE(none.done());
}

TEST(WarmUp, StaysSettled) {
  WarmUp warmup;
  for (int i = 0; i < 20; ++i) warmup.add(0.001);
  ASSERT_TRUE(warmup.settled());
  for (int i = 0; i < 100; ++i) warmup.add(0.001 * i);
  EXPECT_TRUE(warmup.settled());
  EXPECT_FALSE(warmup.gave_up());
}

TEST(WarmUp, TakesATimeOfZero) {
  WarmUp warmup;
  for (int i = 0; i < 12; ++i) warmup.add(0.0);
  EXPECT_TRUE(warmup.settled());
}

TEST(StoppingRule, StopsAtThePrecisionAskedFor) {
  std::mt19937_64 random(3);
  std::normal_distribution<double> normal;
  for (const double precision : {0.02, 0.005}) {
    double repetitions = 0.0;
    for (int series = 0; series < 50; ++series) {
      StoppingRule rule({.precision = precision, .max_seconds = 1e9});
      while (!rule.done()) {
        rule.add(std::exp(0.02 * normal(random)));
        ++repetitions;
      }
      EXPECT_EQ(rule.reason(), BenchStop::precision);
      EXPECT_LE(rule.half_width(), precision);
    }
    // A median's half-width is 1.96 * 1.253 * 0.02 / sqrt(n): 6.0 and 96 repetitions. The first is also the least
    // that has an interval; stopping at the first success is early by a part.
    const double expected = std::pow(1.96 * 1.253 * 0.02 / precision, 2);
    EXPECT_THAT(repetitions / 50.0, AllOf(Ge(0.6 * expected), Le(1.6 * expected + 3.0))) << precision;
  }
}

TEST(StoppingRule, NeedsAsManyRepetitionsAsAnIntervalDoes) {
  StoppingRule rule;
  for (int i = 0; i < 5; ++i) {
    rule.add(0.1);
    EXPECT_FALSE(rule.done()) << i;
    EXPECT_TRUE(std::isinf(rule.half_width()));
  }
  rule.add(0.1);
  EXPECT_TRUE(rule.done());
  EXPECT_EQ(rule.half_width(), 0.0);
  StoppingRule longer({.least = 20});
  for (int i = 0; i < 19; ++i) longer.add(0.01);
  EXPECT_FALSE(longer.done());
  longer.add(0.01);
  EXPECT_EQ(longer.reason(), BenchStop::precision);
}

TEST(StoppingRule, StopsWhenItsTimeIsSpentHoweverFewTheRepetitions) {
  StoppingRule rule({.max_seconds = 1.0});
  rule.add(0.6);
  EXPECT_FALSE(rule.done());
  rule.add(0.6);
  EXPECT_TRUE(rule.done());
  EXPECT_EQ(rule.reason(), BenchStop::max_time);
  EXPECT_EQ(rule.left(), 0);
  EXPECT_EQ(rule.progress(), 1.0);
}

// One in ten three times as slow: the median's interval does not care.
TEST(StoppingRule, IsNotKeptByOutliers) {
  StoppingRule rule({.max_seconds = 1e9});
  int n = 0;
  for (; !rule.done(); ++n) rule.add(n % 10 == 3 ? 3.0 : 1.0 + 0.0001 * (n % 7));
  EXPECT_LE(n, 12);
}

// After a quarter of the repetitions their number is foreseen to a factor of 2: that is the square of a width.
TEST(StoppingRule, ForeseesHowManyAreLeft) {
  std::mt19937_64 random(4);
  std::normal_distribution<double> normal;
  StoppingRule rule({.precision = 0.005, .max_seconds = 1e9});
  std::vector<double> total;
  while (!rule.done()) {
    rule.add(std::exp(0.05 * normal(random)));
    const auto n = static_cast<double>(total.size() + 1);
    total.push_back(n + static_cast<double>(rule.left()));
    EXPECT_NEAR(rule.progress(), n / total.back(), 1e-12);
  }
  const auto n = static_cast<double>(total.size());
  const double early = total[static_cast<std::size_t>(n / 4.0)];
  EXPECT_THAT(early, AllOf(Ge(0.5 * n), Le(2.0 * n)));
}

TEST(StoppingRule, ForeseesTheEndOfItsTime) {
  StoppingRule rule({.precision = 1e-9, .max_seconds = 10.0});
  for (int i = 0; i < 10; ++i) rule.add(0.45 + 0.01 * i);
  EXPECT_THAT(rule.left(), AllOf(Ge(10), Le(11)));
}

TEST(StoppingRule, OfManyRepetitionsIsQuick) {
  StoppingRule rule({.precision = 1e-9, .max_seconds = 1e9});
  for (int i = 0; i < 200'000; ++i) rule.add(1.0 + (i % 1000) * 0.001);
  EXPECT_FALSE(rule.done());
}

TEST(StoppingRule, RefusesWhatNoSeriesCouldFulfil) {
  const auto message = [](const StoppingOptions& options) -> std::string {
    try {
      const StoppingRule rule(options);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), "usage");
      return error.message();
    }
    return "";
  };
  EXPECT_THAT(message({.precision = 0.0}), HasSubstr("precision 0"));
  EXPECT_THAT(message({.precision = NAN}), HasSubstr("precision nan"));
  EXPECT_THAT(message({.confidence = 1.0}), HasSubstr("confidence 1"));
  EXPECT_THAT(message({.max_seconds = -1.0}), HasSubstr("max-time -1"));
  EXPECT_EQ(message({}), "");
}

}  // namespace
}  // namespace mlbench::measure
