#include "backends/cpu/convert.h"

#include <cstring>

#include "core/error.h"

namespace mlbench::cpu {
namespace {

[[noreturn]] void not_a_storage_type() {
  throw Error(ErrorKind::internal, "backend.failed", "cpu: only f32, bf16 and f16 are stored");
}

}  // namespace

void widen(DType type, const std::byte* in, float* out, Index count) {
  switch (type) {
    case DType::f32: std::memcpy(out, in, static_cast<std::size_t>(count) * sizeof(float)); return;
    case DType::bf16: (void)as_floats<DType::bf16>(in, out, count); return;
    case DType::f16: (void)as_floats<DType::f16>(in, out, count); return;
    case DType::f64: break;
  }
  not_a_storage_type();
}

void narrow(DType type, const float* in, std::byte* out, Index count) {
  auto* bits = reinterpret_cast<std::uint16_t*>(out);
  switch (type) {
    case DType::f32: std::memcpy(out, in, static_cast<std::size_t>(count) * sizeof(float)); return;
    case DType::bf16:
      for (Index i = 0; i < count; ++i) bits[i] = rounded_bf16(in[i]);
      return;
    case DType::f16:
      for (Index i = 0; i < count; ++i) bits[i] = rounded_f16(in[i]);
      return;
    case DType::f64: break;
  }
  not_a_storage_type();
}

}  // namespace mlbench::cpu
