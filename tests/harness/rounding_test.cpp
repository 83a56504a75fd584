// The constants that error bounds are made of, against the types themselves.
#include "harness/rounding.h"

#include <cstring>
#include <limits>

#include <gmock/gmock.h>

#include "tests/harness/float_operators.h"

namespace mlbench::harness {
namespace {

using test::narrowed;

constexpr DType kTypes[] = {DType::f64, DType::f32, DType::bf16, DType::f16};

// The smallest number above `x` >= 0 that the type holds: the next pattern of bits.
double next_after(DType type, double x) {
  std::uint64_t bits = 0;
  narrow(type, std::span(&x, 1), reinterpret_cast<std::byte*>(&bits));  // NOLINT(*-reinterpret-cast): its bytes
  ++bits;
  double next = 0.0;
  widen(type, reinterpret_cast<const std::byte*>(&bits), std::span(&next, 1));  // NOLINT(*-reinterpret-cast)
  return next;
}

TEST(UnitRoundoff, IsHalfTheDistanceFromOneToTheNextNumber) {
  for (const DType type : kTypes) EXPECT_EQ(unit_roundoff(type), (next_after(type, 1.0) - 1.0) / 2.0) << name(type);
}

TEST(UnitRoundoff, BoundsEveryRoundingWithTheUnderflow) {
  for (const DType type : {DType::f32, DType::bf16, DType::f16}) {
    double worst = 0.0;
    for (int i = 0; i < 100000; ++i) {
      const double y = 1e-12 * std::pow(10.0, i * 1.67e-4);  // to 5e4
      const double error = std::fabs(narrowed(type, y) - y);
      ASSERT_LE(error, rounding_error(type, y)) << name(type) << " " << y;
      worst = std::max(worst, error / rounding_error(type, y));
    }
    EXPECT_GT(worst, 0.9) << name(type);
  }
}

// Half of f16's smallest number; whole normal numbers of the types that some flush.
TEST(Underflow, CoversWhatIsLostBelowTheNormalRange) {
  EXPECT_EQ(underflow(DType::f16), next_after(DType::f16, 0.0) / 2.0);
  EXPECT_EQ(underflow(DType::f32), static_cast<double>(std::numeric_limits<float>::min()));
  EXPECT_EQ(underflow(DType::bf16), static_cast<double>(std::numeric_limits<float>::min()));
  EXPECT_EQ(underflow(DType::f64), std::numeric_limits<double>::min());
}

TEST(Lambda, FollowsFromTheFailureProbability) {
  const double lambda = probabilistic_lambda();
  EXPECT_NEAR(2.0 * kRoundings * std::exp(-lambda * lambda / 2.0), kFailureProbability, 1e-12);
  EXPECT_NEAR(lambda, 10.6, 0.05);
}

TEST(Gamma, IsTheSmallerOfTheWorstCaseAndTheProbableOne) {
  for (const DType type : kTypes) {
    const double u = unit_roundoff(type);
    for (const Index k : {1, 2, 10, 100, 112, 113, 1000, 100000}) {
      const double ku = static_cast<double>(k) * u;
      const double probable = probabilistic_lambda() * std::sqrt(static_cast<double>(k)) * u;
      EXPECT_LE(gamma(k, type), probable) << name(type) << " " << k;
      if (ku < 0.5) {
        EXPECT_EQ(gamma(k, type), std::min(ku / (1.0 - ku), probable)) << name(type) << " " << k;
      }
    }
  }
}

TEST(Gamma, OfFewRoundingsIsKTimesU) {
  for (const DType type : {DType::f64, DType::f32}) {
    for (Index k = 0; k <= 100; ++k) {  // lambda^2 is 112
      const double ku = static_cast<double>(k) * unit_roundoff(type);
      EXPECT_GE(gamma(k, type), ku);
      EXPECT_LE(gamma(k, type), ku + 2.0 * ku * ku);  // ku / (1 - ku), where ku is below 1/2
    }
  }
}

// Also where the worst case stops being a number.
TEST(Gamma, GrowsWithTheNumberOfRoundings) {
  for (const DType type : kTypes) {
    double before = 0.0;
    for (Index k = 1; k < 200000; k += 1 + k / 50) {
      ASSERT_GT(gamma(k, type), before) << name(type) << " " << k;
      before = gamma(k, type);
    }
  }
}

TEST(Gamma, OfASumThatRoundsIsTheWorstCaseWhereThatIsAskedFor) {
  const backends::Summation one_by_one;
  for (const DType type : kTypes) {
    for (const Index k : {1, 100, 113, 5000}) {
      EXPECT_EQ(gamma(k, one_by_one, type, Bounds::probabilistic), gamma(k, type));
      EXPECT_EQ(gamma(k, one_by_one, type, Bounds::deterministic), worst_case_gamma(k, type));
    }
  }
}

TEST(Gamma, OfASumInBlocksCountsTheirRoundings) {
  const auto worst = [](Index terms, Index fused) {
    return gamma(terms, {.fused = fused}, DType::f32, Bounds::deterministic);
  };
  EXPECT_EQ(worst(64, 8), worst_case_gamma(8 + 1, DType::f32));
  EXPECT_EQ(worst(65, 8), worst_case_gamma(9 + 1, DType::f32));
  EXPECT_EQ(worst(1, 8), worst_case_gamma(1 + 1, DType::f32));
}

// Each cut goes up to two units towards 0, and none makes up for another.
TEST(Gamma, OfATruncatedSumIsTheWorstCaseOfTwiceTheUnit) {
  for (const Bounds bounds : {Bounds::probabilistic, Bounds::deterministic}) {
    EXPECT_EQ(gamma(5000, {.truncates = true}, DType::f32, bounds), worst_case_gamma(10000, DType::f32));
  }
}

TEST(SecondOrder, CoversProductsOfTheCoarsestRoundings) {
  const double u = unit_roundoff(DType::bf16);
  EXPECT_LE((1.0 + u) * (1.0 + u) * (1.0 + u) - 1.0, kSecondOrder * 3.0 * u);
}

}  // namespace
}  // namespace mlbench::harness
