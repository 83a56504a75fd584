#include "backends/cpu/ops.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backends/cpu/rope.h"
#include "models/presets.h"

namespace mlbench::cpu {
namespace {

using testing::ElementsAre;
using testing::FloatEq;
using testing::Pointwise;

constexpr double kUnit = 0x1p-24;

std::vector<float> scattered(Index count, float around) {
  std::vector<float> out;
  for (Index i = 0; i < count; ++i) out.push_back(around + std::sin(static_cast<float>(i) * 1.7F));
  return out;
}

// Around the number of partial sums; integers, so that nothing is rounded.
TEST(Dot, CountsEveryTermOfAnyLength) {
  for (const Index count : {0, 1, 15, 16, 17, 31, 32, 33, 100}) {
    std::vector<float> a, b;
    double expected = 0.0;
    for (Index i = 0; i < count; ++i) {
      a.push_back(static_cast<float>(i + 1));
      b.push_back(static_cast<float>(i % 3));
      expected += static_cast<double>((i + 1) * (i % 3));
    }
    EXPECT_EQ(static_cast<double>(dot(a.data(), b.data(), count)), expected) << count;
    EXPECT_EQ(static_cast<double>(sum(a.data(), count)), 0.5 * static_cast<double>(count * (count + 1))) << count;
  }
}

// A sum of 4096 times 0.1 by one chain of roundings is off by some 1e-5 relative; by 16 chains of 256 not.
TEST(Sum, StaysAccurateOverThousandsOfTerms) {
  const std::vector<float> x(4096, 0.1F);
  const double expected = 4096.0 * static_cast<double>(0.1F);
  EXPECT_NEAR(static_cast<double>(sum(x.data(), 4096)), expected, 64.0 * kUnit * expected);
}

double exact_norm(NormKind kind, double eps, const std::vector<float>& x, std::size_t at) {
  const auto n = static_cast<double>(x.size());
  double mean = 0.0;
  if (kind == NormKind::layer) {
    for (const float v : x) mean += static_cast<double>(v) / n;
  }
  double squares = 0.0;
  for (const float v : x) squares += (static_cast<double>(v) - mean) * (static_cast<double>(v) - mean) / n;
  return (static_cast<double>(x[at]) - mean) / std::sqrt(squares + eps);
}

// Tiny rows, where epsilon decides, and rows far from zero, where a variance from sums of squares would cancel. The
// mean of 200 values near 100 is off by up to sqrt(200 / 16) units of 100, 400 2^-24 of a standard deviation near 0.7.
TEST(Normalize, IsExactUpToTheRoundingOfItsSums) {
  for (const NormKind kind : {NormKind::rms, NormKind::layer}) {
    for (const auto& [around, scale, units] :
         {std::tuple(0.0F, 1.0F, 16.0), {0.0F, 1e-3F, 16.0}, {100.0F, 1.0F, 800.0}}) {
      std::vector<float> x = scattered(200, around);
      for (float& v : x) v *= scale;
      std::vector<float> y(x.size());
      normalize({kind, 1e-5F}, {}, x.data(), y.data(), 200);
      for (std::size_t i = 0; i < x.size(); ++i) {
        ASSERT_NEAR(static_cast<double>(y[i]), exact_norm(kind, static_cast<double>(1e-5F), x, i), units * kUnit * 2.0);
      }
    }
  }
}

TEST(Normalize, AppliesWeightThenBias) {
  std::vector<float> x = {1.0F, -2.0F, 3.0F, 0.5F};  // the specification's example
  std::vector<float> y(4);
  normalize({NormKind::layer, 1e-5F}, {{2.0F, 2.0F, 2.0F, 2.0F}, {1.0F, 1.0F, 1.0F, 1.0F}}, x.data(), y.data(), 4);
  // Sums of four, a root and four steps more, each of one rounding of values up to 2.
  EXPECT_NEAR(y[0], 1.0 + 2.0 * 0.2105583899886371, 16.0 * kUnit);
  EXPECT_NEAR(y[1], 1.0 - 2.0 * 1.4739087299204596, 16.0 * kUnit);
}

TEST(Normalize, InPlaceIsTheSame) {
  std::vector<float> x = scattered(37, 0.5F);
  std::vector<float> y(x.size());
  const Norm norm{scattered(37, 1.0F), scattered(37, 0.0F)};
  normalize({NormKind::layer, 1e-5F}, norm, x.data(), y.data(), 37);
  normalize({NormKind::layer, 1e-5F}, norm, x.data(), x.data(), 37);
  EXPECT_EQ(x, y);
}

std::vector<float> activated(Activation activation, std::vector<float> x) {
  activate(activation, x.data(), static_cast<Index>(x.size()));
  return x;
}

MATCHER(AreWithinAUnitOfOne, "") {
  // Each formula ends in a product with x of a value in [0, 1] that is off by a few units of 1; |x| <= 3.
  return std::abs(static_cast<double>(std::get<0>(arg)) - std::get<1>(arg)) <= 3.0 * 4.0 * kUnit;
}

// The specification's values at -3, -1, 0.5, 2.
TEST(Activate, IsTheSpecifications) {
  const std::vector<float> x = {-3.0F, -1.0F, 0.5F, 2.0F};
  EXPECT_THAT(activated(Activation::gelu_erf, x),
              Pointwise(AreWithinAUnitOfOne(),
                        {-0.00404969409489031, -0.15865525393145707, 0.34573123063700656, 1.9544997361036416}));
  const auto tanh_form = {-0.0036373920817729943, -0.15880800939172324, 0.34571400982514394, 1.954597694087775};
  EXPECT_THAT(activated(Activation::gelu_tanh, x), Pointwise(AreWithinAUnitOfOne(), tanh_form));
  EXPECT_THAT(activated(Activation::gelu_fast, x), Pointwise(AreWithinAUnitOfOne(), tanh_form));
  EXPECT_THAT(activated(Activation::silu, x),
              Pointwise(AreWithinAUnitOfOne(),
                        {-0.14227761953270035, -0.2689414213699951, 0.3112296656009273, 1.7615941559557646}));
  EXPECT_THAT(activated(Activation::relu, x), ElementsAre(0.0F, 0.0F, 0.5F, 2.0F));
}

TEST(Activate, IsFiniteFarFromZero) {
  for (const Activation activation :
       {Activation::silu, Activation::gelu_erf, Activation::gelu_tanh, Activation::gelu_fast, Activation::relu}) {
    const std::vector<float> y = activated(activation, {-200.0F, 200.0F});
    EXPECT_EQ(y[0], 0.0F) << name(activation);
    EXPECT_EQ(y[1], 200.0F) << name(activation);
  }
}

TEST(Clamp, KeepsWhatLiesWithinAndNotANumber) {
  std::vector<float> x = {-9.0F, -2.0F, 0.5F, 2.0F, 9.0F, std::numeric_limits<float>::quiet_NaN()};
  clamp(x.data(), 6, 2.0F);
  EXPECT_THAT(std::vector<float>(x.begin(), x.begin() + 5), ElementsAre(-2.0F, -2.0F, 0.5F, 2.0F, 2.0F));
  EXPECT_TRUE(std::isnan(x[5]));
}

TEST(Exponentials, DependOnDifferencesOnlyHoweverLarge) {
  std::vector<float> x = {1000.0F, 1001.0F, 999.0F};
  std::vector<float> y = {0.0F, 1.0F, -1.0F};
  EXPECT_EQ(exponentials(x.data(), 3), exponentials(y.data(), 3));
  EXPECT_EQ(x, y);
  EXPECT_EQ(x[1], 1.0F);
}

TEST(Exponentials, OfOneScoreIsOne) {
  float x[] = {-87.0F};
  EXPECT_EQ(exponentials(x, 1), 1.0F);
  EXPECT_EQ(x[0], 1.0F);
}

// The specification's example: D = d = 4, theta = 1e4, position 3.
TEST(Rotation, IsTheSpecifications) {
  RopeConfig config;
  config.kind = RopeKind::plain;
  config.rotary_dim = 4;
  Rotation rotation(config);
  rotation.set({0, 3});
  std::vector<float> x = {1.0F, 2.0F, 3.0F, 4.0F, 1.0F, 2.0F, 3.0F, 4.0F};
  const Heads heads{.data = x.data(), .rows = 2, .count = 1, .width = 4, .row_stride = 4, .head_stride = 4};
  rotation.rotate(heads, 0);
  rotation.rotate(heads, 1);
  EXPECT_THAT(std::vector<float>(x.begin(), x.begin() + 4), ElementsAre(1.0F, 2.0F, 3.0F, 4.0F));
  const double expected[] = {-1.413352520780047, 1.8791180666879925, -2.828857481741469, 4.058191135400942};
  // Two products and a sum of values up to 4.
  for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(static_cast<double>(x[4 + i]), expected[i], 4.0 * 4.0 * kUnit);
}

TEST(RopeFrequencies, OfLlama3BlendOnlyBetweenItsBorders) {
  RopeConfig config;
  config.kind = RopeKind::llama3;
  config.theta = 5e5;
  config.rotary_dim = 128;
  config.factor = 8.0;
  config.original_max_positions = 8192;
  const std::vector<double> w = stack::rope_frequencies(config);  // against the specification's values
  // A power, a quotient and the blend in float64: some ten roundings, and pow()'s own error times its exponent.
  constexpr double kRelative = 32.0 * 0x1p-53;
  EXPECT_NEAR(w[1], 0.8146172338565447, kRelative * 0.8146172338565447);
  EXPECT_NEAR(w[29], 0.002166570763503359, kRelative * 0.002166570763503359);
  EXPECT_NEAR(w[34], 0.0001785078127679964, kRelative * 0.0001785078127679964);
  EXPECT_NEAR(w[35], 9.556212353964683e-05, kRelative * 9.556212353964683e-05);
  EXPECT_NEAR(w[63], 3.068925988914511e-07, kRelative * 3.068925988914511e-07);
}

TEST(RopeFrequencies, OfLinearScalingAreDivided) {
  RopeConfig config;
  config.kind = RopeKind::plain;
  config.rotary_dim = 32;
  const std::vector<double> plain = stack::rope_frequencies(config);
  config.kind = RopeKind::linear;
  config.factor = 4.0;
  const std::vector<double> scaled = stack::rope_frequencies(config);
  for (std::size_t i = 0; i < plain.size(); ++i) EXPECT_EQ(scaled[i], plain[i] / 4.0);
}

}  // namespace
}  // namespace mlbench::cpu
