// What a pattern of straying elements is said to look like.
#include "harness/diagnose.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include <gmock/gmock.h>

namespace mlbench::harness {
namespace {

using ref::Tensor;
using ::testing::AnyOf;
using ::testing::HasSubstr;

constexpr double kLimit = 1e-3;
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// Values of order one without a pattern of their own.
Tensor scattered(const Shape& shape) {
  Tensor out(shape);
  for (std::size_t i = 0; i < out.values().size(); ++i)
    out.values()[i] = std::sin(1.0 + 12.9898 * static_cast<double>(i * i % 97 + i));
  return out;
}

Tensor changed(const Tensor& x, const std::function<void(Tensor&)>& change) {
  Tensor out = x;
  change(out);
  return out;
}

std::string guess(TapLayout layout, const Tensor& expected, const Tensor& got, double limit = kLimit) {
  const std::function<double(Index)> limits = [limit](Index) { return limit; };
  return diagnose({layout, expected, got, limits});
}

// Rows [6, 8]; heads [4, 6, 8].
const Tensor kRows = scattered({6, 8});
const Tensor kHeads = scattered({4, 6, 8});

std::string guess_rows(const std::function<void(Tensor&)>& change) {
  return guess(TapLayout::rows, kRows, changed(kRows, change));
}
std::string guess_heads(const std::function<void(Tensor&)>& change) {
  return guess(TapLayout::heads, kHeads, changed(kHeads, change));
}

// Adds what has no pattern to some values.
void disturb(std::span<double> values) {
  for (std::size_t i = 0; i < values.size(); ++i) values[i] += 0.3 + 0.2 * std::cos(7.0 * static_cast<double>(i * i));
}

TEST(Diagnose, IsSilentWhereNothingStrays) {
  EXPECT_EQ(guess_rows([](Tensor&) {}), "");
  EXPECT_EQ(guess_rows([](Tensor& x) { x.values()[5] += 0.9 * kLimit; }), "");
  EXPECT_EQ(guess(TapLayout::rows, Tensor(Shape{0, 8}), Tensor(Shape{0, 8})), "");
}

TEST(Diagnose, IsSilentWhereNothingFits) {
  EXPECT_EQ(guess_rows([](Tensor& x) { disturb(x.values()); }), "");
  EXPECT_EQ(guess_heads([](Tensor& x) { disturb(x.values()); }), "");
  EXPECT_EQ(guess(TapLayout::rows, kRows, scattered({6, 7})), "") << "of shapes that differ";
}

TEST(Diagnose, SeesOneFactor) {
  const double factor = std::sqrt(0.5);
  EXPECT_EQ(guess_rows([&](Tensor& x) {
              for (double& value : x.values()) value *= factor;
            }),
            "scaled by 0.7071");
  EXPECT_EQ(guess_heads([&](Tensor& x) {
              for (double& value : x.values()) value = -value;
            }),
            "scaled by -1");
  EXPECT_EQ(guess_rows([&](Tensor& x) {
              for (double& value : x.row(2)) value *= 2.0;
            }),
            "scaled by 2, row 2 alone");
}

TEST(Diagnose, SeesOneDifference) {
  EXPECT_EQ(guess_rows([](Tensor& x) {
              for (double& value : x.values()) value += 0.25;
            }),
            "shifted by 0.25");
  EXPECT_EQ(guess_heads([](Tensor& x) {
              for (Index t = 0; t < 6; ++t) {
                for (double& value : x.row(3 * 6 + t)) value -= 1.5;
              }
            }),
            "shifted by -1.5, head 3 alone");
}

TEST(Diagnose, SeesZeros) {
  EXPECT_EQ(guess_rows([](Tensor& x) { std::ranges::fill(x.values(), 0.0); }), "zeros");
  EXPECT_EQ(guess_rows([](Tensor& x) { std::ranges::fill(x.row(5), 0.0); }), "zeros, row 5 alone");
}

TEST(Diagnose, SeesWhatIsNoNumber) {
  for (const double none : {kNaN, std::numeric_limits<double>::infinity()}) {
    EXPECT_EQ(guess_rows([&](Tensor& x) { std::ranges::fill(x.values(), none); }), "values that are no numbers");
    EXPECT_EQ(guess_rows([&](Tensor& x) { x.row(4)[2] = none; }), "values that are no numbers, element 2 alone");
    EXPECT_EQ(guess_heads([&](Tensor& x) {
                for (Index t = 0; t < 6; ++t) std::ranges::fill(x.row(6 + t), none);
              }),
              "values that are no numbers, head 1 alone");
  }
}

TEST(Diagnose, SeesOneRowHeadOrElement) {
  EXPECT_EQ(guess_rows([](Tensor& x) { disturb(x.row(3)); }), "row 3 alone");
  EXPECT_EQ(guess_rows([](Tensor& x) {
              for (Index r = 0; r < 6; ++r) x.row(r)[7] += 0.3 + 0.1 * static_cast<double>(r % 3);
            }),
            "element 7 alone");
  EXPECT_EQ(guess_heads([](Tensor& x) { disturb(x.values().subspan(2 * 48, 48)); }), "head 2 alone");
  EXPECT_EQ(guess_heads([](Tensor& x) {
              for (Index h = 0; h < 4; ++h) {
                x.row(h * 6 + 2)[1] += 0.4;
                x.row(h * 6 + 2)[5] += 0.1 * static_cast<double>(h) + 0.2;
              }
            }),
            "row 2 alone");
}

TEST(Diagnose, SeesWhereItBegins) {
  EXPECT_EQ(guess_rows([](Tensor& x) { disturb(x.values().subspan(2 * 8)); }), "from row 2 on");
  EXPECT_EQ(guess_heads([](Tensor& x) {
              for (Index h = 0; h < 4; ++h) disturb(x.values().subspan(static_cast<std::size_t>(h * 48 + 32), 16));
            }),
            "from row 4 on");
  EXPECT_EQ(guess_rows([](Tensor& x) {
              disturb(x.row(2));
              disturb(x.row(4));
            }),
            "")
      << "not all from there on";
}

TEST(Diagnose, SeesExchangedRows) {
  const auto exchange = [](Tensor& x, Index a, Index b) { std::ranges::swap_ranges(x.row(a), x.row(b)); };
  EXPECT_EQ(guess_rows([&](Tensor& x) { exchange(x, 1, 4); }), "row 1 holds the values of row 4");
  EXPECT_EQ(guess_heads([&](Tensor& x) {
              for (Index h = 0; h < 4; ++h) exchange(x, h * 6 + 3, h * 6 + 5);
            }),
            "row 3 holds the values of row 5");
}

// Every row holds the one before it, as after a step too many.
TEST(Diagnose, SeesShiftedRows) {
  EXPECT_EQ(guess_rows([](Tensor& x) {
              for (Index r = 5; r > 0; --r) std::ranges::copy(kRows.row(r - 1), x.row(r).begin());
            }),
            "row 1 holds the values of row 0");
}

TEST(Diagnose, SeesExchangedHeads) {
  EXPECT_EQ(guess_heads([](Tensor& x) {
              std::ranges::copy(kHeads.values().subspan(0, 48), x.values().begin() + 48);
              std::ranges::copy(kHeads.values().subspan(48, 48), x.values().begin());
            }),
            "head 0 holds the values of head 1");
}

TEST(Diagnose, SeesExchangedColumns) {
  EXPECT_EQ(guess_rows([](Tensor& x) {
              for (Index r = 0; r < 6; ++r) std::swap(x.row(r)[2], x.row(r)[6]);
            }),
            "element 2 holds the values of element 6");
}

// Rotation by pairs of neighbours instead of halves exchanges many: the first that fits is named.
TEST(Diagnose, NamesOneOfManyExchangedRows) {
  EXPECT_EQ(guess_rows([](Tensor& x) {
              for (Index r = 0; r < 6; ++r) std::ranges::copy(kRows.row(5 - r), x.row(r).begin());
            }),
            "row 0 holds the values of row 5");
}

// The reference may overflow on purpose; what a backend made of it is then no pattern.
TEST(Diagnose, SurvivesAReferenceThatIsNoNumber) {
  Tensor expected = kRows;
  expected.values()[9] = std::numeric_limits<double>::infinity();
  const std::string said = guess(TapLayout::rows, expected, changed(kRows, [](Tensor& x) { disturb(x.row(2)); }));
  EXPECT_THAT(said, AnyOf("", HasSubstr("row")));
}

TEST(Diagnose, OfProbabilitiesSaysWhichHead) {
  const Tensor probs = scattered({4, 6, 9});
  EXPECT_EQ(guess(TapLayout::probs, probs, changed(probs, [](Tensor& x) { disturb(x.values().subspan(54, 54)); })),
            "head 1 alone");
}

}  // namespace
}  // namespace mlbench::harness
