// What the tests of kernels share: the host as a device at both widths of warps and in several orders of threads, rows
// in its memory between guards, and comparison under a bound.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <type_traits>
#include <vector>

#include <gtest/gtest.h>

#include "backends/gpu/executor/executor.h"
#include "backends/gpu/runtime.h"
#include "core/error.h"
#include "core/hash.h"
#include "tests/support/error_code.h"

namespace mlbench::gpu::test {

inline constexpr double kUnit = 0x1p-24;  // float32's unit roundoff
inline constexpr double kInfinity = std::numeric_limits<double>::infinity();
inline constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
inline constexpr DType kStored[] = {DType::f32, DType::bf16, DType::f16};

// The host does at once what is queued.
class NoStream final : public Stream {
 public:
  void synchronize() override {}
};

// Calls test(std::integral_constant<int, W>()) for warps of 32 and of 64 threads, in two orders of threads each.
template <class Test>
void on_every_warp(const Test& test) {
  const auto before = executor::options();
  const auto run = [&](auto warp) {
    for (const unsigned seed : {1U, 2U}) {
      SCOPED_TRACE(testing::Message() << "warps of " << warp() << ", seed " << seed);
      executor::options().warp_width = warp();
      executor::options().seed = seed;
      test(warp);
    }
  };
  run(std::integral_constant<int, 32>());
  run(std::integral_constant<int, 64>());
  executor::options() = before;
}

// Around a warp, four values to a thread or one, and around the columns of a block, 1024 or 2048.
inline std::vector<Index> row_widths(int warp) {
  const Index w = warp;
  return {1, 2, 3, 4, 5, w - 1, w, w + 1, 3 * w + 5, 4 * w - 4, 4 * w, 4 * w + 4, 1023, 1024, 2052};
}

// Which of a call's arrays stands one value behind where a pack may begin; -1: none.
class Moved {
 public:
  explicit Moved(Index array) : array_(array) {}
  [[nodiscard]] Index operator()(Index array) const { return array == array_ ? 1 : 0; }

 private:
  Index array_;
};

// Calls test(warp, width, moved) for all of these, with none of a call's arrays moved, and, where rows are whole packs,
// with each alone.
template <class Test>
void on_every_row(Index arrays, const Test& test) {
  on_every_warp([&](auto warp) {
    for (const Index width : row_widths(warp())) {
      for (Index array = -1; array < (width % 4 == 0 ? arrays : 0); ++array) {
        SCOPED_TRACE(testing::Message() << "width " << width << ", array " << array << " moved");
        test(warp, width, Moved(array));
      }
    }
  });
}

// In [-range, range), float32s, always the same.
inline std::vector<double> some_values(Index count, std::uint64_t seed, double range) {
  std::vector<double> out;
  for (Index i = 0; i < count; ++i) {
    const auto bits = static_cast<std::int32_t>(scattered(seed, static_cast<std::uint64_t>(i)));
    out.push_back(static_cast<double>(static_cast<float>(static_cast<double>(bits) * 0x1p-31 * range)));
  }
  return out;
}

// Values of a storage type in the device's memory, `offset` values behind an aligned address, with guards around them.
class Buffer {
 public:
  // Rounded to the type.
  Buffer(DType type, const std::vector<double>& values, Index offset = 0)
      : Buffer(type, static_cast<Index>(values.size()), offset) {
    narrow(type, values, begin());
  }
  // Not written yet: all bits 1, a NaN in every type.
  Buffer(DType type, Index count, Index offset = 0)
      : type_(type),
        count_(static_cast<std::size_t>(count)),
        first_(sizeof(Line) + static_cast<std::size_t>(offset) * size_bytes(type)),
        lines_((first_ + count_ * size_bytes(type)) / sizeof(Line) + 2) {
    std::memset(lines_.data(), kUnwritten, lines_.size() * sizeof(Line));
  }

  [[nodiscard]] void* data() { return begin(); }
  [[nodiscard]] float* floats() {
    EXPECT_EQ(type_, DType::f32);
    return static_cast<float*>(data());
  }
  [[nodiscard]] Index size() const { return static_cast<Index>(count_); }
  [[nodiscard]] std::vector<double> values() const {
    std::vector<double> out(count_);
    widen(type_, begin(), out);
    return out;
  }
  [[nodiscard]] std::vector<std::byte> bytes() const { return {begin(), begin() + count_ * size_bytes(type_)}; }
  // Whether nothing was written beside the values.
  [[nodiscard]] bool guarded() const {
    const auto* all = reinterpret_cast<const std::byte*>(lines_.data());
    const auto untouched = [](std::byte b) { return b == static_cast<std::byte>(kUnwritten); };
    return std::all_of(all, begin(), untouched) &&
           std::all_of(begin() + count_ * size_bytes(type_), all + lines_.size() * sizeof(Line), untouched);
  }

 private:
  struct alignas(64) Line {
    std::byte bytes[64];
  };
  static constexpr int kUnwritten = 0xFF;

  [[nodiscard]] std::byte* begin() { return reinterpret_cast<std::byte*>(lines_.data()) + first_; }
  [[nodiscard]] const std::byte* begin() const { return reinterpret_cast<const std::byte*>(lines_.data()) + first_; }

  DType type_;
  std::size_t count_, first_;
  std::vector<Line> lines_;
};

inline Buffer floats(const std::vector<double>& values, Index offset = 0) { return {DType::f32, values, offset}; }

// The bits of `values` rounded to the type.
inline std::vector<std::byte> rounded_bytes(DType type, const std::vector<double>& values) {
  return Buffer(type, values).bytes();
}

// One float32 addition of each.
inline std::vector<double> float_sum(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> out;
  for (std::size_t i = 0; i < a.size(); ++i) {
    out.push_back(static_cast<double>(static_cast<float>(a[i]) + static_cast<float>(b[i])));
  }
  return out;
}

// What a value may be: within `limit` of it, and no number only where it is none itself.
struct Bounded {
  double value = 0.0, limit = 0.0;
};

inline void expect_within(const std::vector<double>& got, const std::vector<Bounded>& expected) {
  ASSERT_EQ(got.size(), expected.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    const auto& [value, limit] = expected[i];
    const bool right = std::isnan(value) ? std::isnan(got[i]) : std::abs(got[i] - value) <= limit || got[i] == value;
    ASSERT_TRUE(right) << i << ": " << got[i] << " is not within " << limit << " of " << value;
  }
}

// `limit` of a float32, after its rounding to the type; what is too large for f16 is not tested.
inline double stored_limit(DType type, double value, double limit) {
  if (type == DType::f32) return limit;
  const double unit = type == DType::bf16 ? 0x1p-8 : 0x1p-11, tiniest = type == DType::bf16 ? 0x1p-134 : 0x1p-25;
  return limit + unit * (std::abs(value) + limit) + tiniest;
}

using mlbench::test::code_of;

}  // namespace mlbench::gpu::test
