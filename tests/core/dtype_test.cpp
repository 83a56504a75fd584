#include "core/dtype.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

namespace mlbench {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// A 16-bit binary format and the program's conversions for it.
struct Format {
  const char* label;
  int exponent_bits;
  int fraction_bits;
  float (*from)(std::uint16_t);
  std::uint16_t (*to)(double);
};
constexpr Format kF16{"f16", 5, 10, from_f16, to_f16};
constexpr Format kBf16{"bf16", 8, 7, from_bf16, to_bf16};

std::uint16_t infinity_bits(const Format& f) {
  return static_cast<std::uint16_t>(((1U << static_cast<unsigned>(f.exponent_bits)) - 1U)
                                    << static_cast<unsigned>(f.fraction_bits));
}

// IEEE 754-2019, 3.4, word by word: (-1)^s 2^(e - bias) (1 + f / 2^p), or 2^(1 - bias) f / 2^p where e is 0.
double decode(const Format& f, std::uint16_t bits) {
  const int bias = (1 << (f.exponent_bits - 1)) - 1;
  const int exponent = (bits & 0x7FFF) >> f.fraction_bits;
  const int fraction = bits & ((1 << f.fraction_bits) - 1);
  const double sign = (bits & 0x8000U) != 0 ? -1.0 : 1.0;
  if (exponent == (1 << f.exponent_bits) - 1) return fraction == 0 ? sign * kInfinity : std::nan("");
  const double significand = (exponent == 0 ? 0.0 : 1.0) + std::ldexp(fraction, -f.fraction_bits);
  return sign * std::ldexp(significand, (exponent == 0 ? 1 : exponent) - bias);
}

class SixteenBits : public ::testing::TestWithParam<Format> {};

TEST_P(SixteenBits, EveryPatternIsReadAsTheStandardDefinesIt) {
  const Format& f = GetParam();
  for (unsigned i = 0; i < 0x10000U; ++i) {
    const auto bits = static_cast<std::uint16_t>(i);
    const double expected = decode(f, bits);
    const auto read = static_cast<double>(f.from(bits));
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(read)) << std::hex << bits;
    } else {
      ASSERT_EQ(read, expected) << std::hex << bits;
      ASSERT_EQ(std::signbit(read), std::signbit(expected)) << std::hex << bits;
    }
  }
}

TEST_P(SixteenBits, EveryPatternSurvivesTheWayToFloat64AndBack) {
  const Format& f = GetParam();
  for (unsigned i = 0; i < 0x10000U; ++i) {
    const auto bits = static_cast<std::uint16_t>(i);
    const double value = decode(f, bits);
    if (std::isnan(value)) continue;  // below
    ASSERT_EQ(f.to(value), bits) << std::hex << bits << " = " << value;
  }
}

// Between each two neighbours: the middle goes to the even one, and what lies a float64 step beside the middle to the
// nearer one. The middle is a float32 number, so a detour through float32 would round that step away.
TEST_P(SixteenBits, RoundsToNearestTiesToEvenInOneStep) {
  const Format& f = GetParam();
  for (std::uint16_t low = 0; low + 1 < infinity_bits(f); ++low) {
    const auto high = static_cast<std::uint16_t>(low + 1);
    const double middle = (decode(f, low) + decode(f, high)) / 2.0;  // exact in float64
    const std::uint16_t even = low % 2 == 0 ? low : high;
    ASSERT_EQ(f.to(middle), even) << std::hex << low;
    ASSERT_EQ(f.to(std::nextafter(middle, 0.0)), low) << std::hex << low;
    ASSERT_EQ(f.to(std::nextafter(middle, kInfinity)), high) << std::hex << low;
    ASSERT_EQ(f.to(-middle), even | 0x8000U) << std::hex << low;
  }
}

TEST_P(SixteenBits, OverflowsToInfinityFromHalfAStepBeyondTheLargest) {
  const Format& f = GetParam();
  const std::uint16_t infinity = infinity_bits(f);
  const auto largest = static_cast<std::uint16_t>(infinity - 1);
  const auto before = static_cast<std::uint16_t>(infinity - 2);
  const double border = decode(f, largest) + (decode(f, largest) - decode(f, before)) / 2.0;
  EXPECT_EQ(f.to(std::nextafter(border, 0.0)), largest);
  EXPECT_EQ(f.to(border), infinity);  // a tie, and infinity's pattern is the even one
  EXPECT_EQ(f.to(-border), infinity | 0x8000U);
  EXPECT_EQ(f.to(std::numeric_limits<double>::max()), infinity);
  EXPECT_EQ(f.to(kInfinity), infinity);
  EXPECT_EQ(f.to(-kInfinity), infinity | 0x8000U);
}

