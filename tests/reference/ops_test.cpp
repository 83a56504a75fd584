#include "reference/ops.h"

#include <cmath>

#include <gmock/gmock.h>

#include "core/workers.h"

namespace mlbench::ref {
namespace {

// Golden numbers of the specification, section 12, printed there with 15 to 17 digits.
constexpr double kPrinted = 1e-15;

TEST(Activation, MatchesTheSpecificationsGoldenNumbers) {
  const double x[] = {-3.0, -1.0, 0.5, 2.0};
  const double erf[] = {-0.00404969409489031, -0.15865525393145707, 0.34573123063700656, 1.9544997361036416};
  const double tanh[] = {-0.0036373920817729943, -0.15880800939172324, 0.34571400982514394, 1.954597694087775};
  const double silu[] = {-0.14227761953270035, -0.2689414213699951, 0.3112296656009273, 1.7615941559557646};
  for (int i = 0; i < 4; ++i) {
    EXPECT_NEAR(activation(Activation::gelu_erf, x[i]), erf[i], kPrinted);
    EXPECT_NEAR(activation(Activation::gelu_tanh, x[i]), tanh[i], kPrinted);
    EXPECT_NEAR(activation(Activation::silu, x[i]), silu[i], kPrinted);
  }
}

TEST(Activation, GeluFastDiffersFromGeluTanhOnlyByItsConstant) {
  const double fast = activation(Activation::gelu_fast, 1.0);
  EXPECT_EQ(fast, 0.5 * (1.0 + std::tanh(0.7978845608 * (1.0 + 0.044715))));
  EXPECT_NE(fast, activation(Activation::gelu_tanh, 1.0));
}

TEST(Activation, ReluKeepsANaN) { EXPECT_TRUE(std::isnan(activation(Activation::relu, std::nan("")))); }

class OpsTest : public ::testing::Test {
 protected:
  Workers workers_{2};
  Ops ops_{workers_};
  Tensor x_{{1, 4}, std::vector<double>{1.0, -2.0, 3.0, 0.5}};
};

TEST_F(OpsTest, NormsMatchTheSpecificationsGoldenNumbers) {
  const Tensor rms = ops_.rms_norm(x_, Norm{}, 1e-5);
  const Tensor layer = ops_.layer_norm(x_, Norm{}, 1e-5);
  const double expected_rms[] = {0.5298121992304703, -1.0596243984609406, 1.5894365976914109, 0.26490609961523515};
  const double expected_layer[] = {0.2105583899886371, -1.4739087299204596, 1.333536469928035, -0.07018612999621236};
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_NEAR(rms.values()[i], expected_rms[i], kPrinted);
    EXPECT_NEAR(layer.values()[i], expected_layer[i], kPrinted);
  }
}

TEST_F(OpsTest, LayerNormIgnoresAConstantShiftAndRmsNormDoesNot) {
  Tensor shifted = x_;
  for (double& value : shifted.values()) value += 8.0;  // exact
  EXPECT_EQ(ops_.layer_norm(shifted, Norm{}, 1e-5), ops_.layer_norm(x_, Norm{}, 1e-5));
  EXPECT_NE(ops_.rms_norm(shifted, Norm{}, 1e-5), ops_.rms_norm(x_, Norm{}, 1e-5));
}

TEST_F(OpsTest, NormsApplyWeightThenBias) {
  const Norm norm{{2.0, 2.0, 2.0, 2.0}, {1.0, 1.0, 1.0, 1.0}};
  const Tensor plain = ops_.layer_norm(x_, Norm{}, 1e-5);
  const Tensor affine = ops_.layer_norm(x_, norm, 1e-5);
  for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(affine.values()[i], 2.0 * plain.values()[i] + 1.0);
}

TEST_F(OpsTest, EpsilonMattersForATinyRow) {
  Tensor tiny = x_;
  for (double& value : tiny.values()) value *= 0x1p-10;
  EXPECT_LT(std::fabs(ops_.rms_norm(tiny, Norm{}, 1e-5).values()[2]),
            0.9 * std::fabs(ops_.rms_norm(x_, Norm{}, 1e-5).values()[2]));
}

TEST_F(OpsTest, ClampKeepsWhatLiesInsideAndANaN) {
  Tensor x({1, 4}, std::vector<double>{-3.0, 0.25, 3.0, std::nan("")});
  const Tensor y = ops_.clamp(x, 1.0);
  EXPECT_EQ(y.values()[0], -1.0);
  EXPECT_EQ(y.values()[1], 0.25);
  EXPECT_EQ(y.values()[2], 1.0);
  EXPECT_TRUE(std::isnan(y.values()[3]));
}

TEST(Softmax, SumsToOneAndSurvivesLargeScores) {
  std::vector<double> scores{1e4, 1e4, -1e4};
  softmax(scores);
  EXPECT_THAT(scores, ::testing::ElementsAre(0.5, 0.5, 0.0));
}

TEST(Softmax, IsNearlyUnchangedByAShift) {
  std::vector<double> a{0.5, -1.25, 2.0}, b{64.5, 62.75, 66.0};  // shifted by 64, exact
  softmax(a);
  softmax(b);
  EXPECT_EQ(a, b);
}

TEST(Dot, AddsEveryElementOnceAtAnyLength) {
  for (std::size_t n : {0U, 1U, 7U, 8U, 9U, 15U, 16U, 17U, 31U}) {
    std::vector<double> a(n), b(n, 1.0);
    double expected = 0.0;
    for (std::size_t i = 0; i < n; ++i) expected += a[i] = static_cast<double>(i + 1);  // integers: exact
    EXPECT_EQ(dot(a, b), expected) << n;
  }
}

}  // namespace
}  // namespace mlbench::ref
