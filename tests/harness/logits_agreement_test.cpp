// Logits as distributions, against distributions computed by hand.
#include "harness/logits_agreement.h"

#include <cmath>
#include <limits>

#include <gmock/gmock.h>

namespace mlbench::harness {
namespace {

using ref::Tensor;
using ::testing::DoubleNear;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();
// Probabilities of order one go through a handful of roundings of 2^-53 each.
constexpr double kRounding = 1e-15;

Tensor one_row(const std::vector<double>& values) {
  return Tensor(Shape{1, static_cast<Index>(values.size())}, values);
}

LogitsAgreement agreement(const Tensor& exact, const Tensor& got, double limit = 0.0) {
  LogitsMeter meter;
  meter.add("single/0 prefill", exact, got, std::vector<double>(static_cast<std::size_t>(exact.rows()), limit));
  return meter.result().value();
}

TEST(LogitsMeter, KnowsNothingOfNoLogits) {
  const LogitsMeter meter;
  EXPECT_FALSE(meter.result());
  EXPECT_TRUE(meter.reference_reacts());
  EXPECT_TRUE(meter.backend_reacts());
}

// p = (1/2, 1/4, 1/4), q = (1/4, 1/4, 1/2): sum p log(p/q) = 1/2 log 2 + 0 - 1/4 log 2.
TEST(LogitsMeter, MeasuresTheDivergenceFromTheReference) {
  const double two = std::log(2.0);
  const LogitsAgreement result = agreement(one_row({two, 0.0, 0.0}), one_row({0.0, 0.0, two}));
  EXPECT_THAT(result.mean_kl, DoubleNear(two / 4.0, kRounding));
  EXPECT_EQ(result.max_kl, result.mean_kl);
  EXPECT_EQ(result.max_kl_call, "single/0 prefill");
}

// p = (9/10, 1/10), q = (1/2, 1/2): from p to q and from q to p are different numbers.
TEST(LogitsMeter, TakesTheReferenceAsTheTruth) {
  const double forth = 0.9 * std::log(1.8) + 0.1 * std::log(0.2);
  EXPECT_THAT(agreement(one_row({std::log(9.0), 0.0}), one_row({0.0, 0.0})).mean_kl, DoubleNear(forth, kRounding));
  const double back = 0.5 * std::log(0.5 / 0.9) + 0.5 * std::log(0.5 / 0.1);
  EXPECT_THAT(agreement(one_row({0.0, 0.0}), one_row({std::log(9.0), 0.0})).mean_kl, DoubleNear(back, kRounding));
}

// A constant added to all logits changes no probability, however large the logits are. log(2) + 1000 keeps its
// fraction to 2^-44, which is what the divergence may then be off by.
TEST(LogitsMeter, IsBlindToWhatSoftmaxIsBlindTo) {
  const double two = std::log(2.0);
  EXPECT_THAT(agreement(one_row({two, 0.0}), one_row({two + 1000.0, 1000.0})).mean_kl, DoubleNear(0.0, 0x1p-43));
  EXPECT_TRUE(std::isfinite(agreement(one_row({1e5, 0.0}), one_row({0.0, 1e5})).mean_kl));
}

TEST(LogitsMeter, AveragesOverRowsAndNamesTheCallOfTheWorst) {
  const double two = std::log(2.0);
  LogitsMeter meter;
  meter.add("a", one_row({two, 0.0, 0.0}), one_row({two, 0.0, 0.0}), {0.0});
  meter.add("b", one_row({two, 0.0, 0.0}), one_row({0.0, 0.0, two}), {0.0});
  meter.add("c", one_row({two, 0.0, 0.0}), one_row({two, 0.0, 0.0}), {0.0});
  const LogitsAgreement result = meter.result().value();
  EXPECT_EQ(result.rows, 3);
  EXPECT_THAT(result.mean_kl, DoubleNear(two / 12.0, kRounding));
  EXPECT_THAT(result.max_kl, DoubleNear(two / 4.0, kRounding));
  EXPECT_EQ(result.max_kl_call, "b");
  EXPECT_EQ(result.same_top1, 2);
}

// Two logits that may each stray by the limit may trade places when they are no further apart than twice that.
TEST(LogitsMeter, CallsAnotherTopTokenCloseWhereTheLimitsAllowIt) {
  const Tensor exact = one_row({1.0, 0.75, 0.0}), got = one_row({0.8, 0.9, 0.0});
  EXPECT_EQ(agreement(exact, exact, 0.125).same_top1, 1);
  EXPECT_EQ(agreement(exact, exact, 0.125).close_top1, 0);
  const LogitsAgreement close = agreement(exact, got, 0.125), different = agreement(exact, got, 0.1249);
  EXPECT_EQ(close.same_top1, 0);
  EXPECT_EQ(close.close_top1, 1);
  EXPECT_EQ(different.same_top1, 0);
  EXPECT_EQ(different.close_top1, 0);
}

TEST(LogitsMeter, CountsTheReferencesTopTenAmongTheBackends) {
  std::vector<double> exact(20), got(20);
  for (std::size_t i = 0; i < 20; ++i) {
    exact[i] = static_cast<double>(i);           // top: 10 to 19
    got[i] = static_cast<double>((i + 3) % 20);  // top: 7 to 16
  }
  EXPECT_THAT(agreement(one_row(exact), one_row(got)).mean_top10_overlap, DoubleNear(0.7, kRounding));
  EXPECT_EQ(agreement(one_row({1.0, 2.0}), one_row({2.0, 1.0})).mean_top10_overlap, 1.0) << "all of a small vocabulary";
}

TEST(LogitsMeter, SaysInfiniteOfWhatIsNoNumber) {
  for (const double wrong : {kNaN, kInfinity, -kInfinity}) {
    const LogitsAgreement result = agreement(one_row({1.0, 0.0, 2.0}), one_row({1.0, wrong, 2.0}));
    EXPECT_EQ(result.max_kl, kInfinity);
    EXPECT_EQ(result.max_kl_call, "single/0 prefill");
  }
}

// Where nothing is a number no token is on top, not even the first.
TEST(LogitsMeter, SeesNoTopTokenInARowOfNoNumbers) {
  const LogitsAgreement result = agreement(one_row({2.0, 0.0, 1.0}), one_row({kNaN, kNaN, kNaN}), 10.0);
  EXPECT_EQ(result.same_top1, 0);
  EXPECT_EQ(result.close_top1, 0);
  EXPECT_EQ(result.mean_top10_overlap, 0.0);
}

TEST(LogitsMeter, SeesWhoReactsToItsInput) {
  const Tensor a = one_row({1.0, 2.0}), b = one_row({1.0, 2.5});
  LogitsMeter deaf, constant, both;
  for (LogitsMeter* meter : {&deaf, &constant, &both}) {
    EXPECT_TRUE(meter->reference_reacts() && meter->backend_reacts());
    meter->add("a", a, a, {0.0});
    EXPECT_TRUE(meter->reference_reacts() && meter->backend_reacts()) << "one row alone tells nothing";
  }
  deaf.add("b", a, b, {0.0});
  constant.add("b", b, a, {0.0});
  both.add("b", b, b, {0.0});
  EXPECT_FALSE(deaf.reference_reacts());
  EXPECT_TRUE(deaf.backend_reacts());
  EXPECT_TRUE(constant.reference_reacts());
  EXPECT_FALSE(constant.backend_reacts());
  EXPECT_TRUE(both.reference_reacts() && both.backend_reacts());
}

TEST(LogitsMeter, SeesReactionsWithinOneCall) {
  LogitsMeter meter;
  meter.add("a", Tensor(Shape{2, 2}, {1.0, 2.0, 1.0, 2.5}), Tensor(Shape{2, 2}, {1.0, 2.0, 1.0, 2.0}), {0.0, 0.0});
  EXPECT_TRUE(meter.reference_reacts());
  EXPECT_FALSE(meter.backend_reacts());
  EXPECT_EQ(meter.result()->rows, 2);
}

}  // namespace
}  // namespace mlbench::harness
