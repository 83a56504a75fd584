#include "reference/rope.h"

#include <cmath>

#include <gtest/gtest.h>

namespace mlbench::ref {
namespace {

// The specification prints its golden numbers with 16 digits.
void expect_printed(double got, double printed) { EXPECT_NEAR(got, printed, 2e-15 * std::fabs(printed)); }

RopeConfig plain(Index rotary_dim, double theta) {
  RopeConfig config;
  config.kind = RopeKind::plain;
  config.theta = theta;
  config.rotary_dim = rotary_dim;
  config.max_positions = 2048;
  config.original_max_positions = 2048;
  return config;
}

RopeConfig llama3(Index rotary_dim, double factor) {
  RopeConfig config = plain(rotary_dim, 5e5);
  config.kind = RopeKind::llama3;
  config.factor = factor;
  config.low_freq_factor = 1.0;
  config.high_freq_factor = 4.0;
  config.original_max_positions = 8192;
  return config;
}

std::vector<double> frequencies(const RopeConfig& config, Index length = 1) {
  return Rope(config, RopeCompat::f64).frequencies(length);
}

TEST(Rope, RotatesPairsHalfTheRotarySizeApart) {
  const Rope rope(plain(4, 1e4), RopeCompat::f64);
  const Rope::Angles angles = rope.angles(3, rope.frequencies(4));
  double x[] = {1.0, 2.0, 3.0, 4.0};
  rotate(x, angles.cos.data(), angles.sin.data(), 4);
  expect_printed(x[0], -1.413352520780047);
  expect_printed(x[1], 1.8791180666879925);
  expect_printed(x[2], -2.828857481741469);
  expect_printed(x[3], 4.058191135400942);
}

TEST(Rope, LeavesValuesBeyondTheRotarySize) {
  const double cos[] = {0.5}, sin[] = {0.25};
  double x[] = {1.0, 2.0, 3.0, 4.0};
  rotate(x, cos, sin, 2);
  EXPECT_EQ(x[0], 1.0 * 0.5 - 2.0 * 0.25);
  EXPECT_EQ(x[1], 2.0 * 0.5 + 1.0 * 0.25);
  EXPECT_EQ(x[2], 3.0);
  EXPECT_EQ(x[3], 4.0);
}

TEST(Rope, ScoreDependsOnTheDistanceOnly) {
  const Rope rope(plain(8, 1e4), RopeCompat::f64);
  const std::vector<double> w = rope.frequencies(1);
  const auto score = [&](Index query_position, Index key_position) {
    double q[] = {0.3, -1.0, 0.7, 0.2, 1.1, -0.4, 0.6, -0.9};
    double k[] = {-0.5, 0.8, 0.1, 1.2, -0.7, 0.9, 0.4, 0.3};
    const auto a = rope.angles(query_position, w), b = rope.angles(key_position, w);
    rotate(q, a.cos.data(), a.sin.data(), 8);
    rotate(k, b.cos.data(), b.sin.data(), 8);
    double sum = 0.0;
    for (int i = 0; i < 8; ++i) sum += q[i] * k[i];
    return sum;
  };
  // Angles up to 64 rad carry an error of 64 * 2^-53 each, the eight products of values near 1 about as much together.
  constexpr double kRounding = 8 * 2 * 64 * 0x1p-53;
  EXPECT_NEAR(score(17, 5), score(64, 52), kRounding);
  EXPECT_GT(std::fabs(score(17, 5) - score(17, 6)), 1e-3);
}

TEST(Rope, Phi2FrequenciesDivideByTheRotarySizeNotTheHeads) {
  const auto w = frequencies(plain(32, 1e4));
  expect_printed(w[1], 0.5623413251903491);
  expect_printed(w[15], 0.00017782794100389227);
}

TEST(Rope, Llama3MatchesTheSpecificationsGoldenNumbers) {
  const auto w = frequencies(llama3(128, 8.0));
  const auto base = frequencies(plain(128, 5e5));
  expect_printed(w[1], 0.8146172338565447);
  expect_printed(w[29], 0.002166570763503359);
  expect_printed(w[34], 0.0001785078127679964);
  expect_printed(w[35], 9.556212353964683e-05);
  expect_printed(w[63], 3.068925988914511e-07);
  for (std::size_t i = 0; i < w.size(); ++i) {
    const bool kept = w[i] == base[i];
    const bool stretched = w[i] == base[i] / 8.0;
    EXPECT_EQ(!kept && !stretched, i >= 29 && i <= 34) << i;
  }
  const auto w1b = frequencies(llama3(64, 32.0));
  expect_printed(w1b[15], 0.001290547928209264);
  expect_printed(w1b[31], 9.41830672543491e-08);
  const auto w3b = frequencies(llama3(128, 32.0));
  expect_printed(w3b[29], 0.002118406996779608);
  expect_printed(w3b[63], 7.672314972286278e-08);
}

TEST(Rope, YarnMatchesTheSpecificationsGoldenNumbers) {
  RopeConfig config = plain(128, 1e4);
  config.kind = RopeKind::yarn;
  config.factor = 16.0;
  config.original_max_positions = 4096;
  const auto w = frequencies(config);
  const auto base = frequencies(plain(128, 1e4));
  EXPECT_EQ(w[20], base[20]);         // low end of the ramp
  EXPECT_EQ(w[46], base[46] / 16.0);  // high end
  expect_printed(w[20], 0.05623413251903491);
  expect_printed(w[21], 0.046940859997959404);
  expect_printed(w[30], 0.00852684377296741);
  expect_printed(w[46], 8.334508951020775e-05);
  expect_printed(Rope(config, RopeCompat::f64).attention_scaling(), 1.2772588722239782);
}

TEST(Rope, YarnTakesItsMagnitudeFromTheMostSpecificField) {
  RopeConfig config = plain(128, 1e4);
  config.kind = RopeKind::yarn;
  config.factor = 16.0;
  config.mscale = 0.707;
  config.mscale_all_dim = 0.5;
  const double logarithm = std::log(16.0);
  expect_printed(Rope(config, RopeCompat::f64).attention_scaling(),
                 (0.0707 * logarithm + 1.0) / (0.05 * logarithm + 1.0));
  config.attention_factor = 1.25;
  EXPECT_EQ(Rope(config, RopeCompat::f64).attention_scaling(), 1.25);
}

TEST(Rope, DynamicChangesTheBaseOnlyBeyondTheTrainedLength) {
  RopeConfig config = plain(128, 1e4);
  config.kind = RopeKind::dynamic;
  config.factor = 2.0;
  EXPECT_EQ(frequencies(config, 2048), frequencies(plain(128, 1e4), 2048));
  // The base at length 4096 as the specification prints it, to 15 digits.
  EXPECT_NEAR(std::pow(frequencies(config, 4096)[32], -2.0), 30527.7367488067, 30527.7 * 1e-14);
  EXPECT_NE(frequencies(config, 2049), frequencies(config, 2048));
}

TEST(Rope, LongropeSwitchesItsFactorsWithTheLength) {
  RopeConfig config = plain(4, 1e4);
  config.kind = RopeKind::longrope;
  config.factor = 4.0;
  config.original_max_positions = 64;
  config.short_factor = {1.0, 2.0};
  config.long_factor = {4.0, 8.0};
  const auto base = frequencies(plain(4, 1e4));
  EXPECT_EQ(frequencies(config, 64), (std::vector<double>{base[0], base[1] / 2.0}));
  EXPECT_EQ(frequencies(config, 65), (std::vector<double>{base[0] / 4.0, base[1] / 8.0}));
  expect_printed(Rope(config, RopeCompat::f64).attention_scaling(), std::sqrt(1.0 + std::log(4.0) / std::log(64.0)));
}

TEST(Rope, Float32AnglesErrAsMuchAsTheSpecificationMeasured) {
  // The worst error over all frequencies at a position, printed there with two digits.
  struct Measured {
    double theta;
    Index position;
    double worst;
  };
  for (const Measured& m : {Measured{1e4, 2047, 5.8e-5}, Measured{1e4, 8191, 4.9e-4}, Measured{1e4, 131071, 4.2e-3},
                            Measured{5e5, 2047, 1.1e-4}, Measured{5e5, 8191, 3.7e-4}, Measured{5e5, 131071, 5.0e-3}}) {
    const auto exact = frequencies(plain(128, m.theta));
    const auto rounded = Rope(plain(128, m.theta), RopeCompat::f32).frequencies(1);
    double worst = 0.0;
    for (std::size_t i = 0; i < exact.size(); ++i) {
      const auto p = static_cast<double>(m.position);
      worst = std::max(worst, std::fabs(p * exact[i] - static_cast<double>(static_cast<float>(p * rounded[i]))));
    }
    const double last_digit = std::pow(10.0, std::floor(std::log10(m.worst)) - 1.0);
    EXPECT_NEAR(worst, m.worst, 0.5 * last_digit * 1.001) << m.theta << " " << m.position;
  }
}

TEST(Rope, Float32AnglesAreMadeFromFloat32FrequenciesAndRoundedAgain) {
  const RopeConfig config = plain(128, 1e4);
  const Rope rope(config, RopeCompat::f32);
  const auto w = rope.frequencies(1);
  const auto angle = static_cast<double>(static_cast<float>(2047.0 * w[3]));
  EXPECT_NE(angle, 2047.0 * w[3]);
  EXPECT_EQ(rope.angles(2047, w).cos[3], std::cos(angle));
}

}  // namespace
}  // namespace mlbench::ref
