// Products of small tiles on the host executor, against float64, and where their values stand.
#include "backends/gpu/kernels/tile_product.h"

#include <array>
#include <cmath>

#include <gtest/gtest.h>

#include "tests/backends/gpu/kernel_test.h"

namespace mlbench::gpu {
namespace host_device {

// sums[16, 8] += left[16, 16] right[16, 8] by one warp. `left` float32, rounded; right in rows of `pitch` values.
struct TilesCall {
  const float* left = nullptr;
  const void* right = nullptr;
  int pitch = 0;
  bool columns_as_rows = false;
  float* sums = nullptr;
};

template <class T>
GPU_DEVICE LeftTile<T> rounded_left(const float* left) {
  const int row = lane<32>() / 4, column = lane<32>() % 4 * 2;
  SumTile halves[2];
  for (int i = 0; i < 8; ++i) {
    halves[i / 4].values[i % 4] = left[(row + i % 4 / 2 * 8) * 16 + i / 4 * 8 + column + i % 2];
  }
  return left_tile<T>(halves[0], halves[1]);
}

template <DType type>
GPU_KERNEL void multiply_tiles(TilesCall call) {
  using T = typename Stored<type>::type;
  const T* right = static_cast<const T*>(call.right);
  SumTile sums;
  float* out = call.sums + lane<32>() / 4 * 8 + lane<32>() % 4 * 2;
  for (int i = 0; i < 4; ++i) sums.values[i] = out[i / 2 * 64 + i % 2];
  if (call.columns_as_rows) {
    add_product<32>(sums, rounded_left<T>(call.left), right_tile_of_rows<32>(right, call.pitch));
  } else {
    add_product<32>(sums, rounded_left<T>(call.left), right_tile<32>(right, call.pitch));
  }
  for (int i = 0; i < 4; ++i) out[i / 2 * 64 + i % 2] = sums.values[i];
}

}  // namespace host_device

namespace {

class TileProduct : public testing::TestWithParam<DType> {
 protected:
  // sums + left right, all row by row.
  [[nodiscard]] std::vector<double> multiply(const std::vector<double>& left, const std::vector<double>& right,
                                             const std::vector<double>& sums, bool columns_as_rows) const {
    constexpr Index kPitch = 24;
    std::vector<double> memory(static_cast<std::size_t>(kPitch * 16), std::nan(""));
    for (Index k = 0; k < 16; ++k) {
      for (Index n = 0; n < 8; ++n) {
        const Index at = columns_as_rows ? n * kPitch + k : k * kPitch + n;
        memory[static_cast<std::size_t>(at)] = right[static_cast<std::size_t>(k * 8 + n)];
      }
    }
    test::Buffer a = test::floats(left), b(GetParam(), memory), out = test::floats(sums);
    const host_device::TilesCall call{a.floats(), b.data(), kPitch, columns_as_rows, out.floats()};
    test::NoStream stream;
    const auto kernel =
        GetParam() == DType::bf16 ? host_device::multiply_tiles<DType::bf16> : host_device::multiply_tiles<DType::f16>;
    host_device::launch(kernel, Place{1, 1, 1}, Place{32, 1, 1}, 0, stream, call);
    EXPECT_TRUE(out.guarded());
    return out.values();
  }
};

// One value of each at a time, so that there is one product: some places of every lane's kind.
TEST_P(TileProduct, EveryValueHasItsPlace) {
  using Place = std::array<std::size_t, 3>;
  for (const bool columns_as_rows : {false, true}) {
    for (const auto& [row, k, column] :
         {Place{0, 0, 0}, Place{7, 1, 7}, Place{8, 8, 1}, Place{15, 15, 6}, Place{3, 9, 5}, Place{12, 6, 2}}) {
      std::vector<double> left(256), right(128), expected(128);
      left[row * 16 + k] = 3.0;
      right[k * 8 + column] = -5.0;
      expected[row * 8 + column] = -15.0;
      EXPECT_EQ(multiply(left, right, std::vector<double>(128), columns_as_rows), expected);
    }
  }
}

// Products of two values of 8 or 11 bits are exact in float32; 16 additions round, each sum at most the magnitudes'.
TEST_P(TileProduct, IsTheProductOfRoundedFactors) {
  const std::vector<double> left = test::some_values(256, 1, 2.0), sums = test::some_values(128, 3, 1.0);
  std::vector<double> right = test::some_values(128, 2, 2.0);
  for (double& r : right) r = rounded_to(r, GetParam());
  std::vector<test::Bounded> expected;
  for (std::size_t row = 0; row < 16; ++row) {
    for (std::size_t column = 0; column < 8; ++column) {
      double sum = sums[row * 8 + column], magnitude = std::fabs(sum);
      for (std::size_t k = 0; k < 16; ++k) {
        const double term = rounded_to(left[row * 16 + k], GetParam()) * right[k * 8 + column];
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
  std::vector<double> left(256, 1.0), right(128, 1.0);
  left[5 * 16 + 3] = test::kInfinity;
  right[9 * 8 + 6] = test::kNan;
  const std::vector<double> got = multiply(left, right, std::vector<double>(128), false);
  for (std::size_t i = 0; i < 128; ++i) {
    const bool infinite = i / 8 == 5, none = i % 8 == 6;
    EXPECT_TRUE(none ? std::isnan(got[i]) : got[i] == (infinite ? double{test::kInfinity} : 16.0)) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Types, TileProduct, testing::Values(DType::bf16, DType::f16),
                         [](const auto& tested) { return std::string(name(tested.param)); });

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
