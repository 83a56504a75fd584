// Changes of level in series whose truth is known. What the rates come to is printed; docs/dashboard.md has them.
#include "reports/dashboard/change_points.h"

#include <cmath>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/dashboard/numbers.h"

namespace mlbench::reports::dashboard {
namespace {

using test::Numbers;

struct Truth {
  std::size_t runs = 100;
  double noise = 0.02;
  double rho = 0.0;     // of neighbours
  double strays = 0.0;  // share of runs that are 30% slower
  double step = 0.0;    // -0.05: 5% slower
  std::size_t at = 0;   // the first run at the new level; 0: the middle
};

std::size_t place_of(const Truth& truth) { return truth.at > 0 ? truth.at : truth.runs / 2; }

std::vector<Estimate> series_of(const Truth& truth, std::uint64_t seed) {
  constexpr double kStray = 0.30, kHalfWidth = 0.005;
  Numbers noise(seed);
  std::vector<Estimate> out;
  double wander = noise.normal();
  for (std::size_t i = 0; i < truth.runs; ++i) {
    wander = truth.rho * wander + std::sqrt(1.0 - truth.rho * truth.rho) * noise.normal();
    double x = truth.noise * wander + (i >= place_of(truth) ? std::log1p(truth.step) : 0.0);
    if (noise.uniform() < truth.strays) x += std::log1p(-kStray);
    const double value = 1000.0 * std::exp(x);
    out.push_back({value, value * (1.0 - kHalfWidth), value * (1.0 + kHalfWidth)});
  }
  return out;
}

struct Rates {
  double any = 0.0, found = 0.0;  // series with a change; with one within two runs of the truth and of its direction
};

Rates rates_of(const Truth& truth, int series) {
  Rates out;
  for (int s = 0; s < series; ++s) {
    const std::vector<ChangePoint> changes =
        change_points(series_of(truth, scattered(17, static_cast<std::uint64_t>(s))));
    out.any += changes.empty() ? 0.0 : 1.0;
    for (const ChangePoint& change : changes) {
      const auto distance = static_cast<double>(change.first) - static_cast<double>(place_of(truth));
      if (std::abs(distance) <= 2.0 && (change.ratio.value > 1.0) == (truth.step > 0.0)) {
        out.found += 1.0;
        break;
      }
    }
  }
  out.any /= series;
  out.found /= series;
  fmt::print(
      "{} runs, noise {:.0f}%, rho {}, strays {:.0f}%, step {:+.0f}%{}: {} series, a change in {:.1f}%, the right one "
      "in {:.1f}%\n",
      truth.runs, 100.0 * truth.noise, truth.rho, 100.0 * truth.strays, 100.0 * truth.step,
      truth.at > 0 ? fmt::format(" at {}", truth.at) : "", series, 100.0 * out.any, 100.0 * out.found);
  return out;
}

TEST(ChangePoints, AreSeldomFoundWhereThereAreNone) {
  for (const std::size_t runs : {10U, 20U, 50U, 100U, 300U})
    EXPECT_LE(rates_of({.runs = runs}, 1000).any, 0.01) << runs;
  EXPECT_LE(rates_of({.runs = 1000}, 200).any, 0.01);
}

// Not so rarely where neighbours resemble each other: what wanders slowly looks like levels.
TEST(ChangePoints, AreFoundFalselyInFewSeriesThatWander) {
  for (const std::size_t runs : {20U, 100U, 300U})
    EXPECT_LE(rates_of({.runs = runs, .rho = 0.5}, 1000).any, 0.03) << runs;
  for (const std::size_t runs : {20U, 100U, 300U})
    EXPECT_LE(rates_of({.runs = runs, .rho = 0.8}, 1000).any, 0.12) << runs;
}

TEST(ChangePoints, AreNotMadeOfSingleRunsThatStray) {
  for (const std::size_t runs : {20U, 100U, 300U})
    EXPECT_LE(rates_of({.runs = runs, .strays = 0.05}, 1000).any, 0.03) << runs;
}

TEST(ChangePoints, OfALevelAreFoundWhereTheyAre) {
  EXPECT_GE(rates_of({.runs = 20, .noise = 0.01, .step = -0.10}, 1000).found, 0.95);
  EXPECT_GE(rates_of({.runs = 50, .noise = 0.01, .step = -0.05}, 1000).found, 0.95);
  EXPECT_GE(rates_of({.runs = 100, .noise = 0.02, .step = -0.05}, 1000).found, 0.94);
  EXPECT_GE(rates_of({.runs = 100, .noise = 0.02, .step = 0.05}, 1000).found, 0.94);
  EXPECT_GE(rates_of({.runs = 300, .noise = 0.02, .step = -0.03}, 1000).found, 0.80);
  // Which are the last few runs alone.
  EXPECT_GE(rates_of({.runs = 100, .noise = 0.01, .step = -0.10, .at = 95}, 1000).found, 0.95);
  EXPECT_GE(rates_of({.runs = 100, .noise = 0.01, .step = -0.10, .at = 97}, 1000).found, 0.80);
}

TEST(ChangePoints, TellHowMuchAndWhere) {
  const std::vector<ChangePoint> changes =
      change_points(series_of({.runs = 80, .noise = 0.01, .step = -0.2, .at = 30}, 3));
  ASSERT_EQ(changes.size(), 1U);
  EXPECT_EQ(changes[0].first, 30U);
  EXPECT_NEAR(changes[0].ratio.value, 0.8, 0.01);
  EXPECT_LT(changes[0].ratio.low, 0.8);
  EXPECT_GT(changes[0].ratio.high, 0.8);
}

// Down and up again, which cutting in two would miss.
TEST(ChangePoints, AreFoundThereAndBack) {
  std::vector<Estimate> series = series_of({.runs = 90, .noise = 0.01}, 5);
  for (std::size_t i = 30; i < 40; ++i) series[i] = {series[i].value * 0.8, series[i].low * 0.8, series[i].high * 0.8};
  const std::vector<ChangePoint> changes = change_points(series);
  ASSERT_EQ(changes.size(), 2U);
  EXPECT_EQ(changes[0].first, 30U);
  EXPECT_EQ(changes[1].first, 40U);
}

TEST(ChangePoints, BelowTheSmallestChangeDoNotCount) {
  EXPECT_EQ(rates_of({.runs = 300, .noise = 0.001, .step = 0.5 * kSmallestChange}, 50).any, 0.0);
  EXPECT_EQ(rates_of({.runs = 300, .noise = 0.001, .step = 2.0 * kSmallestChange}, 50).found, 1.0);
}

TEST(ChangePoints, AreNotLookedForInShortSeries) {
  std::vector<Estimate> series = series_of({.runs = kShortestSeries - 1, .noise = 0.001, .step = -0.5}, 1);
  EXPECT_TRUE(change_points(series).empty());
  series = series_of({.runs = kShortestSeries, .noise = 0.001, .step = -0.5}, 1);
  EXPECT_EQ(change_points(series).size(), 1U);
}

// Of a long series the newest runs count; places are still those of the whole series.
TEST(ChangePoints, AreLookedForAmongTheNewest) {
  const std::size_t runs = kChangeWindow + 500;
  const std::vector<ChangePoint> old =
      change_points(series_of({.runs = runs, .noise = 0.01, .step = -0.2, .at = 200}, 2));
  EXPECT_TRUE(old.empty());
  const std::vector<ChangePoint> recent =
      change_points(series_of({.runs = runs, .noise = 0.01, .step = -0.2, .at = runs - 200}, 2));
  ASSERT_EQ(recent.size(), 1U);
  EXPECT_EQ(recent[0].first, runs - 200);
}

// Estimates of imported runs may lack an interval, or have none that is finite.
TEST(ChangePoints, NeedNoIntervals) {
  std::vector<Estimate> series = series_of({.runs = 60, .noise = 0.01, .step = -0.2}, 4);
  for (std::size_t i = 0; i < series.size(); ++i)
    series[i] = {series[i].value, 0.0, i % 2 == 0 ? 0.0 : std::numeric_limits<double>::infinity()};
  const std::vector<ChangePoint> changes = change_points(series);
  ASSERT_EQ(changes.size(), 1U);
  EXPECT_EQ(changes[0].first, 30U);
}

// A constant series has no noise at all.
TEST(ChangePoints, AreNoneInAConstantSeries) {
  EXPECT_TRUE(change_points(std::vector<Estimate>(100, {250.0, 250.0, 250.0})).empty());
}

// A run that is not known well counts for less than its neighbours.
TEST(ChangePoints, WeighRunsByTheirIntervals) {
  std::vector<Estimate> sure = series_of({.runs = 40, .noise = 0.005}, 9), unsure = sure;
  for (std::size_t i = 20; i < 24; ++i) {
    const double value = sure[i].value * 0.9;
    sure[i] = {value, value * 0.995, value * 1.005};
    unsure[i] = {value, value * 0.7, value * 1.4};
  }
  EXPECT_EQ(change_points(sure).size(), 2U);
  EXPECT_TRUE(change_points(unsure).empty());
}

}  // namespace
}  // namespace mlbench::reports::dashboard
