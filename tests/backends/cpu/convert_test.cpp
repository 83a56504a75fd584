#include "backends/cpu/convert.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "core/error.h"
#include "tests/backends/cpu/every_target.h"
#include "tests/backends/cpu/placed_rows.h"

namespace mlbench::cpu {
namespace {

constexpr std::uint32_t kPatterns = 0x10000;  // of a 16-bit type

bool same(float a, float b) {
  return (std::isnan(a) && std::isnan(b)) || std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b);
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

constexpr DType kHalves[] = {DType::bf16, DType::f16};

// One by one, as core does it; a NaN becomes a quiet one, of f16 always the same.
float widened(DType type, std::uint16_t bits) { return type == DType::bf16 ? from_bf16(bits) : from_f16(bits); }
std::uint16_t rounded(DType type, float value) {
  const auto upper = static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(value) >> 16U);
  if (std::isnan(value))
    return static_cast<std::uint16_t>(type == DType::bf16 ? upper | 0x40U : (upper & 0x8000U) | 0x7E00U);
  return type == DType::bf16 ? to_bf16(static_cast<double>(value)) : to_f16(static_cast<double>(value));
}

std::vector<std::uint16_t> every_pattern() {
  std::vector<std::uint16_t> out;
  for (std::uint32_t bits = 0; bits < kPatterns; ++bits) out.push_back(static_cast<std::uint16_t>(bits));
  return out;
}

std::vector<float> widened(DType type, const std::vector<std::uint16_t>& stored) {
  std::vector<float> out(stored.size());
  widen(type, reinterpret_cast<const std::byte*>(stored.data()), out.data(), static_cast<Index>(out.size()));
  return out;
}

std::vector<std::uint16_t> narrowed(DType type, const std::vector<float>& values) {
  std::vector<std::uint16_t> out(values.size());
  narrow(type, values.data(), reinterpret_cast<std::byte*>(out.data()), static_cast<Index>(out.size()));
  return out;
}

TEST(Widen, IsCoresForEveryPattern) {
  const std::vector<std::uint16_t> patterns = every_pattern();
  test::on_every_target([&] {
    for (const DType type : kHalves) {
      const std::vector<float> wide = widened(type, patterns);
      for (const std::uint16_t bits : patterns) {
        ASSERT_TRUE(same(wide[bits], widened(type, bits))) << name(type) << " " << bits;
        ASSERT_EQ(std::signbit(wide[bits]), bits >= 0x8000U) << name(type) << " " << bits;
        // As instructions leave it, which most targets have.
        const bool quiet = (std::bit_cast<std::uint32_t>(wide[bits]) & 0x400000U) != 0;
        ASSERT_TRUE(type == DType::bf16 || !std::isnan(wide[bits]) || quiet) << bits;
      }
    }
  });
}

TEST(Narrow, IsInfiniteBeyondTheLargestFiniteValueOfF16) {
  const std::vector<float> beyond = {65520.0F, 65536.0F, 1e30F, std::numeric_limits<float>::infinity(), 65519.0F};
  test::on_every_target([&] {
    const std::vector<std::uint16_t> got = narrowed(DType::f16, beyond);
    EXPECT_EQ(got, (std::vector<std::uint16_t>{0x7C00, 0x7C00, 0x7C00, 0x7C00, 0x7BFF}));
  });
}

// A NaN becomes a quiet one, whatever it was.
TEST(Narrow, GivesEveryPatternBack) {
  const std::vector<std::uint16_t> patterns = every_pattern();
  test::on_every_target([&] {
    for (const DType type : kHalves) {
      const std::vector<float> wide = widened(type, patterns);
      const std::vector<std::uint16_t> back = narrowed(type, wide);
      for (const std::uint16_t bits : patterns) {
        if (std::isnan(wide[bits])) {
          ASSERT_EQ(back[bits], rounded(type, wide[bits])) << name(type) << " " << bits;
        } else {
          ASSERT_EQ(back[bits], bits) << name(type);
        }
      }
    }
  });
}

TEST(Narrow, IsTheSameBitsAsOneByOneAtEveryBorder) {
  for (const DType type : kHalves) {
    std::vector<float> borders;
    for_borders([=](std::uint16_t bits) { return widened(type, bits); },
                [&](float value) { borders.push_back(value); });
    // And values of all exponents, which f16 has not.
    for (const std::uint16_t bits : every_pattern()) borders.push_back(from_bf16(bits));
    for (const std::uint32_t nan : {0x7F800001U, 0xFF800001U, 0x7FC00000U, 0xFFFFFFFFU, 0x7FBFFFFFU}) {
      borders.push_back(std::bit_cast<float>(nan));
    }
    test::on_every_target([&] {
      const std::vector<std::uint16_t> got = narrowed(type, borders);
      for (std::size_t i = 0; i < borders.size(); ++i) {
        ASSERT_EQ(got[i], rounded(type, borders[i])) << name(type) << " " << borders[i];
      }
    });
  }
}

// Stored values stand at odd addresses too, in files.
TEST(NarrowAndWiden, TouchNothingBesideARow) {
  constexpr auto kMark = std::byte{0xA5};
  test::on_every_target([&] {
    for (const DType type : {DType::f32, DType::bf16, DType::f16}) {
      for (const Index count : test::row_lengths()) {
        for (const std::size_t offset : {0U, 1U, 2U, 6U, 31U}) {
          const std::vector<float> values = test::some_floats(count, 1, 8.0F);
          const std::size_t bytes = values.size() * size_bytes(type);
          test::PlacedRow in(values, static_cast<Index>(offset % 5)), out(values, static_cast<Index>(offset % 3));
          std::vector<std::byte> stored(offset + bytes + 64, kMark);
          narrow(type, in.data(), stored.data() + offset, count);
          for (std::size_t i = 0; i < stored.size(); ++i) {
            ASSERT_TRUE(stored[i] == kMark || (i >= offset && i < offset + bytes)) << i;
          }
          widen(type, stored.data() + offset, out.data(), count);
          ASSERT_TRUE(out.alone_was_written());
          const std::vector<float> back = out.values();
          for (std::size_t i = 0; i < values.size(); ++i) {
            const float expected = type == DType::f32 ? values[i] : widened(type, rounded(type, values[i]));
            ASSERT_EQ(back[i], expected) << name(type) << ", " << i << " of " << count;
          }
        }
      }
    }
  });
}

TEST(NarrowAndWiden, RefuseWhatIsNotStored) {
  float value = 1.0F;
  std::byte stored[8] = {};
  EXPECT_THROW(widen(DType::f64, stored, &value, 1), Error);
  EXPECT_THROW(narrow(DType::f64, &value, stored, 1), Error);
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
