// Every operator of ops.h on rows of every length, at every address, on every instruction set.
#include <algorithm>
#include <functional>
#include <string>

#include <gtest/gtest.h>

#include "backends/cpu/ops.h"
#include "tests/backends/cpu/every_target.h"
#include "tests/backends/cpu/placed_rows.h"

namespace mlbench::cpu {
namespace {

using test::kOffsets;
using test::on_every_target;
using test::PlacedRow;
using test::row_lengths;
using test::some_floats;
using Row = std::vector<float>;

constexpr double kUnit = 0x1p-24;
constexpr double kTiniest = 0x1p-126;  // lost where a result, or what it is made from, underflows
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

Index size(const Row& row) { return static_cast<Index>(row.size()); }

// Calls test(count, offset) for all of them, on every instruction set.
void on_every_row(const std::function<void(Index count, Index offset)>& test) {
  on_every_target([&] {
    for (const Index count : row_lengths()) {
      for (const Index offset : kOffsets) {
        SCOPED_TRACE(testing::Message() << count << " values, " << offset << " from where a vector begins");
        test(count, offset);
        if (testing::Test::HasFailure()) return;
      }
    }
  });
}

// Integers, so that nothing is rounded: a value too many, too few, or twice shows.
TEST(Rows, SumsAndDotProductsCountEveryValueOnce) {
  on_every_row([](Index count, Index offset) {
    Row a, b;
    double expected_sum = 0.0, expected_dot = 0.0;
    for (Index i = 0; i < count; ++i) {
      a.push_back(static_cast<float>(3 * i + 1));
      b.push_back(static_cast<float>(i % 7 - 3));
      expected_sum += static_cast<double>(a.back());
      expected_dot += static_cast<double>(a.back()) * static_cast<double>(b.back());
    }
    PlacedRow x(a, offset), y(b, 5 - offset);
    EXPECT_EQ(static_cast<double>(sum(x.data(), count)), expected_sum);
    EXPECT_EQ(static_cast<double>(dot(x.data(), y.data(), count)), expected_dot);
  });
}

// What an operator makes of a row depends on its values alone: not on where it stands nor on how long it is.
void expect_each_alone(const std::function<void(float*, const float*, Index)>& run) {
  on_every_row([&](Index count, Index offset) {
    const Row a = some_floats(count, 1, 6.0F), b = some_floats(count, 2, 2.0F);
    PlacedRow x(a, offset), y(b, 5 - offset);
    run(x.data(), y.data(), count);
    EXPECT_TRUE(x.alone_was_written());
    const Row got = x.values();
    for (std::size_t i = 0; i < got.size(); ++i) {
      float alone = a[i];
      run(&alone, &b[i], 1);
      ASSERT_EQ(got[i], alone) << i;
    }
  });
}

TEST(Rows, EveryValueIsComputedAsIfAlone) {
  expect_each_alone(add);
  expect_each_alone(multiply);
  expect_each_alone([](float* x, const float*, Index count) { clamp(x, count, 2.5F); });
  for (const Activation activation :
       {Activation::silu, Activation::gelu_erf, Activation::gelu_tanh, Activation::gelu_fast, Activation::relu}) {
    SCOPED_TRACE(name(activation));
    expect_each_alone([=](float* x, const float*, Index count) { activate(activation, x, count); });
    expect_each_alone([=](float* x, const float* y, Index count) { activate_gate(activation, x, y, count); });
  }
}

// The two of two rows are one rounding.
TEST(Rows, AddAndMultiplyAreFloat32s) {
  on_every_target([] {
    const Row a = some_floats(100, 3, 4.0F), b = some_floats(100, 4, 4.0F);
    Row sums = a, products = a;
    add(sums.data(), b.data(), size(b));
    multiply(products.data(), b.data(), size(b));
    for (std::size_t i = 0; i < a.size(); ++i) {
      EXPECT_EQ(sums[i], a[i] + b[i]);
      EXPECT_EQ(products[i], a[i] * b[i]);
    }
  });
}

TEST(Rows, TheGateInOnePassIsTheSameBits) {
  on_every_row([](Index count, Index offset) {
    for (const Activation activation :
         {Activation::silu, Activation::gelu_erf, Activation::gelu_tanh, Activation::gelu_fast, Activation::relu}) {
      const Row gate = some_floats(count, 5, 8.0F), up = some_floats(count, 6, 3.0F);
      PlacedRow x(gate, offset), y(gate, offset), factor(up, 5 - offset);
      activate_gate(activation, x.data(), factor.data(), count);
      activate(activation, y.data(), count);
      multiply(y.data(), factor.data(), count);
      EXPECT_TRUE(x.alone_was_written());
      EXPECT_EQ(x.values(), y.values()) << name(activation);
    }
  });
}

TEST(Rows, AClampKeepsNotANumber) {
  on_every_target([] {
    Row x = {-kInfinity, -9.0F, -2.0F, 0.5F, kNan, 2.0F, 9.0F, kInfinity};
    clamp(x.data(), size(x), 2.0F);
    EXPECT_TRUE(std::isnan(x[4]));
    x[4] = 1.0F;
    EXPECT_EQ(x, (Row{-2.0F, -2.0F, -2.0F, 0.5F, 1.0F, 2.0F, 2.0F, 2.0F}));
  });
}

// ---- norms ----

struct Normal {
  double value = 0.0, limit = 0.0;
};

// The bounds of docs/error-bounds.md, with the rounding of the result, and of a weight and a bias.
Normal expected_norm(const NormRule& rule, const Norm& norm, const Row& x, std::size_t at) {
  const auto n = static_cast<double>(x.size());
  double mean = 0.0, magnitude = 0.0, var = 0.0;
  for (const float v : x) {
    if (rule.kind == NormKind::layer) mean += static_cast<double>(v) / n;
    magnitude += std::abs(static_cast<double>(v)) / n;
  }
  for (const float v : x) var += (static_cast<double>(v) - mean) * (static_cast<double>(v) - mean) / n;
  const auto eps = static_cast<double>(rule.eps);
  const double weight = norm.weight.empty() ? 1.0 : static_cast<double>(norm.weight[at]);
  const double bias = norm.bias.empty() ? 0.0 : static_cast<double>(norm.bias[at]);
  const double centred = static_cast<double>(x[at]) - mean, sigma = std::sqrt(var + eps);
  const double value = weight * centred / sigma + bias;
  const double steps = (n + 3.0) / 2.0 + 6.0;
  if (rule.kind == NormKind::rms)
    return {value, std::abs(value - bias) * (steps + 2.0) * kUnit + std::abs(value) * kUnit};
  const double shift = (n + 1.0) * kUnit * magnitude;
  const double relative = (shift * shift + (n + 3.0) * kUnit * var) / (2.0 * (var + eps)) + 6.5 * kUnit;
  return {value, std::abs(weight) / sigma * (shift + std::abs(centred) * (relative + kUnit)) +
                     2.0 * kUnit * (std::abs(value) + std::abs(bias))};
}

TEST(Rows, NormsAreWithinTheirBounds) {
  for (const NormKind kind : {NormKind::rms, NormKind::layer}) {
    for (const bool weighted : {false, true}) {
      for (const bool biased : {false, true}) {
        on_every_row([=](Index count, Index offset) {
          const NormRule rule{kind, 1e-5F};
          const Norm norm{weighted ? some_floats(count, 7, 2.0F) : Row(), biased ? some_floats(count, 8, 1.0F) : Row()};
          const Row row = some_floats(count, 9, 3.0F);
          PlacedRow x(row, offset), y(Row(row.size()), 5 - offset);
          normalize(rule, norm, x.data(), y.data(), count);
          EXPECT_TRUE(y.alone_was_written());
          const Row got = y.values();
          for (std::size_t i = 0; i < row.size(); ++i) {
            const Normal expected = expected_norm(rule, norm, row, i);
            ASSERT_NEAR(static_cast<double>(got[i]), expected.value, expected.limit) << i;
          }
          normalize(rule, norm, x.data(), x.data(), count);
          EXPECT_TRUE(x.alone_was_written());
          EXPECT_EQ(x.values(), got) << "in place";
        });
      }
    }
  }
}

// ---- softmax ----

void softmax(float* scores, Index count) {
  const float total = exponentials(scores, count);
  for (Index i = 0; i < count; ++i) scores[i] /= total;
}

// Relative errors: the difference that is raised is rounded, in the value and in the terms of the sum; two exponentials
// within a unit in the last place, which is up to two roundings; as many additions as there are terms; a division.
void expect_softmax(const Row& scores, const Row& got) {
  const auto largest = static_cast<double>(*std::max_element(scores.begin(), scores.end()));
  double total = 0.0, widest = 0.0;
  for (const float s : scores) {
    total += std::exp(static_cast<double>(s) - largest);
    if (s > -kInfinity) widest = std::max(widest, largest - static_cast<double>(s));
  }
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const double p = std::exp(static_cast<double>(scores[i]) - largest) / total;
    const double relative = (2.0 * widest + 6.0 + static_cast<double>(scores.size())) * kUnit;
    ASSERT_NEAR(static_cast<double>(got[i]), p, relative * p + (p > 0.0 ? kTiniest : 0.0)) << i;
  }
}

TEST(Rows, SoftmaxIsWithinItsBound) {
  on_every_row([](Index count, Index offset) {
    if (count == 0) return;
    for (const float range : {1.0F, 20.0F, 120.0F}) {
      const Row scores = some_floats(count, 10, range);
      PlacedRow x(scores, offset);
      softmax(x.data(), count);
      EXPECT_TRUE(x.alone_was_written());
      expect_softmax(scores, x.values());
    }
  });
}

TEST(Rows, SoftmaxGivesMaskedScoresNothing) {
  on_every_row([](Index count, Index offset) {
    if (count < 2) return;
    Row scores = some_floats(count, 11, 5.0F);
    for (std::size_t i = 1; i < scores.size(); i += 2) scores[i] = -kInfinity;
    PlacedRow x(scores, offset);
    softmax(x.data(), count);
    expect_softmax(scores, x.values());
  });
}

// Wherever it stands among ordinary scores; nor is there a largest one where all are masked.
TEST(Rows, SoftmaxOfNotANumberOrOfInfinityIsNotANumber) {
  on_every_target([] {
    for (const Index count : {1, 2, 15, 16, 17, 49, 64, 67}) {
      for (const float bad : {kNan, -kNan, kInfinity}) {
        for (std::size_t at = 0; at < static_cast<std::size_t>(count); ++at) {
          Row scores = some_floats(count, 12, 5.0F);
          scores[at] = bad;
          softmax(scores.data(), count);
          for (const float p : scores) ASSERT_TRUE(std::isnan(p)) << bad << " at " << at << " of " << count;
        }
      }
      Row masked(static_cast<std::size_t>(count), -kInfinity);
      softmax(masked.data(), count);
      for (const float p : masked) ASSERT_TRUE(std::isnan(p));
    }
  });
}

}  // namespace
}  // namespace mlbench::cpu
