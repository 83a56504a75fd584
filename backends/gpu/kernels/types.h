// Storage types of kernels: two types of 16 bits that have the same bits on every device, and packs of up to 16 bytes
// that are read and written at once. Their conversions are in vocabulary.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/dtype.h"

namespace mlbench::gpu {

// NOLINTBEGIN(readability-identifier-naming): the types' names, as everywhere
struct bf16 {
  std::uint16_t bits;
};
struct f16 {
  std::uint16_t bits;
};
// NOLINTEND(readability-identifier-naming)

template <DType type>
struct Stored;
template <>
struct Stored<DType::f32> {
  using type = float;
};
template <>
struct Stored<DType::bf16> {
  using type = bf16;
};
template <>
struct Stored<DType::f16> {
  using type = f16;
};

template <class T, int n>
struct alignas(sizeof(T) * static_cast<std::size_t>(n)) Pack {
  static_assert(n > 0 && (n & (n - 1)) == 0 && sizeof(T) * static_cast<std::size_t>(n) <= 16,
                "a device reads 2, 4, 8 or 16 bytes at once");
  T values[static_cast<std::size_t>(n)];

  constexpr T& operator[](int i) { return values[i]; }
  constexpr const T& operator[](int i) const { return values[i]; }
};

// An array whose length and places are ints.
template <class T, int n>
struct Values {
  T values[static_cast<std::size_t>(n)];

  constexpr T& operator[](int i) { return values[i]; }
  constexpr const T& operator[](int i) const { return values[i]; }
};

}  // namespace mlbench::gpu
