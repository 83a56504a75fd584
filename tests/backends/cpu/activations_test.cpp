// How far activations are from float64, over all of float32, on every instruction set.
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

#include <gtest/gtest.h>

#include "backends/cpu/ops.h"
#include "tests/backends/cpu/every_target.h"

namespace mlbench::cpu {
namespace {

using test::on_every_target;

constexpr double kUnit = 0x1p-24;
constexpr double kTiniest = 0x1p-126;
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// All signs and exponents with some fractions each, and [-16, 16] evenly.
std::vector<float> samples() {
  std::vector<float> out;
  constexpr std::uint32_t kInfinityBits = 0x7F800000U;
  for (std::uint32_t bits = 0; bits < kInfinityBits; bits += 60013U) {
    out.push_back(std::bit_cast<float>(bits));
    out.push_back(std::bit_cast<float>(bits | 0x80000000U));
  }
  for (Index i = -65536; i <= 65536; ++i) out.push_back(static_cast<float>(i) * 0x1p-12F);
  return out;
}

std::vector<float> activated(Activation activation, std::vector<float> x) {
  activate(activation, x.data(), static_cast<Index>(x.size()));
  return x;
}

// z of v / (1 + e^z), and its relative error in roundings. SiLU's is exact; GELU's comes from a square, two constants,
// a product and a sum, and another product.
double exponent(Activation activation, double v) {
  if (activation == Activation::silu) return -v;
  constexpr double kFactor = std::numbers::sqrt2_v<double> * std::numbers::inv_sqrtpi_v<double>;  // sqrt(2 / pi)
  return -2.0 * kFactor * (v + 0.044715 * v * v * v);
}

// A quotient and a sum: two roundings; e^z by its part of that sum, within a unit in the last place, which is up to two
// roundings, and what its exponent was off by.
void expect_logistic(Activation activation, float x, float got) {
  const auto v = static_cast<double>(x);
  const double z = exponent(activation, v);
  const double expected = v / (1.0 + std::exp(z));
  const double part = 1.0 / (1.0 + std::exp(-z));
  const double roundings = 2.0 + part * (2.0 + (activation == Activation::silu ? 0.0 : 6.0) * std::abs(z));
  const double limit = roundings * kUnit * std::abs(expected) + std::abs(v) * kTiniest;
  ASSERT_NEAR(static_cast<double>(got), expected, limit + 0x1p-149) << x;
}

TEST(Activations, LogisticOnesHaveNoCancellation) {
  const std::vector<float> x = samples();
  on_every_target([&] {
    for (const Activation activation : {Activation::silu, Activation::gelu_tanh, Activation::gelu_fast}) {
      const std::vector<float> y = activated(activation, x);
      for (std::size_t i = 0; i < x.size(); ++i) {
        expect_logistic(activation, x[i], y[i]);
        if (testing::Test::HasFatalFailure()) return;
      }
    }
  });
}

// The tail Q: two polynomials of degrees 4 and 5 by Horner's rule, whose every step is a product and a sum of positive
// terms, and as many constants, 10 and 12 roundings at most; a quotient, an exponential of two, a product; the rounding
// of a^2, half of which is the exponent. Then 1 - Q, for x > 0, and a product.
TEST(Activations, GeluKeepsTheNegativeTail) {
  const std::vector<float> x = samples();
  on_every_target([&] {
    const std::vector<float> y = activated(Activation::gelu_erf, x);
    for (std::size_t i = 0; i < x.size(); ++i) {
      const auto v = static_cast<double>(x[i]);
      const double tail = 0.5 * std::erfc(std::abs(v) / std::numbers::sqrt2_v<double>);
      const double of_tail = tail * (10.0 + 12.0 + 4.0 + 0.5 * v * v);
      const double expected = v * (v < 0.0 ? tail : 1.0 - tail);
      const double roundings = v < 0.0 ? of_tail + tail : of_tail + 2.0 * (1.0 - tail);
      ASSERT_NEAR(static_cast<double>(y[i]), expected,
                  roundings * kUnit * std::abs(v) + std::abs(v) * kTiniest + 0x1p-149)
          << x[i];
    }
  });
}

// Roundings average out, and what is left is the approximation's own error, and its constants' roundings, of each
// polynomial less than one: a coefficient that is wrong in its sixth digit shows.
TEST(Activations, GeluIsOffByNothingSystematic) {
  constexpr Index kSteps = 4096;
  on_every_target([] {
    for (Index first = 0; first < 6; ++first) {
      std::vector<float> x;
      for (Index i = 0; i < kSteps; ++i) x.push_back(-static_cast<float>(first * kSteps + i + 1) / kSteps);
      const std::vector<float> y = activated(Activation::gelu_erf, x);
      double sum = 0.0;
      for (std::size_t i = 0; i < x.size(); ++i) {
        const auto v = static_cast<double>(x[i]);
        sum += static_cast<double>(y[i]) / (0.5 * v * std::erfc(-v / std::numbers::sqrt2_v<double>)) - 1.0;
      }
      EXPECT_LE(std::abs(sum / kSteps), 2.0 * kUnit) << "beyond " << first;
    }
  });
}

// docs/error-bounds.md, with the rounding of the result.
TEST(Activations, AreWithinTheDocumentedBounds) {
  const std::vector<float> x = samples();
  on_every_target([&] {
    for (const Activation activation : {Activation::gelu_erf, Activation::gelu_tanh, Activation::gelu_fast}) {
      const std::vector<float> y = activated(activation, x);
      for (std::size_t i = 0; i < x.size(); ++i) {
        const auto v = static_cast<double>(x[i]);
        const double expected = activation == Activation::gelu_erf
                                    ? 0.5 * v * std::erfc(-v / std::numbers::sqrt2_v<double>)
                                    : v / (1.0 + std::exp(exponent(activation, v)));
        const double limit = kUnit * (4.0 * std::abs(v) + 3.0 * std::abs(expected)) + kTiniest;
        ASSERT_NEAR(static_cast<double>(y[i]), expected, limit) << name(activation) << " of " << x[i];
      }
    }
  });
}

TEST(Activations, ReluIsExact) {
  const std::vector<float> x = samples();
  on_every_target([&] {
    const std::vector<float> y = activated(Activation::relu, x);
    for (std::size_t i = 0; i < x.size(); ++i) ASSERT_EQ(y[i], std::max(x[i], 0.0F)) << x[i];
  });
}

// As the formulas have it: x times a factor, which is 1 at infinity, and 0 at minus infinity, where the product is
// none.
TEST(Activations, AreTheFormulasAtInfinity) {
  on_every_target([] {
    for (const Activation activation :
         {Activation::silu, Activation::gelu_erf, Activation::gelu_tanh, Activation::gelu_fast}) {
      const std::vector<float> y = activated(activation, {kInfinity, -kInfinity, kNan, -kNan});
      EXPECT_EQ(y[0], kInfinity) << name(activation);
      for (const std::size_t i : {1U, 2U, 3U}) EXPECT_TRUE(std::isnan(y[i])) << name(activation) << " " << i;
    }
    const std::vector<float> y = activated(Activation::relu, {kInfinity, -kInfinity, kNan});
    EXPECT_EQ(y[0], kInfinity);
    EXPECT_EQ(y[1], 0.0F);
    EXPECT_TRUE(std::isnan(y[2]));
  });
}

TEST(Activations, KeepTheSignOfZero) {
  on_every_target([] {
    for (const Activation activation :
         {Activation::silu, Activation::gelu_erf, Activation::gelu_tanh, Activation::gelu_fast, Activation::relu}) {
      const std::vector<float> y = activated(activation, {0.0F, -0.0F});
      EXPECT_EQ(std::bit_cast<std::uint32_t>(y[0]), 0U) << name(activation);
      EXPECT_EQ(std::bit_cast<std::uint32_t>(y[1]), 0x80000000U) << name(activation);
    }
  });
}

}  // namespace
}  // namespace mlbench::cpu
