// Storage types of kernels against core's conversions, which are right by tests of their own.
#include "backends/gpu/kernels/types.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "backends/gpu/kernels/vocabulary.h"
#include "core/dtype.h"
#include "core/hash.h"

namespace mlbench::gpu::host_device {
namespace {

std::uint16_t core_bits(DType type, float value) { return type == DType::bf16 ? to_bf16(value) : to_f16(value); }
float core_value(DType type, std::uint16_t bits) { return type == DType::bf16 ? from_bf16(bits) : from_f16(bits); }

template <DType type>
void expect_as_core(float value) {
  using T = typename Stored<type>::type;
  EXPECT_EQ(from_float<T>(value).bits, core_bits(type, value)) << value << " as " << name(type);
}

void expect_as_core(float value) {
  expect_as_core<DType::bf16>(value);
  expect_as_core<DType::f16>(value);
}

template <DType type>
void expect_every_value_kept() {
  using T = typename Stored<type>::type;
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const T stored{static_cast<std::uint16_t>(bits)};
    const float value = to_float(stored);
    ASSERT_EQ(std::bit_cast<std::uint32_t>(value), std::bit_cast<std::uint32_t>(core_value(type, stored.bits))) << bits;
    ASSERT_EQ(from_float<T>(value).bits, core_bits(type, value)) << bits;
    ASSERT_TRUE(std::isnan(value) || from_float<T>(value).bits == stored.bits) << bits;
  }
}

TEST(Types, EveryBf16WidensAsInCoreAndComesBack) { expect_every_value_kept<DType::bf16>(); }
TEST(Types, EveryF16WidensAsInCoreAndComesBack) { expect_every_value_kept<DType::f16>(); }

// Between every two neighbours: the middle, which is a tie, and the float32s beside it.
template <DType type>
void expect_ties_as_core() {
  for (std::uint32_t bits = 0; bits < 0x7FFF; ++bits) {
    const double low = core_value(type, static_cast<std::uint16_t>(bits));
    const double high = core_value(type, static_cast<std::uint16_t>(bits + 1));
    if (!std::isfinite(low) || std::isnan(high)) continue;
    const double largest_step = low - core_value(type, static_cast<std::uint16_t>(bits == 0 ? 0 : bits - 1));
    const auto middle = static_cast<float>(std::isinf(high) ? low + largest_step / 2 : (low + high) / 2);
    for (const float value : {std::nextafter(middle, 0.0F), middle, std::nextafter(middle, HUGE_VALF)}) {
      ASSERT_NO_FATAL_FAILURE(expect_as_core<type>(value));
      ASSERT_NO_FATAL_FAILURE(expect_as_core<type>(-value));
    }
  }
}

TEST(Types, TiesAndTheirNeighboursNarrowToBf16AsInCore) { expect_ties_as_core<DType::bf16>(); }
TEST(Types, TiesAndTheirNeighboursNarrowToF16AsInCore) { expect_ties_as_core<DType::f16>(); }

TEST(Types, EndsOfTheRangeNarrowAsInCore) {
  using Limits = std::numeric_limits<float>;
  for (const float value : {0.0F, Limits::denorm_min(), Limits::min(), Limits::max(), Limits::infinity(), 0x1p-24F,
                            0x1p-25F, 0x1.000002p-25F, 0x1p-14F, 0x1.ffcp-15F, 0x1.ffep-15F, 65504.0F, 65519.996F,
                            65520.0F, 65536.0F, 1e30F, 0x1.fep127F, 0x1.fefffep127F, 0x1.ffp127F}) {
    expect_as_core(value);
    expect_as_core(-value);
  }
}

TEST(Types, NanStaysNan) {
  for (const std::uint32_t bits : {0x7FC00000U, 0x7F800001U, 0x7FFFFFFFU, 0xFFC00000U, 0xFF800001U, 0xFFFFFFFFU}) {
    const auto nan = std::bit_cast<float>(bits);
    expect_as_core(nan);
    EXPECT_TRUE(std::isnan(to_float(from_float<bf16>(nan))));
    EXPECT_TRUE(std::isnan(to_float(from_float<f16>(nan))));
    EXPECT_TRUE(std::isnan(from_float<float>(nan)));
  }
}

TEST(Types, ScatteredFloatsNarrowAsInCore) {
  for (std::uint64_t i = 0; i < 100000; ++i) {
    const auto bits = static_cast<std::uint32_t>(scattered(3, i));
    expect_as_core(std::bit_cast<float>(bits));
    // Of f16's range: exponents from 2^-27 on.
    expect_as_core<DType::f16>(std::bit_cast<float>((bits & 0x807FFFFFU) | (100U + (bits >> 23U) % 45U) << 23U));
  }
}

TEST(Types, F32StaysAsItIs) {
  static_assert(std::is_same_v<Stored<DType::f32>::type, float>);
  for (const float value : {0.1F, -0.0F, 1e-40F, HUGE_VALF}) {
    EXPECT_EQ(std::bit_cast<std::uint32_t>(from_float<float>(value)), std::bit_cast<std::uint32_t>(value));
    EXPECT_EQ(std::bit_cast<std::uint32_t>(to_float(value)), std::bit_cast<std::uint32_t>(value));
  }
}

TEST(Types, PacksAreAlignedToTheirSize) {
  static_assert(alignof(Pack<float, 4>) == 16 && sizeof(Pack<float, 4>) == 16);
  static_assert(alignof(Pack<bf16, 8>) == 16 && sizeof(Pack<bf16, 8>) == 16);
  static_assert(alignof(Pack<f16, 2>) == 4 && sizeof(Pack<f16, 1>) == 2);
}

}  // namespace
}  // namespace mlbench::gpu::host_device
