// One tap against its exact value and limits: what passes, what fails, and how the worst element is named.
#include "harness/check_tap.h"

#include <cmath>
#include <limits>

#include <gmock/gmock.h>

#include "models/presets.h"

namespace mlbench::harness {
namespace {

using ref::Tensor;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

// Three rows: two of sequence 40, at positions 5 and 6, and one of sequence 7 at position 0.
class CheckTap : public ::testing::Test {
 protected:
  CheckTap() {
    call_.label = "batch/0 batch_verify";
    call_.method = backends::Method::batch_verify;
    call_.ids = {40, 7};
    call_.lengths = {2, 1};
  }

  [[nodiscard]] TapCheck check(TapId id, const Tensor& expected, const Tensor& got,
                               const std::function<double(Index)>& limit) const {
    return check_tap({VerifyMode::isolated, Inputs::random, &call_, {{5, 6, 0}, {0, 0, 1}}}, spec_of(specs_, id.tap),
                     id, DType::bf16, expected, got, limit);
  }
  [[nodiscard]] TapCheck check(const Tensor& expected, const Tensor& got, double limit) const {
    return check({Tap::layer_out, 1}, expected, got, [=](Index) { return limit; });
  }

  Call call_;
  std::vector<TapSpec> specs_ = tap_specs(preset_config("llama-small"));
};

Tensor row(std::vector<double> values) { return Tensor({3, 1}, std::move(values)); }

TEST_F(CheckTap, SaysWhatWasChecked) {
  const TapCheck result = check(row({1, 2, 3}), row({1, 2, 3}), 0.5);
  EXPECT_TRUE(result.passed);
  EXPECT_EQ(result.tap, "layers.1.out");
  EXPECT_EQ(result.kind, "out");
  EXPECT_EQ(result.layer, 1);
  EXPECT_EQ(result.call, "batch/0 batch_verify");
  EXPECT_EQ(result.method, "batch_verify");
  EXPECT_EQ(result.mode, VerifyMode::isolated);
  EXPECT_EQ(result.elements, 3);
  EXPECT_EQ(result.straying, 0);
  EXPECT_EQ(result.ratio, 0.0);
  EXPECT_FALSE(result.worst);
}

// 1 + 2^-9 lies half-way between two values of bf16 and rounds to 1, the even one.
TEST_F(CheckTap, TellsTheBackendsErrorFromTheRoundingOfItsType) {
  const TapCheck rounded = check(row({2, 1 + 0x1p-9, 4}), row({2, 1, 4}), 1.0);
  EXPECT_EQ(rounded.error, 0x1p-9);
  EXPECT_EQ(rounded.rounded_error, 0.0);
  EXPECT_EQ(rounded.rounding, 0x1p-9);
  const TapCheck a_step_up = check(row({2, 1 + 0x1p-9, 4}), row({2, 1 + 0x1p-7, 4}), 1.0);
  EXPECT_EQ(a_step_up.error, 0x1p-7 - 0x1p-9);
  EXPECT_EQ(a_step_up.rounded_error, 0x1p-7);
  EXPECT_EQ(a_step_up.rounding, 0x1p-9);
}

// Powers of two: error and limit are exact.
TEST_F(CheckTap, PassesAtTheLimitAndFailsBehindIt) {
  const TapCheck at = check(row({1, 1, 1}), row({1, 1 + 0x1p-20, 1}), 0x1p-20);
  EXPECT_TRUE(at.passed);
  EXPECT_EQ(at.ratio, 1.0);
  const TapCheck behind = check(row({1, 1, 1}), row({1, 1 + 0x1p-20 + 0x1p-52, 1}), 0x1p-20);
  EXPECT_FALSE(behind.passed);
  EXPECT_EQ(behind.straying, 1);
  EXPECT_GT(behind.ratio, 1.0);
}

TEST_F(CheckTap, AsksForEqualityWhereTheLimitIsZero) {
  EXPECT_TRUE(check(row({1, 0, 3}), row({1, -0.0, 3}), 0.0).passed);
  const TapCheck result = check(row({1, 2, 3}), row({1, 2, 3 + 0x1p-50}), 0.0);
  EXPECT_FALSE(result.passed);
  EXPECT_EQ(result.ratio, kInf);
  EXPECT_EQ(result.error, 0x1p-50);
  EXPECT_EQ(result.worst->position, 0);
}

TEST_F(CheckTap, FailsNumbersThatAreNoneOnEitherSide) {
  for (const double bad : {kNan, kInf, -kInf}) {
    for (const auto& [expected, got] : {std::pair{row({1, bad, 3}), row({1, 2, 3})},
                                        {row({1, 2, 3}), row({1, bad, 3})},
                                        {row({1, bad, 3}), row({1, bad, 3})}}) {
      const TapCheck result = check(expected, got, 1e300);
      EXPECT_FALSE(result.passed) << bad;
      EXPECT_EQ(result.straying, 1);
      EXPECT_EQ(result.ratio, kInf);
      EXPECT_EQ(result.error, kInf);
      EXPECT_EQ(result.worst->position, 6);
    }
  }
}

TEST_F(CheckTap, FailsWhereTheLimitIsNoNumber) {
  EXPECT_FALSE(check(row({1, 2, 3}), row({1, 2, 3}), kNan).passed);
  EXPECT_FALSE(check(row({1, kNan, 3}), row({1, 2, 3}), kInf).passed);
}

// The worst is by error / limit, not by error.
TEST_F(CheckTap, NamesTheElementFurthestBeyondItsOwnLimit) {
  const auto limit = [](Index i) { return i == 0 ? 1.0 : 0.001; };
  const TapCheck result = check({Tap::layer_out, 0}, row({0, 0, 0}), row({5, 0.01, 0.02}), limit);
  EXPECT_EQ(result.straying, 3);
  EXPECT_DOUBLE_EQ(result.ratio, 20.0);
  EXPECT_EQ(result.error, 0.02);
  EXPECT_EQ(result.limit, 0.001);
  EXPECT_EQ(result.worst->batch_row, 7);
  EXPECT_EQ(result.worst->expected, 0.0);
  EXPECT_EQ(result.worst->computed, 0.02);
}

TEST_F(CheckTap, OfAPassedOneGivesTheLargestRatio) {
  const TapCheck result = check(row({0, 0, 0}), row({0.1, 0.4, 0.2}), 1.0);
  EXPECT_EQ(result.ratio, 0.4);
  EXPECT_FALSE(result.worst);
}

struct Layout {
  TapId id;
  Shape shape;
  std::size_t at;  // flat index of the wrong element
  SeqId sequence;
  Index position;
  const char* element;
};

TEST_F(CheckTap, NamesSequencePositionAndElementInEveryLayout) {
  const Layout cases[] = {
      {{Tap::layer_out, 0}, {3, 4}, 0, 40, 5, "[0]"},
      {{Tap::layer_out, 0}, {3, 4}, 7, 40, 6, "[3]"},
      {{Tap::layer_out, 0}, {3, 4}, 11, 7, 0, "[3]"},
      {{Tap::q, 0}, {2, 3, 4}, 0, 40, 5, "head 0 [0]"},
      {{Tap::q, 0}, {2, 3, 4}, 4 * 4 + 2, 40, 6, "head 1 [2]"},
      {{Tap::q, 0}, {2, 3, 4}, 23, 7, 0, "head 1 [3]"},
      {{Tap::probs, 0}, {2, 3, 9}, 2 * 9 + 8, 7, 0, "head 0 key 8"},
      {{Tap::probs, 0}, {2, 3, 9}, 3 * 9, 40, 5, "head 1 key 0"},
  };
  for (const Layout& layout : cases) {
    const Tensor expected(layout.shape);
    Tensor got = expected;
    got.values()[layout.at] = 1.0;
    const TapCheck result = check(layout.id, expected, got, [](Index) { return 0.5; });
    ASSERT_TRUE(result.worst) << layout.element;
    EXPECT_EQ(result.worst->batch_row, layout.sequence) << layout.element;
    EXPECT_EQ(result.worst->position, layout.position) << layout.element;
    EXPECT_EQ(result.worst->element, layout.element);
  }
}

TEST_F(CheckTap, TakesALimitForEachRowOfTokensInEveryLayout) {
  const std::vector<double> limits = {1.0, 2.0, 3.0};
  for (const Shape& shape : {Shape{3, 4}, Shape{2, 3, 4}, Shape{2, 3, 9}}) {
    const Tensor exact(shape);
    const auto limit = limit_by_row(exact, limits);
    for (Index i = 0; i < exact.size(); ++i) {
      EXPECT_EQ(limit(i), limits[static_cast<std::size_t>(i / exact.cols() % 3)]) << to_string(shape) << " " << i;
    }
  }
}

TEST_F(CheckTap, AWrongShapeIsTheBackendsFault) {
  const Error error = wrong_tap_shape({Tap::q, 3}, {2, 3, 4}, {3, 8});
  EXPECT_EQ(error.kind(), ErrorKind::internal);
  EXPECT_EQ(error.code(), "backend.failed");
  EXPECT_THAT(error.message(), ::testing::HasSubstr("layers.3.attn.q"));
  EXPECT_THAT(error.message(), ::testing::HasSubstr("[2, 3, 4]"));
  EXPECT_THAT(error.message(), ::testing::HasSubstr("[3, 8]"));
}

}  // namespace
}  // namespace mlbench::harness
