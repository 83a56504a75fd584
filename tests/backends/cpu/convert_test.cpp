#include "backends/cpu/convert.h"

#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

namespace mlbench::cpu {
namespace {

constexpr std::uint32_t kPatterns = 0x10000;  // of a 16-bit type

bool same(float a, float b) {
  return (std::isnan(a) && std::isnan(b)) || std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b);
}

TEST(WidenedF16, IsCoresForEveryPattern) {
  for (std::uint32_t bits = 0; bits < kPatterns; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    ASSERT_TRUE(same(widened_f16(half), from_f16(half))) << bits;
  }
}

// Every value of the type, the middle between it and the next, and the float32 on both sides of each.
template <class Widen, class Check>
void for_borders(Widen widen, Check check) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (std::uint32_t bits = 0; bits + 1 < kPatterns; ++bits) {
    const float value = widen(static_cast<std::uint16_t>(bits));
    const float next = widen(static_cast<std::uint16_t>(bits + 1));
    for (const float centre : {value, value + (next - value) / 2.0F}) {
      check(centre);
      check(std::nextafter(centre, kInfinity));
      check(std::nextafter(centre, -kInfinity));
    }
  }
}

TEST(RoundedF16, IsCoresAtEveryBorder) {
  for_borders(widened_f16, [](float value) {
    const std::uint16_t expected = to_f16(static_cast<double>(value));
    ASSERT_TRUE(same(widened_f16(rounded_f16(value)), widened_f16(expected))) << value;
  });
}

TEST(RoundedBf16, IsCoresAtEveryBorder) {
  for_borders(from_bf16, [](float value) {
    const std::uint16_t expected = to_bf16(static_cast<double>(value));
    ASSERT_TRUE(same(from_bf16(rounded_bf16(value)), from_bf16(expected))) << value;
  });
}

TEST(RoundedF16, IsInfiniteBeyondTheLargestFiniteValue) {
  for (const float value : {65520.0F, 65536.0F, 1e30F, std::numeric_limits<float>::infinity()}) {
    EXPECT_EQ(rounded_f16(value), 0x7C00U) << value;
    EXPECT_EQ(rounded_f16(-value), 0xFC00U) << value;
  }
  EXPECT_EQ(rounded_f16(65519.0F), 0x7BFFU);
}

TEST(Rounding, KeepsNotANumber) {
  const auto nan = std::bit_cast<float>(0x7F800001U);  // whose upper half looks like infinity
  EXPECT_TRUE(std::isnan(from_bf16(rounded_bf16(nan))));
  EXPECT_TRUE(std::isnan(widened_f16(rounded_f16(nan))));
}

TEST(NarrowAndWiden, AreInverseOnStoredValues) {
  const std::vector<float> values = {0.0F, -0.0F, 1.5F, -2.25F, 256.0F, 0.0078125F};
  for (const DType type : {DType::f32, DType::bf16, DType::f16}) {
    std::vector<std::byte> stored(values.size() * size_bytes(type));
    std::vector<float> back(values.size());
    narrow(type, values.data(), stored.data(), static_cast<Index>(values.size()));
    widen(type, stored.data(), back.data(), static_cast<Index>(values.size()));
    EXPECT_EQ(back, values) << name(type);
  }
}

}  // namespace
}  // namespace mlbench::cpu
