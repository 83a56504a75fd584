// Rows that bring out what everyday rows hide have the properties they are for.
#include "harness/adversarial.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <gmock/gmock.h>

#include "models/presets.h"
#include "models/synthetic.h"

namespace mlbench::harness {
namespace {

using ref::Tensor;
using ::testing::DoubleNear;

Tensor rows_of_size(Index rows, Index width, double size) {
  Tensor out(Shape{rows, width});
  for (std::size_t i = 0; i < out.values().size(); ++i) {
    out.values()[i] = size * std::sqrt(2.0) * std::sin(static_cast<double>(i * i % 1009) + 0.5);
  }
  return out;
}

double mean(std::span<const double> x) {
  return std::accumulate(x.begin(), x.end(), 0.0) / static_cast<double>(x.size());
}
double mean_square(std::span<const double> x) {
  return std::inner_product(x.begin(), x.end(), x.begin(), 0.0) / static_cast<double>(x.size());
}

class AdversarialRows : public ::testing::TestWithParam<Architecture> {
 protected:
  ModelConfig config_ = preset_config(small_preset(GetParam()));
  Tensor x_ = rows_of_size(9, config_.hidden_size, 0.7);
  Tensor out_ = adversarial_rows(x_, config_);
};
INSTANTIATE_TEST_SUITE_P(Architectures, AdversarialRows, ::testing::ValuesIn(kArchitectures),
                         [](const auto& arch) { return std::string(name(arch.param)); });

TEST_P(AdversarialRows, LeaveEveryFourthAsItIs) {
  ASSERT_EQ(out_.shape(), x_.shape());
  for (const Index r : {0, 4, 8}) EXPECT_TRUE(std::ranges::equal(out_.row(r), x_.row(r))) << r;
}

// The norm's epsilon then decides half of its result. A sum of squares of n terms, scaled, is exact to n + 4 roundings.
TEST_P(AdversarialRows, HaveAMeanSquareOfEpsilon) {
  const double rounding = static_cast<double>(config_.hidden_size + 4) * 0x1p-53;
  for (const Index r : {1, 5}) {
    EXPECT_THAT(mean_square(out_.row(r)) / config_.norm_eps, DoubleNear(1.0, rounding)) << r;
    EXPECT_GT(out_.row(r)[0] * x_.row(r)[0], 0.0) << "scaled, not replaced";
  }
}

TEST_P(AdversarialRows, HaveOneMassiveChannel) {
  for (const Index r : {2, 6}) {
    std::vector<double> sizes;
    Index changed = 0;
    for (std::size_t i = 0; i < out_.row(r).size(); ++i) {
      sizes.push_back(std::fabs(out_.row(r)[i]));
      changed += out_.row(r)[i] == x_.row(r)[i] ? 0 : 1;
    }
    EXPECT_EQ(changed, 1) << r;
    const double size = std::sqrt(mean_square(x_.row(r)));
    EXPECT_GT(*std::ranges::max_element(sizes), 100.0 * size) << r;
    EXPECT_LT(*std::ranges::max_element(sizes), 65504.0) << "f16 holds it";
  }
}

// (mean / spread)^2 is what a variance by the difference of two means loses.
TEST_P(AdversarialRows, AreMovedBySeveralSpreads) {
  for (const Index r : {3, 7}) {
    const double moved = mean(out_.row(r));
    const double spread = std::sqrt(mean_square(out_.row(r)) - moved * moved);
    EXPECT_GT(moved, 4.0 * spread) << r;
    EXPECT_THAT(out_.row(r)[0] - x_.row(r)[0], DoubleNear(out_.row(r)[1] - x_.row(r)[1], 1e-12)) << "all alike";
  }
}

TEST_P(AdversarialRows, OfZerosAndOfNoRowsAreFinite) {
  const Tensor zeros(Shape{8, config_.hidden_size});
  EXPECT_EQ(adversarial_rows(zeros, config_), zeros);
  EXPECT_EQ(adversarial_rows(Tensor(Shape{0, config_.hidden_size}), config_).size(), 0);
}

// In f16, whose largest value is 65504, rows of any everyday size stay finite.
TEST_P(AdversarialRows, OfLargeRowsStayWithinF16) {
  const Tensor large = adversarial_rows(rows_of_size(8, config_.hidden_size, 100.0), config_);
  for (const double value : large.values()) EXPECT_LT(std::fabs(value), 65504.0);
}

class AdversarialHidden : public ::testing::TestWithParam<Architecture> {
 protected:
  [[nodiscard]] std::vector<double> weights(Index row) const {
    const WeightView& w = model_.weights->get(kLmHeadName);
    std::vector<double> out(static_cast<std::size_t>(w.cols));
    w.widen_row(row % w.rows, out);
    return out;
  }
  [[nodiscard]] double logit(Index row, Index token) const {
    const std::vector<double> w = weights(token);
    return std::inner_product(w.begin(), w.end(), out_.row(row).begin(), 0.0);
  }
  [[nodiscard]] double magnitude(Index row, Index token) const {
    const std::vector<double> w = weights(token);
    double sum = 0.0;
    for (std::size_t i = 0; i < w.size(); ++i) sum += std::fabs(w[i] * out_.row(row)[i]);
    return sum;
  }

  Workers workers_{1};
  Model model_ = make_synthetic(preset_config(small_preset(GetParam())), DType::f32, 1, workers_);
  Tensor hidden_ = rows_of_size(6, model_.config.hidden_size, 1.0);
  Tensor out_ = adversarial_hidden(hidden_, model_);
};
INSTANTIATE_TEST_SUITE_P(Architectures, AdversarialHidden, ::testing::ValuesIn(kArchitectures),
                         [](const auto& arch) { return std::string(name(arch.param)); });

// The target is a part of the magnitude before the row was moved, which moving changes by no more than the row's size:
// within a factor of 2.
TEST_P(AdversarialHidden, HaveALogitThatCancels) {
  for (const Index row : {0, 2, 4}) {
    const double condition = magnitude(row, row * 3) / std::fabs(logit(row, row * 3));
    EXPECT_GT(condition, kCondition / 2.0) << row;
    EXPECT_LT(condition, kCondition * 2.0) << row;
  }
}

// The larger one leads by size / kCondition, of a size before the row was moved.
TEST_P(AdversarialHidden, HaveTwoLogitsThatNearlyTie) {
  for (const Index row : {1, 3, 5}) {
    const double first = logit(row, row * 3), second = logit(row, row * 3 + 1);
    const std::vector<double> w = weights(row * 3);
    const double size = std::fabs(std::inner_product(w.begin(), w.end(), hidden_.row(row).begin(), 0.0));
    EXPECT_GT(first, second) << row;
    // Both are sums of n terms in float64.
    const double rounding =
        static_cast<double>(w.size()) * 0x1p-52 * (magnitude(row, row * 3) + magnitude(row, row * 3 + 1));
    EXPECT_THAT(first - second, DoubleNear(size / kCondition, rounding)) << row;
  }
}

// A row moved far would no longer be one that the model may see.
TEST_P(AdversarialHidden, StayNearWhatTheyWere) {
  ASSERT_EQ(out_.shape(), hidden_.shape());
  for (Index row = 0; row < hidden_.rows(); ++row)
    EXPECT_LT(mean_square(out_.row(row)), 4.0 * mean_square(hidden_.row(row))) << row;
}

}  // namespace
}  // namespace mlbench::harness
