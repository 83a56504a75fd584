// Products of few rows, on every instruction set: exact where every partial sum is, and the same bits however the work
// is cut.
#include "backends/cpu/row_products.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include <gtest/gtest.h>

#include "core/hash.h"
#include "tests/backends/cpu/every_target.h"

namespace mlbench::cpu {
namespace {

constexpr DType kStored[] = {DType::f32, DType::bf16, DType::f16};
// Around full vectors of 4 to 16 values, and lines of memory of 64 bytes.
constexpr Index kLengths[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 48, 63, 64, 65, 95, 97, 128, 200};

double integer(Index i) { return static_cast<double>((i * 7 + i / 5) % 17 - 8); }
// Of about 1, exact in every type.
double scattered_value(Index i) {
  return static_cast<double>(scattered(1, static_cast<std::uint64_t>(i)) % 256U) / 128.0 - 1.0;
}

using Values = double (*)(Index);

struct Inputs {
  Inputs(DType stored_type, Index row_count, Index width, Index outputs, Values values, std::size_t offset = 0)
      : rows(row_count),
        in(width),
        out(outputs),
        type(stored_type),
        stored(offset + static_cast<std::size_t>(in * out) * size_bytes(type)) {
    std::vector<double> weights;
    for (Index i = 0; i < in * out; ++i) weights.push_back(values(i + 3));
    std::vector<std::byte> narrowed(stored.size());
    narrow(type, weights, narrowed.data());
    std::memcpy(stored.data() + offset, narrowed.data(), stored.size() - offset);
    weight = stored.data() + offset;
    for (Index i = 0; i < rows * in; ++i) x.push_back(static_cast<float>(values(i)));
    for (Index i = 0; i < out; ++i) bias.push_back(static_cast<float>(values(i + 1)));
  }

  // y [rows, out], those of `count` rows from `first_row` on.
  [[nodiscard]] std::vector<float> product(bool with_bias, Index first_row, Index count, Index part) const {
    std::vector<float> packed(static_cast<std::size_t>(packed_values(count, in)), -1e9F);
    pack_rows(x.data() + first_row * in, count, in, packed.data());
    std::vector<float> y(static_cast<std::size_t>(count * out), -1e9F);
    const RowProduct product{.x = packed.data(),
                             .rows = count,
                             .in = in,
                             .type = type,
                             .weight = weight,
                             .bias = with_bias ? bias.data() : nullptr,
                             .y = y.data(),
                             .stride = out};
    for (Index n = 0; n < out; n += part) multiply_rows(product, n, std::min(out, n + part));
    return y;
  }

  Index rows, in, out;
  DType type;
  std::vector<std::byte> stored;
  const std::byte* weight = nullptr;
  std::vector<float> x, bias;
};

std::vector<float> expected(const Inputs& inputs, Values values, bool bias) {
  std::vector<float> y;
  for (Index r = 0; r < inputs.rows; ++r) {
    for (Index n = 0; n < inputs.out; ++n) {
      double sum = bias ? values(n + 1) : 0.0;
      for (Index i = 0; i < inputs.in; ++i) sum += values(r * inputs.in + i) * values(n * inputs.in + i + 3);
      y.push_back(static_cast<float>(sum));
    }
  }
  return y;
}

TEST(RowProducts, AreExactOnSmallIntegersOfEveryLength) {
  test::on_every_target([] {
    for (const DType type : kStored) {
      for (const Index in : kLengths) {
        for (Index rows = 1; rows <= kFewRows; ++rows) {
          const Inputs inputs(type, rows, in, 19, integer);
          for (const bool bias : {false, true})
            ASSERT_EQ(inputs.product(bias, 0, rows, 19), expected(inputs, integer, bias))
                << name(type) << ", " << rows << " rows, in " << in;
        }
      }
    }
  });
}

TEST(RowProducts, AreExactForEveryNumberOfOutputs) {
  test::on_every_target([] {
    for (const DType type : kStored) {
      for (Index out = 1; out <= 20; ++out) {
        for (const Index rows : {1, 3, 8}) {
          const Inputs inputs(type, rows, 37, out, integer);
          ASSERT_EQ(inputs.product(true, 0, rows, out), expected(inputs, integer, true))
              << name(type) << ", out " << out;
        }
      }
    }
  });
}

TEST(RowProducts, ReadWeightsAtEveryAddressOfTheirType) {
  test::on_every_target([] {
    for (const DType type : kStored) {
      for (std::size_t offset = 0; offset < 64; offset += size_bytes(type)) {
        const Inputs inputs(type, 2, 45, 9, integer, offset);
        ASSERT_EQ(inputs.product(false, 0, 2, 9), expected(inputs, integer, false)) << name(type) << " at " << offset;
      }
    }
  });
}

TEST(RowProducts, GiveTheSameBitsHoweverRowsAndOutputsAreCut) {
  test::on_every_target([] {
    for (const DType type : kStored) {
      for (const Index in : {333, 2500}) {
        const Inputs inputs(type, kFewRows, in, 29, scattered_value);
        for (const auto& [fewest, most] : {std::pair<Index, Index>{1, 4}, {5, kFewRows}}) {
          const std::vector<float> whole = inputs.product(true, kFewRows - most, most, 29);
          for (const Index part : {1, 2, 3, 7, 15, 16})
            ASSERT_EQ(inputs.product(true, kFewRows - most, most, part), whole);
          for (Index count = fewest; count < most; ++count) {
            const std::vector<float> some = inputs.product(true, kFewRows - count, count, 29);
            ASSERT_TRUE(std::equal(some.rbegin(), some.rend(), whole.rbegin())) << count << " rows of " << name(type);
          }
        }
      }
    }
  });
}

}  // namespace
}  // namespace mlbench::cpu
