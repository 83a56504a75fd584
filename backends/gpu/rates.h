// What a device reaches in practice.
#pragma once

#include "backends/gpu/runtime.h"

namespace mlbench::gpu {

// The best of what about `seconds` of trying show: memory, by copying within it, read and written bytes both counted;
// and square products of this type.
// `copied` bytes at a time, far more than any cache.
[[nodiscard]] backends::DeviceRates measure_rates(Runtime& runtime, DType stored, double seconds,
                                                  std::uint64_t copied = std::uint64_t{1} << 30U);

}  // namespace mlbench::gpu
