// What the subject computes with: float32 values that are rounded to a storage type where it is said to round.
#pragma once

#include <bit>
#include <cstdint>
#include <vector>

#include "core/dtype.h"
#include "core/tensor.h"
#include "core/tensor_view.h"

namespace mlbench::selftest {

using Rows = Tensor<float>;  // [T, width]

// To nearest, ties to even.
[[nodiscard]] inline float rounded_to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7FFFFFFFU) > 0x7F800000U) return value;
  return std::bit_cast<float>((bits + 0x7FFFU + ((bits >> 16U) & 1U)) & 0xFFFF0000U);
}
[[nodiscard]] inline float rounded(DType type, float value) {
  return type == DType::bf16 ? rounded_to_bf16(value) : value;
}
// `bits` bits of the fraction are kept, to nearest, ties away from zero.
[[nodiscard]] inline float with_fraction(float value, unsigned bits) {
  const std::uint32_t half = 1U << (22U - bits);
  return std::bit_cast<float>((std::bit_cast<std::uint32_t>(value) + half) & ~((half << 1U) - 1U));
}
inline void round_all(DType type, Rows& rows) {
  for (float& value : rows.values()) value = rounded(type, value);
}

// The values of a view, which `count` first rows of its last axis make up; exact.
[[nodiscard]] Rows rows_of(const ConstTensorView& view, Index count);
// Into memory that is given; rounds to its type.
void copy_to(const Rows& rows, const TensorView& out);

}  // namespace mlbench::selftest
