#include "core/dtype.h"

#include <cmath>
#include <cstring>

namespace mlbench {
namespace {

template <class Stored, class Convert>
void widen_as(const std::byte* in, std::span<double> out, Convert convert) {
  for (std::size_t i = 0; i < out.size(); ++i) {
    Stored stored;
    std::memcpy(&stored, in + i * sizeof(Stored), sizeof(Stored));
    out[i] = static_cast<double>(convert(stored));
  }
}

template <class Stored, class Convert>
void narrow_as(std::span<const double> in, std::byte* out, Convert convert) {
  for (std::size_t i = 0; i < in.size(); ++i) {
    const Stored stored = convert(in[i]);
    std::memcpy(out + i * sizeof(Stored), &stored, sizeof(Stored));
  }
}

// A 16-bit binary format: sign, kExponent bits of exponent, the rest fraction.
template <int kExponent>
std::uint16_t round_to_16_bits(double value) {
  constexpr int kFraction = 15 - kExponent;
  constexpr int kBias = (1 << (kExponent - 1)) - 1;
  constexpr std::uint16_t kInfinity = ((1U << kExponent) - 1U) << kFraction;
  const auto sign = static_cast<std::uint16_t>(std::signbit(value) ? 0x8000U : 0U);
  if (std::isnan(value)) return static_cast<std::uint16_t>(sign | kInfinity | (1U << (kFraction - 1)));
  const double magnitude = std::fabs(value);
  if (std::isinf(magnitude)) return static_cast<std::uint16_t>(sign | kInfinity);
  if (magnitude == 0.0) return sign;  // has no exponent
  int exponent = 0;
  std::frexp(magnitude, &exponent);  // magnitude in [2^(exponent-1), 2^exponent)
  if (exponent - 1 > kBias + 1) return static_cast<std::uint16_t>(sign | kInfinity);
  const int lowest = 1 - kBias;  // exponent of the smallest normal number
  const int unit = (exponent - 1 < lowest ? lowest : exponent - 1) - kFraction;
  // Scaling by a power of two is exact; nearbyint rounds ties to even in the default mode.
  const auto steps = static_cast<std::uint32_t>(std::nearbyint(std::ldexp(magnitude, -unit)));
  // Encoded as an integer, the successor of the largest fraction is the next exponent, and of the
  // largest finite number, infinity: the carry does what it should.
  const auto biased = static_cast<std::uint32_t>(unit + kFraction + kBias - 1);
  const std::uint32_t bits = (biased << kFraction) + steps;
  return static_cast<std::uint16_t>(sign | (bits > kInfinity ? kInfinity : bits));
}

}  // namespace

std::size_t size_bytes(DType type) {
  switch (type) {
    case DType::f64: return 8;
    case DType::f32: return 4;
    case DType::bf16:
    case DType::f16: return 2;
  }
  return 0;
}

std::string_view name(DType type) {
  switch (type) {
    case DType::f64: return "f64";
    case DType::f32: return "f32";
    case DType::bf16: return "bf16";
    case DType::f16: return "f16";
  }
  return "?";
}

std::string_view long_name(DType type) {
  switch (type) {
    case DType::f64: return "float64";
    case DType::f32: return "float32";
    case DType::bf16: return "bfloat16";
    case DType::f16: return "float16";
  }
  return "?";
}

std::optional<DType> parse_dtype(std::string_view text) {
  for (const DType type : {DType::f64, DType::f32, DType::bf16, DType::f16}) {
    if (text == name(type) || text == long_name(type)) return type;
  }
  return std::nullopt;
}

float from_f16(std::uint16_t bits) {
  const std::uint32_t magnitude = bits & 0x7FFFU;
  const std::uint32_t sign = (bits & 0x8000U) << 16U;
  // Shifting exponent and fraction into float32's places leaves the exponent 112 too small; the product puts
  // it right and makes subnormals normal. Infinity and NaN keep the largest exponent instead.
  const float scaled = std::bit_cast<float>(magnitude << 13U) * 0x1p112F;
  const std::uint32_t value =
      magnitude >= 0x7C00U ? (magnitude << 13U) | 0x7F800000U : std::bit_cast<std::uint32_t>(scaled);
  return std::bit_cast<float>(value | sign);
}

std::uint16_t to_bf16(double value) { return round_to_16_bits<8>(value); }
std::uint16_t to_f16(double value) { return round_to_16_bits<5>(value); }

void widen(DType type, const std::byte* in, std::span<double> out) {
  switch (type) {
    case DType::f64: return widen_as<double>(in, out, [](double v) { return v; });
    case DType::f32: return widen_as<float>(in, out, [](float v) { return v; });
    case DType::bf16: return widen_as<std::uint16_t>(in, out, from_bf16);
    case DType::f16: return widen_as<std::uint16_t>(in, out, from_f16);
  }
}

double rounded_to(double value, DType type) {
  switch (type) {
    case DType::f64: return value;
    case DType::f32: return static_cast<float>(value);
    case DType::bf16: return from_bf16(to_bf16(value));
    case DType::f16: return from_f16(to_f16(value));
  }
  return value;
}

void narrow(DType type, std::span<const double> in, std::byte* out) {
  switch (type) {
    case DType::f64: return narrow_as<double>(in, out, [](double v) { return v; });
    case DType::f32: return narrow_as<float>(in, out, [](double v) { return static_cast<float>(v); });
    case DType::bf16: return narrow_as<std::uint16_t>(in, out, to_bf16);
    case DType::f16: return narrow_as<std::uint16_t>(in, out, to_f16);
  }
}

}  // namespace mlbench