TEST_P(SixteenBits, UnderflowsToZeroAtHalfTheSmallestSubnormal) {
  const Format& f = GetParam();
  const double smallest = decode(f, 1);
  EXPECT_EQ(f.to(smallest / 2.0), 0U);
  EXPECT_EQ(f.to(-smallest / 2.0), 0x8000U);
  EXPECT_EQ(f.to(std::nextafter(smallest / 2.0, 1.0)), 1U);
  EXPECT_EQ(f.to(std::numeric_limits<double>::denorm_min()), 0U);
  EXPECT_EQ(f.to(0.0), 0U);
  EXPECT_EQ(f.to(-0.0), 0x8000U);
}

TEST_P(SixteenBits, ANaNStaysAQuietNaN) {
  const Format& f = GetParam();
  for (const double nan : {std::nan(""), std::copysign(std::nan(""), -1.0), std::bit_cast<double>(0x7FF0000000000001U),
                           static_cast<double>(f.from(static_cast<std::uint16_t>(infinity_bits(f) + 1)))}) {
    const std::uint16_t bits = f.to(nan);
    EXPECT_EQ(bits & infinity_bits(f), infinity_bits(f));
    EXPECT_NE(bits & (1U << (static_cast<unsigned>(f.fraction_bits) - 1U)), 0U) << "not quiet";
    EXPECT_TRUE(std::isnan(f.from(bits)));
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, SixteenBits, ::testing::Values(kF16, kBf16),
                         [](const auto& format) { return format.param.label; });

class Packed : public ::testing::TestWithParam<DType> {};

TEST_P(Packed, WideningUndoesNarrowingAtAnyAlignment) {
  const DType type = GetParam();
  const std::vector<double> values{0.0, -0.0, 1.0, -2.5, 0.09375, kInfinity, 0x1p-14};  // exact in every type
  for (std::size_t shift = 0; shift < 3; ++shift) {
    std::vector<std::byte> buffer(shift + values.size() * size_bytes(type) + 1, std::byte{0xA5});
    narrow(type, values, buffer.data() + shift);
    EXPECT_EQ(buffer.back(), std::byte{0xA5}) << "wrote beyond its values";
    std::vector<double> back(values.size());
    widen(type, buffer.data() + shift, back);
    EXPECT_EQ(back, values);
    EXPECT_TRUE(std::signbit(back[1]));
  }
}

TEST_P(Packed, NarrowingRoundsToTheNearestValueOfTheType) {
  const DType type = GetParam();
  const int digits = type == DType::f64 ? 53 : type == DType::f32 ? 24 : type == DType::f16 ? 11 : 8;
  const double step = std::ldexp(1.0, 1 - digits);  // of the type, just above 1
  for (const auto& [value, expected] : {std::pair{1.0 + 0.75 * step, 1.0 + step}, {1.0 + 0.25 * step, 1.0}}) {
    if (type == DType::f64) continue;  // has no values between
    std::vector<std::byte> buffer(size_bytes(type));
    narrow(type, std::vector{value}, buffer.data());
    std::vector<double> back(1);
    widen(type, buffer.data(), back);
    EXPECT_EQ(back[0], expected);
  }
}

INSTANTIATE_TEST_SUITE_P(Types, Packed, ::testing::Values(DType::f64, DType::f32, DType::bf16, DType::f16),
                         [](const auto& type) { return std::string(name(type.param)); });

TEST(DTypeNames, BothSpellingsAreUnderstoodAndNothingElse) {
  for (const DType type : {DType::f64, DType::f32, DType::bf16, DType::f16}) {
    EXPECT_EQ(parse_dtype(name(type)), type);
    EXPECT_EQ(parse_dtype(long_name(type)), type);
  }
  EXPECT_EQ(long_name(DType::bf16), "bfloat16");
  for (const char* wrong : {"", "f8", "F32", "float", "float32 ", "fp16"}) EXPECT_EQ(parse_dtype(wrong), std::nullopt);
}

TEST(DTypeNames, SizesAreThoseOfTheFormats) {
  EXPECT_EQ(size_bytes(DType::f64), 8U);
  EXPECT_EQ(size_bytes(DType::f32), 4U);
  EXPECT_EQ(size_bytes(DType::bf16), 2U);
  EXPECT_EQ(size_bytes(DType::f16), 2U);
}

}  // namespace
}  // namespace mlbench
