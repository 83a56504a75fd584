// The comparer: what it must see, and what it must not be misled by.
#include "harness/compare.h"

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include <gmock/gmock.h>

namespace mlbench::harness {
namespace {

using Values = std::vector<double>;
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

Values random_values(std::size_t count) {
  std::mt19937_64 random(20240817);
  std::normal_distribution<double> normal;
  Values values(count);
  for (double& value : values) value = normal(random);
  return values;
}

TEST(Compare, OfABufferWithItselfPasses) {
  const Values x = random_values(1000);
  const Comparison c = compare(x, x, kGoldenRtol);
  EXPECT_TRUE(c.passed);
  EXPECT_EQ(c.max_error, 0.0);
  EXPECT_EQ(c.straying, 0);
  EXPECT_EQ(c.worst, 0);
}

TEST(Compare, OfNothingPasses) {
  const Comparison c = compare({}, {}, kGoldenRtol);
  EXPECT_TRUE(c.passed);
  EXPECT_EQ(c.worst, -1);
  EXPECT_EQ(c.straying, 0);
}

TEST(Compare, WithANumberThatIsNoneFails) {
  for (const double bad : {kNan, -kNan, kInf, -kInf}) {
    for (const auto& [expected, got] : {std::pair<Values, Values>{{1.0, bad, 2.0}, {1.0, 1.5, 2.0}},
                                        {{1.0, 1.5, 2.0}, {1.0, bad, 2.0}},
                                        {{1.0, bad, 2.0}, {1.0, bad, 2.0}}}) {
      const Comparison c = compare(expected, got, kGoldenRtol);
      EXPECT_FALSE(c.passed) << bad;
      EXPECT_EQ(c.worst, 1);
      EXPECT_EQ(c.straying, 1);
      EXPECT_EQ(c.max_error, kInf);
      EXPECT_EQ(c.max_expected, 2.0);
    }
  }
}

// A limit so wide that it is infinite still passes no NaN.
TEST(Compare, WithANanFailsUnderAnyLimit) {
  for (const double rtol : {1e-300, 1.0, 1e300, std::numeric_limits<double>::max()}) {
    EXPECT_FALSE(compare(Values{1e10}, Values{kNan}, rtol).passed) << rtol;
    EXPECT_FALSE(compare(Values{kNan, 1e10}, Values{1.0, 1e10}, rtol).passed) << rtol;
  }
}

TEST(Compare, OfNothingButNansFails) { EXPECT_FALSE(compare(Values{kNan}, Values{kNan}, 1.0).passed); }

TEST(Compare, SeesErrorsOfBothSignsOnBothSides) {
  for (const double value : {1.0, -1.0}) {
    for (const double error : {1e-3, -1e-3}) {
      const Comparison c = compare(Values{value, value}, Values{value, value + error}, kGoldenRtol);
      EXPECT_FALSE(c.passed);
      EXPECT_EQ(c.worst, 1);
      EXPECT_DOUBLE_EQ(c.max_error, std::fabs(value + error - value));
    }
  }
  EXPECT_FALSE(compare(Values{1.0}, Values{-1.0}, kGoldenRtol).passed);
  EXPECT_FALSE(compare(Values{-1.0, -2.0}, Values{-1.0, -3.0}, kGoldenRtol).passed);
}

TEST(Compare, FindsOneBadValueInAMillion) {
  const Values expected = random_values(1'000'000);
  double largest = 0.0;
  for (const double value : expected) largest = std::max(largest, std::fabs(value));
  for (const std::size_t at : {std::size_t{0}, std::size_t{654'321}, std::size_t{999'999}}) {
    Values got = expected;
    got[at] += 3.0 * kGoldenRtol * largest;
    const Comparison c = compare(expected, got, kGoldenRtol);
    EXPECT_FALSE(c.passed);
    EXPECT_EQ(c.straying, 1);
    EXPECT_EQ(c.worst, static_cast<Index>(at));
  }
}

TEST(Compare, IsRelativeToTheLargestExpectedValue) {
  const Comparison c = compare(Values{-8.0, 1e-20}, Values{-8.0, 2e-20}, 0.25);
  EXPECT_TRUE(c.passed);  // small beside 8, though twice as much
  EXPECT_EQ(c.limit, 2.0);
  EXPECT_EQ(c.max_expected, 8.0);
  EXPECT_FALSE(compare(Values{1.0}, Values{100.0}, 0.5).passed);  // what was computed widens no limit
}

TEST(Compare, IsAbsoluteWhereAllExpectedValuesAreZero) {
  const Values zeros(4, 0.0);
  EXPECT_TRUE(compare(zeros, zeros, 1e-12).passed);
  EXPECT_TRUE(compare(zeros, Values{0.0, -0.0, 1e-12, -1e-12}, 1e-12).passed);
  EXPECT_FALSE(compare(zeros, Values{0.0, 0.0, 2e-12, 0.0}, 1e-12).passed);
  EXPECT_EQ(compare(zeros, zeros, 1e-12).limit, 1e-12);
}

// Powers of two: the limit is exact, and so is each error.
TEST(Compare, PassesAtTheLimitAndFailsBehindIt) {
  const double rtol = 0x1p-30;
  const Values expected{4.0, 1.0};
  EXPECT_TRUE(compare(expected, Values{4.0, 1.0 + 0x1p-28}, rtol).passed);
  const Comparison behind = compare(expected, Values{4.0, 1.0 + 0x1p-28 + 0x1p-52}, rtol);
  EXPECT_FALSE(behind.passed);
  EXPECT_EQ(behind.straying, 1);
}

TEST(Compare, NamesTheFirstOfEqualErrors) {
  const Comparison c = compare(Values{1.0, 2.0, 3.0, 4.0}, Values{1.0, 2.5, 3.5, 3.5}, 0.01);
  EXPECT_EQ(c.worst, 1);
  EXPECT_EQ(c.straying, 3);
  EXPECT_EQ(compare(Values{1.0, 1.0, 1.0}, Values{5.0, kNan, kNan}, 0.01).worst, 1);
}

TEST(Compare, SeesSwappedAxes) {
  const Values rows{1, 2, 3, 4, 5, 6}, columns{1, 4, 2, 5, 3, 6};
  EXPECT_EQ(compare(rows, columns, kGoldenRtol).straying, 4);
}

TEST(Compare, HoldsAtTheEndsOfTheRange) {
  const double huge = std::numeric_limits<double>::max(), tiny = std::numeric_limits<double>::denorm_min();
  EXPECT_TRUE(compare(Values{huge}, Values{huge}, kGoldenRtol).passed);
  EXPECT_FALSE(compare(Values{huge}, Values{-huge}, kGoldenRtol).passed);  // the difference overflows
  EXPECT_TRUE(compare(Values{tiny}, Values{tiny}, kGoldenRtol).passed);
  EXPECT_FALSE(compare(Values{tiny}, Values{2 * tiny}, kGoldenRtol).passed);
}

}  // namespace
}  // namespace mlbench::harness
