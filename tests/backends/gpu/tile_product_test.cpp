// Products of small tiles on the host executor, against float64, and where their values stand.
#include "backends/gpu/kernels/tile_product.h"

#include <cmath>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/backends/gpu/kernel_test.h"

namespace mlbench::gpu {
namespace host_device {

// sums[16, n] += left[16, 16] right[16, n] by one warp. `left` float32, rounded; right in rows of `pitch` values.
struct TilesCall {
  const float* left = nullptr;
  const void* right = nullptr;
  int pitch = 0;
  bool columns_as_rows = false;
  float* sums = nullptr;
};

// A lane's value of a row-major matrix of `width` columns, whose tile begins at `first`.
template <int W, class Value>
GPU_DEVICE Value& of_lane(Value* matrix, int width, int first, int i) {
  const int row = tile_row<W>() + i / kLaneColumns<W> * 8, column = tile_column<W>() + i % kLaneColumns<W>;
  return matrix[row * width + first + column];
}

template <int W, DType type>
GPU_KERNEL void multiply_tiles(TilesCall call) {
  using T = typename Stored<type>::type;
  constexpr int kWidth = kTileWidth<W>;
  const T* right = static_cast<const T*>(call.right);
  SumTile sums, left[2];
  for (int i = 0; i < 4; ++i) {
    sums.values[i] = of_lane<W>(call.sums, kWidth, 0, i);
    for (int tile = 0; tile < 16 / kWidth; ++tile) left[tile].values[i] = of_lane<W>(call.left, 16, tile * kWidth, i);
  }
  add_product<W>(sums, left_tile<W, T>(left),
                 call.columns_as_rows ? right_tile_of_rows<W>(right, call.pitch) : right_tile<W>(right, call.pitch));
  for (int i = 0; i < 4; ++i) of_lane<W>(call.sums, kWidth, 0, i) = sums.values[i];
}

}  // namespace host_device

namespace {

struct Tested {
  DType type = DType::bf16;
  int warp_width = 32;
};

class TileProduct : public testing::TestWithParam<Tested> {
 protected:
  // Columns of right and sums.
  [[nodiscard]] static std::size_t width() { return GetParam().warp_width == 32 ? 8 : 16; }

  // sums + left right, all row by row.
  [[nodiscard]] static std::vector<double> multiply(const std::vector<double>& left, const std::vector<double>& right,
                                                    const std::vector<double>& sums, bool columns_as_rows) {
    constexpr std::size_t kPitch = 24;
    std::vector<double> memory(kPitch * 16, std::nan(""));
    for (std::size_t k = 0; k < 16; ++k) {
      for (std::size_t n = 0; n < width(); ++n)
        memory[columns_as_rows ? n * kPitch + k : k * kPitch + n] = right[k * width() + n];
    }
    test::Buffer a = test::floats(left), b(GetParam().type, memory), out = test::floats(sums);
    run({a.floats(), b.data(), kPitch, columns_as_rows, out.floats()});
    EXPECT_TRUE(out.guarded());
    return out.values();
  }

 private:
  static void run(const host_device::TilesCall& call) {
    const auto before = executor::options();
    executor::options().warp_width = GetParam().warp_width;
    if (GetParam().warp_width == 32) {
      launch<32>(call);
    } else {
      launch<64>(call);
    }
    executor::options() = before;
  }

