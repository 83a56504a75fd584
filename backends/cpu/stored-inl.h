// Stored values as vectors of float32, for files that are compiled once for every instruction set: they include this
// behind Highway's own headers.
#if defined(MLBENCH_CPU_STORED_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef MLBENCH_CPU_STORED_INL_H
#undef MLBENCH_CPU_STORED_INL_H
#else
#define MLBENCH_CPU_STORED_INL_H
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include <hwy/highway.h>

#include "core/dtype.h"
#include "core/tensor.h"

HWY_BEFORE_NAMESPACE();
namespace mlbench::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using Floats = hn::ScalableTag<float>;
using Vector = hn::Vec<Floats>;

constexpr Index kLanes = static_cast<Index>(hn::MaxLanes(Floats()));
// How many vectors a loop may hold.
constexpr Index kRegisters = HWY_TARGET <= HWY_AVX3 || HWY_TARGET == HWY_NEON ? 32 : 16;

// As the length of an array.
template <Index n>
constexpr std::size_t kLength = static_cast<std::size_t>(n);

template <DType type>
constexpr Index kStoredBytes = type == DType::f32 ? 4 : 2;

using Ints = hn::RebindToSigned<Floats>;  // bits of float32, compared without their signs
using Bits = hn::RebindToUnsigned<Floats>;
using Halves = hn::Rebind<std::uint16_t, Floats>;
using IntVector = hn::Vec<Ints>;
using HalfVector = hn::Vec<Halves>;

HWY_INLINE IntVector ints(std::int32_t value) { return hn::Set(Ints(), value); }
HWY_INLINE IntVector ints(Vector v) { return hn::BitCast(Ints(), v); }

// Whether instructions convert f16. Highway's stand-ins for them know no infinity, and truncate.
#if (HWY_ARCH_X86 && HWY_TARGET < HWY_SSE4 && !defined(HWY_DISABLE_F16C)) || \
    (HWY_ARCH_ARM && HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128)
constexpr bool kConvertsF16 = true;
#else
constexpr bool kConvertsF16 = false;
#endif

HWY_INLINE Vector widened_f16_vector(HalfVector half) {
  if constexpr (kConvertsF16) return hn::PromoteTo(Floats(), hn::BitCast(hn::Rebind<hwy::float16_t, Floats>(), half));
  // With exponent and fraction in float32's places the exponent is 112 too small; for infinity and NaN it is all ones.
  // A NaN is made quiet, as by instructions.
  const IntVector bits = hn::BitCast(Ints(), hn::PromoteTo(Bits(), half));
  const IntVector magnitude = hn::And(bits, ints(0x7FFF));
  const Vector scaled = hn::Mul(hn::BitCast(Floats(), hn::ShiftLeft<13>(magnitude)), hn::Set(Floats(), 0x1p112F));
  const IntVector exponent = hn::IfThenElseZero(hn::Gt(magnitude, ints(0x7BFF)), ints(0x7F800000));
  const IntVector quiet = hn::IfThenElseZero(hn::Gt(magnitude, ints(0x7C00)), ints(0x400000));
  const IntVector sign = hn::ShiftLeft<16>(hn::And(bits, ints(0x8000)));
  return hn::BitCast(Floats(), hn::Or(hn::Or(ints(scaled), exponent), hn::Or(quiet, sign)));
}

// One vector of values of a storage type, aligned to that type.
template <DType type>
HWY_INLINE Vector load_stored(const std::byte* at) {
  if constexpr (type == DType::f32) {
    return hn::LoadU(Floats(), reinterpret_cast<const float*>(at));
  } else {
    const HalfVector half = hn::LoadU(Halves(), reinterpret_cast<const std::uint16_t*>(at));
    if constexpr (type == DType::f16) return widened_f16_vector(half);
    return hn::BitCast(Floats(), hn::ShiftLeft<16>(hn::PromoteTo(Bits(), half)));
  }
}

// The same of `count` values, fewer than a vector, as if zeros followed.
template <DType type>
HWY_INLINE Vector load_stored_part(const std::byte* at, Index count) {
  alignas(4) std::byte values[kLength<kLanes * kStoredBytes<type>>] = {};
  std::copy_n(at, count * kStoredBytes<type>, values);
  return load_stored<type>(values);
}

}  // namespace mlbench::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
