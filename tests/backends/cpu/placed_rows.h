// Rows at any address, between values that give away what is read or written beside them.
#pragma once

#include <cmath>
#include <limits>
#include <vector>

#include "core/hash.h"
#include "core/tensor.h"

namespace mlbench::cpu::test {

// 0 to 3 vectors and one value more, then around two blocks of four vectors, of the widest: 16 values.
inline std::vector<Index> row_lengths() {
  std::vector<Index> lengths;
  for (Index count = 0; count <= 49; ++count) lengths.push_back(count);
  for (const Index count : {63, 64, 65, 127, 128, 129, 145, 200}) lengths.push_back(count);
  return lengths;
}

// Distances from an aligned address, in values.
inline constexpr Index kOffsets[] = {0, 1, 3, 6};

// NaNs stand around the row.
class PlacedRow {
 public:
  PlacedRow(const std::vector<float>& values, Index offset)
      : buffer_(kAround + static_cast<std::size_t>(offset), std::numeric_limits<float>::quiet_NaN()),
        first_(buffer_.size()),
        count_(values.size()) {
    buffer_.insert(buffer_.end(), values.begin(), values.end());
    buffer_.insert(buffer_.end(), kAround, std::numeric_limits<float>::quiet_NaN());
  }
  [[nodiscard]] float* data() { return buffer_.data() + first_; }
  [[nodiscard]] std::vector<float> values() const {
    return {buffer_.data() + first_, buffer_.data() + first_ + count_};
  }
  [[nodiscard]] bool alone_was_written() const {
    for (std::size_t i = 0; i < buffer_.size(); ++i) {
      if ((i < first_ || i >= first_ + count_) && !std::isnan(buffer_[i])) return false;
    }
    return true;
  }

 private:
  static constexpr std::size_t kAround = 32;

  std::vector<float> buffer_;
  std::size_t first_, count_;
};

// In [-range, range), always the same.
inline std::vector<float> some_floats(Index count, std::uint64_t seed, float range) {
  std::vector<float> out;
  for (Index i = 0; i < count; ++i) {
    const auto bits = static_cast<std::int32_t>(scattered(seed, static_cast<std::uint64_t>(i)));
    out.push_back(static_cast<float>(bits) * 0x1p-31F * range);
  }
  return out;
}

}  // namespace mlbench::cpu::test
