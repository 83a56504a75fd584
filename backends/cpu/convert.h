// float32 to and from the 16-bit types, in vectors: core/dtype.h's rounding starts from float64 and takes its time.
// Same results: to nearest, ties to even. A NaN becomes a quiet one, of f16 the one with the value's sign and no more.
#pragma once

#include <cstddef>

#include "core/dtype.h"
#include "core/tensor.h"

namespace mlbench::cpu {

// `count` values of `type`, aligned to its size.
void widen(DType type, const std::byte* in, float* out, Index count);
void narrow(DType type, const float* in, std::byte* out, Index count);

}  // namespace mlbench::cpu
