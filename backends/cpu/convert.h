// float32 to and from the 16-bit types, quick enough for whole rows: core/dtype.h's rounding starts from float64 and
// takes its time. Same results: to nearest, ties to even.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include "core/dtype.h"
#include "core/tensor.h"

namespace mlbench::cpu {

// One of two values without a branch, so that loops become vector code.
[[nodiscard]] inline std::uint32_t chosen(bool first, std::uint32_t a, std::uint32_t b) {
  const std::uint32_t mask = 0U - static_cast<std::uint32_t>(first);
  return (a & mask) | (b & ~mask);
}

[[nodiscard]] inline float widened_f16(std::uint16_t bits) {
  const std::uint32_t magnitude = bits & 0x7FFFU;
  // With exponent and fraction in float32's places the exponent is 112 too small; for infinity and NaN it is all ones.
  const float scaled = std::bit_cast<float>(magnitude << 13U) * 0x1p112F;
  const std::uint32_t exponent = chosen(magnitude >= 0x7C00U, 0x7F800000U, 0U);
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(scaled) | exponent | (bits & 0x8000U) << 16U);
}

[[nodiscard]] inline std::uint16_t rounded_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t quiet_nan = (bits >> 16U) | 0x40U;
  // Half a unit, a little less where the kept part is even: a tie then goes to even, a carry into the exponent.
  const std::uint32_t rounded = (bits + 0x7FFFU + ((bits >> 16U) & 1U)) >> 16U;
  return static_cast<std::uint16_t>(chosen((bits & 0x7FFFFFFFU) > 0x7F800000U, quiet_nan, rounded));
}

[[nodiscard]] inline std::uint16_t rounded_f16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = (bits >> 16U) & 0x8000U;
  const std::uint32_t magnitude = bits & 0x7FFFFFFFU;
  // The exponent counts from another zero, 112 lower; then as above.
  const std::uint32_t normal = (magnitude - (112U << 23U) + 0xFFFU + ((magnitude >> 13U) & 1U)) >> 13U;
  // Beside 0.5 a float32's unit is 2^-24, the unit of subnormals: the sum is rounded there, in hardware.
  const std::uint32_t subnormal =
      std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + 0.5F) - std::bit_cast<std::uint32_t>(0.5F);
  const std::uint32_t beyond = chosen(magnitude > 0x7F800000U, 0x7E00U, 0x7C00U);
  const std::uint32_t finite = chosen(magnitude < 0x38800000U, subnormal, normal);             // 2^-14
  return static_cast<std::uint16_t>(sign | chosen(magnitude >= 0x47800000U, beyond, finite));  // 2^16
}

// `count` values of `type`, at any address; by vectors, as ops.h says.
void widen(DType type, const std::byte* in, float* out, Index count);
void narrow(DType type, const float* in, std::byte* out, Index count);

// The values of one row as float32: where they stand, or widened into `scratch`.
template <DType type>
[[nodiscard]] const float* as_floats(const std::byte* in, float* scratch, Index count) {
  if constexpr (type == DType::f32) return reinterpret_cast<const float*>(in);
  const auto* bits = reinterpret_cast<const std::uint16_t*>(in);
  for (Index i = 0; i < count; ++i) scratch[i] = type == DType::bf16 ? from_bf16(bits[i]) : widened_f16(bits[i]);
  return scratch;
}

}  // namespace mlbench::cpu
