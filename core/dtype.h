// Storage types of weights and activations, and exact conversions to and from float64.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace mlbench {

enum class DType { f64, f32, bf16, f16 };

[[nodiscard]] std::size_t size_bytes(DType type);
[[nodiscard]] std::string_view name(DType type);       // "f64", "f32", "bf16", "f16": the command line's names
[[nodiscard]] std::string_view long_name(DType type);  // "float64", ...: the names of config.json and of method specs
[[nodiscard]] std::optional<DType> parse_dtype(std::string_view text);  // either spelling

// Every bf16 and f16 value is exact in float32 and float64.
[[nodiscard]] inline float from_bf16(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16U);
}
[[nodiscard]] float from_f16(std::uint16_t bits);

// Round to nearest, ties to even, straight from float64 (no double rounding through float32).
// Magnitudes that round beyond the largest finite value become infinite; a NaN stays a quiet NaN.
[[nodiscard]] std::uint16_t to_bf16(double value);
[[nodiscard]] std::uint16_t to_f16(double value);

// `value` rounded to `type`.
[[nodiscard]] double rounded_to(double value, DType type);

// Reads out.size() values of `type`, packed at `in` (any alignment), as float64.
void widen(DType type, const std::byte* in, std::span<double> out);
// Rounds `in` to `type` and stores it packed at `out` (any alignment).
void narrow(DType type, std::span<const double> in, std::byte* out);

}  // namespace mlbench