  template <int W>
  static void launch(const host_device::TilesCall& call) {
    test::NoStream stream;
    const auto kernel = GetParam().type == DType::bf16 ? host_device::multiply_tiles<W, DType::bf16>
                                                       : host_device::multiply_tiles<W, DType::f16>;
    host_device::launch(kernel, Place{1, 1, 1}, Place{W, 1, 1}, 0, stream, call);
  }
};

// One value of each at a time, so that there is one product.
TEST_P(TileProduct, EveryValueHasItsPlace) {
  for (const bool columns_as_rows : {false, true}) {
    for (std::size_t row = 0; row < 16; ++row) {
      const std::size_t k = (7 * row + 3) % 16, column = (5 * row + 2) % width();
      std::vector<double> left(256), right(16 * width()), expected(16 * width());
      left[row * 16 + k] = 3.0;
      right[k * width() + column] = -5.0;
      expected[row * width() + column] = -15.0;
      EXPECT_EQ(multiply(left, right, std::vector<double>(16 * width()), columns_as_rows), expected);
    }
  }
}

// Products of two values of 8 or 11 bits are exact in float32; 16 additions round, each sum at most the magnitudes'.
TEST_P(TileProduct, IsTheProductOfRoundedFactors) {
  const DType type = GetParam().type;
  const std::vector<double> left = test::some_values(256, 1, 2.0);
  const std::vector<double> sums = test::some_values(static_cast<Index>(16 * width()), 3, 1.0);
  std::vector<double> right = test::some_values(static_cast<Index>(16 * width()), 2, 2.0);
  for (double& r : right) r = rounded_to(r, type);
  std::vector<test::Bounded> expected;
  for (std::size_t row = 0; row < 16; ++row) {
    for (std::size_t column = 0; column < width(); ++column) {
      double sum = sums[row * width() + column], magnitude = std::fabs(sum);
      for (std::size_t k = 0; k < 16; ++k) {
        const double term = rounded_to(left[row * 16 + k], type) * right[k * width() + column];
        sum += term;
        magnitude += std::fabs(term);
      }
      expected.push_back({sum, 17.0 * test::kUnit * magnitude});
    }
  }
  for (const bool columns_as_rows : {false, true}) {
    test::expect_within(multiply(left, right, sums, columns_as_rows), expected);
  }
}

TEST_P(TileProduct, InfinitiesAndNoNumbersReachTheirRowAndColumnAlone) {
  std::vector<double> left(256, 1.0), right(16 * width(), 1.0);
  left[5 * 16 + 3] = test::kInfinity;
  right[9 * width() + 6] = test::kNan;
  const std::vector<double> got = multiply(left, right, std::vector<double>(16 * width()), false);
  for (std::size_t i = 0; i < got.size(); ++i) {
    const bool infinite = i / width() == 5, none = i % width() == 6;
    EXPECT_TRUE(none ? std::isnan(got[i]) : got[i] == (infinite ? double{test::kInfinity} : 16.0)) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Types, TileProduct,
                         testing::Values(Tested{DType::bf16, 32}, Tested{DType::f16, 32}, Tested{DType::bf16, 64},
                                         Tested{DType::f16, 64}),
                         [](const auto& tested) {
                           return fmt::format("{}_warps_of_{}", name(tested.param.type), tested.param.warp_width);
                         });

template <class T>
void expect_finite_pairs(std::uint16_t infinity, std::uint16_t none, std::uint16_t largest) {
  using host_device::finite_pair;
  using host_device::pair_of;
  for (const std::uint16_t bad : {infinity, none, static_cast<std::uint16_t>(infinity | 0x8000U)}) {
    EXPECT_EQ(finite_pair<T>(pair_of(T{bad}, T{largest})), pair_of(T{0}, T{largest}));
    EXPECT_EQ(finite_pair<T>(pair_of(T{largest}, T{bad})), pair_of(T{largest}, T{0}));
    EXPECT_EQ(finite_pair<T>(pair_of(T{bad}, T{bad})), 0U);
  }
  EXPECT_EQ(finite_pair<T>(pair_of(T{1}, T{largest})), pair_of(T{1}, T{largest}));
}

TEST(FinitePair, PutsZerosForInfinitiesAndNoNumbersAlone) {
  expect_finite_pairs<bf16>(0x7F80, 0x7FC1, 0xFF7F);
  expect_finite_pairs<f16>(0x7C00, 0x7E01, 0xFBFF);
}

}  // namespace
}  // namespace mlbench::gpu
