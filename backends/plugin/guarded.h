// Memory for a result of a plug-in, in its process: every byte is set to 0xFF before the call, which is a NaN in every
// type, and what lies before and behind is watched.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include <fmt/format.h>

#include "backends/plugin/convert.h"

namespace mlbench::plugin {

class Guarded {
 public:
  // Room for a result of this form; what was there before is gone.
  [[nodiscard]] TensorView room(DType dtype, const Shape& shape) {
    const auto size = bytes_of(dtype, shape);
    if (!size) throw request_error("input.shape", fmt::format("a result of shape {}", to_string(shape)));
    size_ = *size;
    bytes_.resize(std::max(bytes_.size(), size_ + 2 * kGuard));
    std::fill_n(begin() - kGuard, kGuard, kPattern);
    std::fill_n(begin(), size_, std::byte{0xFF});
    std::fill_n(begin() + size_, kGuard, kPattern);
    return {dtype, shape, begin()};
  }

  [[nodiscard]] std::span<const std::byte> result() { return {begin(), size_}; }

  // Throws backend.failed when something was written outside of the room.
  void check(std::string_view doing) {
    const auto intact = [](const std::byte* at) {
      return std::all_of(at, at + kGuard, [](std::byte b) { return b == kPattern; });
    };
    if (!intact(begin() - kGuard)) throw backend_failed(fmt::format("{}: wrote before its result", doing));
    if (!intact(begin() + size_)) throw backend_failed(fmt::format("{}: wrote behind its result", doing));
  }

 private:
  static constexpr std::size_t kGuard = 256;
  static constexpr std::byte kPattern{0xA5};

  std::byte* begin() { return bytes_.data() + kGuard; }

  std::vector<std::byte> bytes_;
  std::size_t size_ = 0;
};

}  // namespace mlbench::plugin
