// Against counting by hand where that is possible, against tables where it is not, and by how often it is right.
#include "harness/measure/statistics.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include <gmock/gmock.h>

#include "tests/harness/measure/noise.h"

namespace mlbench::measure {
namespace {

using test::Noise;
using test::scaled;
using testing::DoubleNear;
using testing::ElementsAre;
using testing::Pointwise;
using Series = std::vector<double>;

TEST(Quantile, IsLinearBetweenOrderStatistics) {
  const Series samples = {40.0, 10.0, 30.0, 20.0};
  EXPECT_EQ(quantile(samples, 0.0), 10.0);
  EXPECT_EQ(quantile(samples, 1.0), 40.0);
  EXPECT_EQ(quantile(samples, 0.5), 25.0);
  EXPECT_DOUBLE_EQ(quantile(samples, 0.9), 37.0);  // number 2.7 from 0 on
  EXPECT_EQ(quantile(Series{7.0}, 0.9), 7.0);
}

TEST(Median, IsTheMiddleOneOrTheMeanOfTwo) {
  EXPECT_EQ(median(Series{3.0, 1.0, 2.0}), 2.0);
  EXPECT_EQ(median(Series{3.0, 1.0, 2.0, 100.0}), 2.5);
}

TEST(MedianAbsoluteDeviation, OverlooksAnOutlier) {
  EXPECT_EQ(median_absolute_deviation(Series{1.0, 2.0, 3.0, 4.0, 5.0}), 1.0);
  EXPECT_EQ(median_absolute_deviation(Series{1.0, 2.0, 3.0, 4.0, 5e9}), 1.0);
}

// Term by term. A term is the exponential of logarithms of up to 40 ln 100 = 184, whose own rounding, 184 * 2^-53 of
// each, is multiplied into it; the sum of all terms is 1.
TEST(BinomialCdf, IsTheSumOfItsTerms) {
  constexpr double kTerms = 8.0;  // logarithms that are added up, and the powers on this side
  for (const double chance : {0.01, 0.5, 0.9}) {
    for (const Index n : {1, 7, 40}) {
      double sum = 0.0, ways = 1.0;
      for (Index k = 0; k <= n; ++k) {
        const auto x = static_cast<double>(k), all = static_cast<double>(n);
        sum += ways * std::pow(chance, x) * std::pow(1.0 - chance, all - x);
        ways *= (all - x) / (x + 1.0);
        EXPECT_NEAR(binomial_cdf(k, n, chance), sum, kTerms * 184.0 * 0x1p-53) << k << " of " << n << " at " << chance;
      }
    }
  }
}

TEST(BinomialCdf, ReachesItsEndsWhereTermsUnderflow) {
  EXPECT_EQ(binomial_cdf(-1, 10, 0.5), 0.0);
  EXPECT_EQ(binomial_cdf(10, 10, 0.5), 1.0);
  EXPECT_EQ(binomial_cdf(100, 100'000, 0.5), 0.0);
  EXPECT_EQ(binomial_cdf(99'900, 100'000, 0.5), 1.0);
  // Symmetric about half: P(X <= 49,999) = (1 - P(X = 50,000)) / 2, with P(X = n/2) = sqrt(2 / (pi n)) to 1 / (4 n).
  EXPECT_NEAR(binomial_cdf(49'999, 100'000, 0.5), 0.5 - std::sqrt(2.0 / (M_PI * 1e5)) / 2.0, 1e-8);
}

TEST(SamplesForMedian, AreThoseWhoseRangeIsWideEnough) {
  EXPECT_EQ(samples_for_median(0.95), 6);  // 2 / 2^6 = 0.031
  EXPECT_EQ(samples_for_median(0.99), 8);  // 2 / 2^8 = 0.0078
  EXPECT_EQ(samples_for_median(0.5), 2);   // 2 / 2^2
}

// Conover, Practical Nonparametric Statistics: of 10, from the second to the ninth holds the median with 0.9785.
TEST(MedianInterval, IsMadeOfOrderStatistics) {
  const Series ten = {10.0, 1.0, 9.0, 2.0, 8.0, 3.0, 7.0, 4.0, 6.0, 5.0};
  const Estimate at_95 = median_interval(ten, 0.95);
  EXPECT_EQ(at_95.value, 5.5);
  EXPECT_EQ(at_95.low, 2.0);
  EXPECT_EQ(at_95.high, 9.0);
  EXPECT_EQ(median_interval(ten, 0.99).low, 1.0);
  EXPECT_EQ(median_interval(ten, 0.85).low, 3.0);
}

TEST(MedianInterval, IsInfiniteWhereSamplesAreTooFew) {
  const Estimate five = median_interval(Series{1.0, 2.0, 3.0, 4.0, 5.0}, 0.95);
  EXPECT_EQ(five.value, 3.0);
  EXPECT_EQ(five.low, -std::numeric_limits<double>::infinity());
  EXPECT_EQ(five.high, std::numeric_limits<double>::infinity());
  EXPECT_TRUE(std::isfinite(median_interval(Series{1.0, 2.0, 3.0, 4.0, 5.0, 6.0}, 0.95).high));
}

// 4,000 intervals of 0.95 or more miss the median 200 times, with a standard deviation of 14; 250 are 3.6 of those.
TEST(MedianInterval, HoldsTheMedianOfASkewedDistribution) {
  Noise noise(1);
  for (const int n : {6, 17, 40}) {
    int missed = 0;
    for (int i = 0; i < 4000; ++i) {
      const Estimate e = median_interval(noise.times(n, 2.0), 0.95);
      missed += e.low > 1.0 || e.high < 1.0 ? 1 : 0;
    }
    EXPECT_LT(missed, 250) << n;
  }
}

TEST(MedianInterval, IsWiderWhereSamplesAreWorthLess) {
  const Series samples = Noise(2).series(100);
  const Estimate all = median_interval(samples, 0.95), half = median_interval(samples, 0.95, 50.0),
                 none = median_interval(samples, 0.95, 5.0);
  EXPECT_LT(half.low, all.low);
  EXPECT_GT(half.high, all.high);
  EXPECT_TRUE(std::isinf(none.high));
}

// P(X <= 1) = q^n + n (1 - q) q^(n-1), written out, with q the share of samples below the limit.
TEST(SamplesForPercentile, AreOneMoreThanTooFewByTheBinomialSum) {
  EXPECT_EQ(samples_for_percentile(0.9), 64);
  EXPECT_EQ(samples_for_percentile(0.99), 662);
  for (const double q : {0.5, 0.9, 0.95, 0.99, 0.999}) {
    const auto lucky = [&](Index n) {
      const auto x = static_cast<double>(n);
      return std::pow(q, x) + x * (1.0 - q) * std::pow(q, x - 1.0);
    };
    const Index n = samples_for_percentile(q);
    EXPECT_LE(lucky(n), 0.01) << q;
    EXPECT_GT(lucky(n - 1), 0.01) << q;
  }
}

TEST(EffectiveSamples, OfIndependentOnesAreNearlyAll) {
  Noise noise(3);
  for (const int n : {20, 200, 5000}) {
    double sum = 0.0;
    for (int i = 0; i < 50; ++i) sum += effective_samples(noise.series(n));
    EXPECT_GT(sum / 50.0, 0.7 * n) << n;
    EXPECT_LE(sum / 50.0, n);
  }
}

// A first-order process is worth n (1 - rho) / (1 + rho). Within a factor of 1.5, as its estimate scatters.
TEST(EffectiveSamples, OfAFirstOrderProcessFollowItsCorrelation) {
  Noise noise(4);
  for (const double rho : {0.3, 0.5, 0.8}) {
    for (const int n : {200, 5000}) {
      double sum = 0.0;
      for (int i = 0; i < 50; ++i) sum += effective_samples(noise.series(n, rho));
      const double expected = n * (1.0 - rho) / (1.0 + rho);
      EXPECT_LT(sum / 50.0, 1.5 * expected) << rho << " " << n;
      EXPECT_GT(sum / 50.0, expected / 1.5) << rho << " " << n;
    }
  }
}

TEST(EffectiveSamples, OfADriftAreFew) {
  Noise noise(5);
  Series drift = noise.series(300), step = noise.series(300);
  for (std::size_t i = 0; i < drift.size(); ++i) {
    drift[i] += 0.05 * static_cast<double>(i);
    step[i] += i < 150 ? 0.0 : 10.0;
  }
  EXPECT_LT(effective_samples(drift), 6.0);
  EXPECT_LT(effective_samples(step), 6.0);
}

TEST(EffectiveSamples, AreBetweenOneAndAll) {
  EXPECT_EQ(effective_samples(Series(20, 1.0)), 20.0) << "equal times say nothing of dependence";
  Series alternating;
  for (int i = 0; i < 20; ++i) alternating.push_back(i % 2);
  EXPECT_EQ(effective_samples(alternating), 20.0);
  Series rising;
  for (int i = 0; i < 20; ++i) rising.push_back(i);
  EXPECT_GE(effective_samples(rising), 1.0);
  EXPECT_LT(effective_samples(rising), 3.0);
  EXPECT_EQ(effective_samples(Series{1.0, 2.0}), 2.0);
}

TEST(EffectiveSamples, ChangeLittleWithAnOutlier) {
  Series series = Noise(6).series(100);
  const double before = effective_samples(series);
  series[50] = 1e6;
  EXPECT_NEAR(effective_samples(series), before, 0.2 * before);
}

// The generator is integers and the rest is picking: no machine may differ.
TEST(RatioOfMedians, IsTheSameEverywhere) {
  Series base, next;
  for (int i = 0; i < 32; ++i) {
    base.push_back(64.0 + (i * 7) % 32);
    next.push_back(68.0 + (i * 11) % 32);
  }
  const Estimate ratio = ratio_of_medians(base, next, {.confidence = 0.95, .seed = 7});
  EXPECT_DOUBLE_EQ(ratio.value, 83.5 / 79.5);
  EXPECT_DOUBLE_EQ(ratio.low, 0.95679012345679015);
  EXPECT_DOUBLE_EQ(ratio.high, 1.151325998185118);
  EXPECT_NE(ratio_of_medians(base, next, {.confidence = 0.95, .seed = 8}).high, ratio.high);
}

// 1,000 intervals of 0.95 miss 50 times (standard deviation 7) if the bootstrap is exact; for medians it is known to be
// a little narrow. 85 are 0.915.
TEST(RatioOfMedians, HoldsTheTrueRatio) {
  Noise noise(8);
  for (const int n : {10, 30}) {
    int missed = 0;
    for (int i = 0; i < 1000; ++i) {
      const Series base = noise.times(n, 0.1), next = scaled(noise.times(n, 0.1), 1.2);
      const Estimate e = ratio_of_medians(base, next, {.seed = static_cast<std::uint64_t>(i), .resamples = 1000});
      missed += e.low > 1.2 || e.high < 1.2 ? 1 : 0;
    }
    EXPECT_LT(missed, 85) << n;
    EXPECT_GT(missed, 10) << n << ": intervals that never miss are too wide";
  }
}

// Widths go with one over the square root of the number of independent samples: a quarter of them, twice as wide.
TEST(RatioOfMedians, IsWiderWhereSamplesAreWorthLess) {
  Noise noise(9);
  const Series base = noise.times(200, 0.01), next = noise.times(200, 0.01);
  const Estimate all = ratio_of_medians(base, next, {});
  const Estimate few = ratio_of_medians(base, next, {.base_worth = 50.0, .next_worth = 50.0});
  EXPECT_EQ(few.value, all.value);
  EXPECT_NEAR((few.high - few.low) / (all.high - all.low), 2.0, 0.4);
}

TEST(RatioOfMedians, OfConstantTimesIsExact) {
  const Estimate ratio = ratio_of_medians(Series(9, 2.0), Series(9, 3.0), {});
  EXPECT_EQ(ratio.value, 1.5);
  EXPECT_EQ(ratio.low, 1.5);
  EXPECT_EQ(ratio.high, 1.5);
}

// All ways to split 9 ranks into 4 and 5, by counting.
double counted_mann_whitney(const Series& a, const Series& b) {
  const auto wins = [](const Series& x, const Series& y) {
    double u = 0.0;
    for (const double i : x)
      for (const double j : y) u += i > j ? 1.0 : 0.0;
    return u;
  };
  Series both = a;
  both.insert(both.end(), b.begin(), b.end());
  const double mean = static_cast<double>(a.size() * b.size()) / 2.0;
  const double off = std::fabs(wins(a, b) - mean);
  int as_far = 0, all = 0;
  for (unsigned mask = 0; mask < 1U << both.size(); ++mask) {
    if (static_cast<std::size_t>(std::popcount(mask)) != a.size()) continue;
    Series x, y;
    for (std::size_t i = 0; i < both.size(); ++i) ((mask >> i & 1U) != 0 ? x : y).push_back(both[i]);
    as_far += std::fabs(wins(x, y) - mean) >= off ? 1 : 0;
    ++all;
  }
  return static_cast<double>(as_far) / all;
}

TEST(MannWhitney, OfFewSamplesIsCountedOut) {
  Noise noise(10);
  for (int i = 0; i < 20; ++i) {
    const Series a = noise.series(4), b = noise.series(5);
    EXPECT_DOUBLE_EQ(mann_whitney(a, b), counted_mann_whitney(a, b));
    EXPECT_EQ(mann_whitney(a, b), mann_whitney(b, a));
  }
  EXPECT_DOUBLE_EQ(mann_whitney(Series{1, 2, 3}, Series{4, 5, 6}), 2.0 / 20.0);
  EXPECT_DOUBLE_EQ(mann_whitney(Series{6, 7, 8, 9, 10}, Series{1, 2, 3, 4, 5}), 2.0 / 252.0);
}

// With a tie it is the normal distribution with its corrections; with the tie just broken, the count. At 25 and 25
// these must agree to 0.005.
TEST(MannWhitney, OfManySamplesOrTiesIsNearlyTheCount) {
  Noise noise(11);
  for (int i = 0; i < 20; ++i) {
    const Series a = noise.series(25);
    Series b = noise.series(25);
    b.back() = b.front();
    const double normal = mann_whitney(a, b);
    b.back() = std::nextafter(b.front(), 10.0);
    EXPECT_NEAR(mann_whitney(a, b), normal, 0.005);
  }
}

TEST(MannWhitney, OfEqualOrMissingSamplesIsOne) {
  EXPECT_EQ(mann_whitney(Series(30, 1.0), Series(30, 1.0)), 1.0);
  EXPECT_EQ(mann_whitney(Series{}, Series{1.0}), 1.0);
  EXPECT_EQ(mann_whitney(Series{1.0}, Series{2.0}), 1.0);
}

// Of 2,000, 100 with p <= 0.05 are expected at most; 135 are 3.6 standard deviations more.
TEST(MannWhitney, IsSeldomSmallWithoutADifference) {
  Noise noise(12);
  for (const int n : {8, 40}) {
    int small = 0;
    for (int i = 0; i < 2000; ++i) small += mann_whitney(noise.series(n), noise.series(n + 3)) <= 0.05 ? 1 : 0;
    EXPECT_LT(small, 135) << n;
    EXPECT_GT(small, 50) << n;
  }
}

TEST(SignedRank, OfFewPairsIsCountedOut) {
  Noise noise(13);
  for (int round = 0; round < 20; ++round) {
    Series d = noise.series(8);
    Series sizes = d;
    for (double& x : sizes) x = std::fabs(x);
    std::ranges::sort(sizes);
    double sum = 0.0;
    for (const double x : d) {
      const auto rank = static_cast<double>(std::ranges::lower_bound(sizes, std::fabs(x)) - sizes.begin() + 1);
      sum += x > 0.0 ? rank : 0.0;
    }
    int as_far = 0;
    for (unsigned mask = 0; mask < 256; ++mask) {
      double other = 0.0;
      for (unsigned i = 0; i < 8; ++i) other += (mask >> i & 1U) != 0 ? i + 1.0 : 0.0;
      as_far += std::fabs(other - 18.0) >= std::fabs(sum - 18.0) ? 1 : 0;
    }
    EXPECT_DOUBLE_EQ(signed_rank(d), as_far / 256.0);
  }
}

TEST(SignedRank, LeavesOutZerosAndCountsTies) {
  EXPECT_EQ(signed_rank(Series(10, 0.0)), 1.0);
  EXPECT_EQ(signed_rank(Series{}), 1.0);
  EXPECT_DOUBLE_EQ(signed_rank(Series{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0, 0}), 2.0 / 1024.0);
  // Twelve equal differences: variance n (n+1) (2n+1) / 24 - (t^3 - t) / 48 = 162.5 - 35.75, off by 39 - 0.5.
  EXPECT_NEAR(signed_rank(Series(12, 1.0)), std::erfc(38.5 / std::sqrt(126.75) / std::sqrt(2.0)), 1e-12);
}

TEST(Weakened, LeavesAloneWhatIsWorthAll) {
  EXPECT_EQ(weakened(0.003, 1.0, 10), 0.003);
  EXPECT_EQ(weakened(1.0, 0.5, 10), 1.0);
}

// z = 2 of four times as many samples is z = 1 of what they are worth: p = 0.3173 with so many degrees of freedom that
// they are taken as normal. erfc errs by a few roundings, 8 units say; what z is off by because of them turns the
// first p's error into phi(1) / (2 phi(2)) = 2.3 times as much of the second.
TEST(Weakened, TakesTheSquareRootOfTheFraction) {
  constexpr double kOfErfc = 8.0 * std::numeric_limits<double>::epsilon();
  EXPECT_NEAR(weakened(std::erfc(std::sqrt(2.0)), 0.25, 1'000'000), std::erfc(std::sqrt(0.5)), (2.3 + 1.0) * kOfErfc);
  EXPECT_GT(weakened(0.001, 0.99, 3), 0.01) << "few degrees of freedom";
}

TEST(Holm, IsTheTextbookExample) {
  EXPECT_THAT(holm(Series{0.01, 0.04, 0.03, 0.005}), Pointwise(DoubleNear(1e-15), {0.03, 0.06, 0.06, 0.02}));
  EXPECT_THAT(holm(Series{0.2}), ElementsAre(0.2));
  EXPECT_THAT(holm(Series{0.9, 0.8}), ElementsAre(1.0, 1.0));
  EXPECT_TRUE(holm(Series{}).empty());
}

// Tables give quantiles to four decimals (of one degree of freedom three): off by half a unit of the last one. p then
// differs by that times the density at the quantile, which is below 0.06 in all of these.
TEST(Distributions, AgreeWithTables) {
  constexpr double kHalfAUnit = 0.5e-4, kTwoTails = 2.0 * 0.06;
  EXPECT_NEAR(normal_deviation(0.05), 1.9600, kHalfAUnit);
  EXPECT_NEAR(normal_deviation(0.01), 2.5758, kHalfAUnit);
  EXPECT_EQ(normal_deviation(1.0), 0.0);
  EXPECT_NEAR(student_two_sided(12.706, 1), 0.05, kTwoTails * kHalfAUnit);
  EXPECT_NEAR(student_two_sided(4.3027, 2), 0.05, kTwoTails * kHalfAUnit);
  EXPECT_NEAR(student_two_sided(3.1824, 3), 0.05, kTwoTails * kHalfAUnit);
  EXPECT_NEAR(student_two_sided(4.6041, 4), 0.01, kTwoTails * kHalfAUnit);
  EXPECT_NEAR(student_two_sided(2.2281, 10), 0.05, kTwoTails * kHalfAUnit);
  EXPECT_NEAR(student_two_sided(2.6259, 100), 0.01, kTwoTails * kHalfAUnit);
  EXPECT_NEAR(student_two_sided(1.9600, 100'000), 0.05, kTwoTails * kHalfAUnit);
  EXPECT_EQ(student_two_sided(0.0, 7), 1.0);
}

}  // namespace
}  // namespace mlbench::measure
