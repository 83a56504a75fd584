#include "backends/cpu/convert.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"

// Compiled once for every instruction set: this file includes itself.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/convert.cpp"
#include <hwy/foreach_target.h>
// Behind it, not in the order of names.
#include <hwy/highway.h>

#include "backends/cpu/rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace mlbench::cpu::HWY_NAMESPACE {
namespace {

// Of values below 2^16: the lower half of each.
HWY_INLINE HalfVector halves(IntVector v) { return hn::DemoteTo(Halves(), v); }

HWY_INLINE IntVector unsigned_shift(IntVector v) {
  return hn::BitCast(Ints(), hn::ShiftRight<16>(hn::BitCast(Bits(), v)));
}

struct Bf16 {
  HWY_INLINE Vector widened(HalfVector half) const {
    return hn::BitCast(Floats(), hn::ShiftLeft<16>(hn::PromoteTo(Bits(), half)));
  }

  // Half a unit is added, a little less where the kept part is even: a tie then goes to even, a carry into the
  // exponent.
  HWY_INLINE HalfVector rounded(Vector v) const {
    const IntVector bits = ints(v), kept = unsigned_shift(bits);
    const IntVector half_a_unit = hn::Add(ints(0x7FFF), hn::And(kept, ints(1)));
    const IntVector quiet_nan = hn::Or(kept, ints(0x40));
    const auto nan = hn::RebindMask(Ints(), hn::IsNaN(v));
    return halves(hn::IfThenElse(nan, quiet_nan, unsigned_shift(hn::Add(bits, half_a_unit))));
  }
};

struct F16 {
  HWY_INLINE Vector widened(HalfVector half) const { return widened_f16_vector(half); }

  HWY_INLINE HalfVector rounded(Vector v) const {
    if constexpr (kConvertsF16) {
      // Instructions would keep more of a NaN.
      const Vector nan = hn::CopySign(hn::BitCast(Floats(), ints(0x7FC00000)), v);
      const Vector one_nan = hn::IfThenElse(hn::IsNaN(v), nan, v);
      return hn::BitCast(Halves(), hn::DemoteTo(hn::Rebind<hwy::float16_t, Floats>(), one_nan));
    }
    // The exponent counts from another zero than float32's, 112 lower; then as bf16.
    const IntVector sign = hn::And(unsigned_shift(ints(v)), ints(0x8000));
    const IntVector magnitude = hn::And(ints(v), ints(0x7FFFFFFF));
    const IntVector half_a_unit = hn::Add(ints(0xFFF), hn::And(hn::ShiftRight<13>(magnitude), ints(1)));
    const IntVector normal = hn::ShiftRight<13>(hn::Add(hn::Sub(magnitude, ints(112 << 23)), half_a_unit));
    // Beside 0.5 a float32's unit is 2^-24, the unit of f16's subnormals: the sum is rounded there, by the processor.
    const Vector half = hn::Set(Floats(), 0.5F);
    const IntVector subnormal = hn::Sub(ints(hn::Add(hn::BitCast(Floats(), magnitude), half)), ints(half));
    const IntVector beyond = hn::IfThenElse(hn::Gt(magnitude, ints(0x7F800000)), ints(0x7E00), ints(0x7C00));
    const IntVector finite = hn::IfThenElse(hn::Lt(magnitude, ints(0x38800000)), subnormal, normal);
    const IntVector all = hn::IfThenElse(hn::Gt(magnitude, ints(0x477FFFFF)), beyond, finite);
    return halves(hn::Or(sign, all));
  }
};

template <class Type>
void widen_all(const std::byte* in, float* out, Index count) {
  const auto* from = reinterpret_cast<const std::uint16_t*>(in);
  Index i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    hn::StoreU(Type().widened(hn::LoadU(Halves(), from + i)), Floats(), out + i);
  }
  if (i == count) return;
  HWY_ALIGN std::uint16_t part[kLength<kLanes>] = {};
  std::memcpy(part, from + i, static_cast<std::size_t>(count - i) * sizeof(std::uint16_t));
  store_part(Type().widened(hn::Load(Halves(), part)), out + i, count - i);
}

template <class Type>
void narrow_all(const float* in, std::byte* out, Index count) {
  auto* to = reinterpret_cast<std::uint16_t*>(out);
  Index i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    hn::StoreU(Type().rounded(hn::LoadU(Floats(), in + i)), Halves(), to + i);
  }
  if (i == count) return;
  HWY_ALIGN std::uint16_t part[kLength<kLanes>];
  hn::Store(Type().rounded(load_part(in + i, count - i, 0.0F)), Halves(), part);
  std::memcpy(to + i, part, static_cast<std::size_t>(count - i) * sizeof(std::uint16_t));
}

void widen_bf16(const std::byte* in, float* out, Index count) { widen_all<Bf16>(in, out, count); }
void widen_f16(const std::byte* in, float* out, Index count) { widen_all<F16>(in, out, count); }
void narrow_bf16(const float* in, std::byte* out, Index count) { narrow_all<Bf16>(in, out, count); }
void narrow_f16(const float* in, std::byte* out, Index count) { narrow_all<F16>(in, out, count); }

}  // namespace
}  // namespace mlbench::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mlbench::cpu {
namespace {

HWY_EXPORT(widen_bf16);
HWY_EXPORT(widen_f16);
HWY_EXPORT(narrow_bf16);
HWY_EXPORT(narrow_f16);

[[noreturn]] void not_a_storage_type() {
  throw Error(ErrorKind::internal, "backend.failed", "cpu: only f32, bf16 and f16 are stored");
}

}  // namespace

void widen(DType type, const std::byte* in, float* out, Index count) {
  switch (type) {
    case DType::f32: std::memcpy(out, in, static_cast<std::size_t>(count) * sizeof(float)); return;
    case DType::bf16: return HWY_DYNAMIC_DISPATCH(widen_bf16)(in, out, count);
    case DType::f16: return HWY_DYNAMIC_DISPATCH(widen_f16)(in, out, count);
    case DType::f64: break;
  }
  not_a_storage_type();
}

void narrow(DType type, const float* in, std::byte* out, Index count) {
  switch (type) {
    case DType::f32: std::memcpy(out, in, static_cast<std::size_t>(count) * sizeof(float)); return;
    case DType::bf16: return HWY_DYNAMIC_DISPATCH(narrow_bf16)(in, out, count);
    case DType::f16: return HWY_DYNAMIC_DISPATCH(narrow_f16)(in, out, count);
    case DType::f64: break;
  }
  not_a_storage_type();
}

}  // namespace mlbench::cpu
#endif
