// The vocabulary of kernels with hipcc: see vocabulary.h.
#pragma once

#include <hip/hip_runtime.h>

#define MLBENCH_GPU_TARGET hip_device
#include "backends/gpu/kernels/device_target.h"

namespace mlbench::gpu::hip_device {

// Defined by the runtime.
[[nodiscard]] hipStream_t native_stream(Stream& stream);

template <int W, class T>
GPU_DEVICE T shuffle(T value, int lane, Here = {}) {
  static_assert((W == 32 || W == 64) && std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8));
  return __shfl(value, lane, W);
}

template <int W, class T>
GPU_DEVICE T shuffle_xor(T value, int mask, Here = {}) {
  static_assert((W == 32 || W == 64) && std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8));
  return __shfl_xor(value, mask, W);
}

template <int W, class T>
GPU_DEVICE T shuffle_down(T value, int count, Here = {}) {
  static_assert((W == 32 || W == 64) && std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8));
  return __shfl_down(value, static_cast<unsigned>(count), W);
}

template <int W>
GPU_DEVICE std::uint64_t ballot(bool vote, Here = {}) {
  static_assert(W == 32 || W == 64);
  return __ballot(vote ? 1 : 0);
}

GPU_DEVICE float to_float(f16 x) { return static_cast<float>(__builtin_bit_cast(_Float16, x.bits)); }

// By hand, as not every processor has it: the upper half of the bits, rounded; a carry goes into the exponent.
GPU_DEVICE std::uint16_t bits_of_bf16(float x) {
  const std::uint32_t bits = __float_as_uint(x);
  if (x != x) return static_cast<std::uint16_t>((bits >> 31U << 15U) | 0x7FC0U);
  return static_cast<std::uint16_t>((bits + 0x7FFFU + (bits >> 16U & 1U)) >> 16U);
}

template <class T>
GPU_DEVICE T from_float(float x) {
  if constexpr (std::is_same_v<T, bf16>) {
    return {bits_of_bf16(x)};
  } else if constexpr (std::is_same_v<T, f16>) {
    return {__builtin_bit_cast(std::uint16_t, static_cast<_Float16>(x))};
  } else {
    static_assert(std::is_same_v<T, float>);
    return x;
  }
}

// Of tile_product.h: by the matrix cores of AMD's Instinct series, from MI200 on.
#if defined(__gfx90a__) || defined(__gfx942__)
#define GPU_MATRIX_CORES
#endif
template <int W>
inline constexpr bool kHasTileProducts = W == 64;

template <class Call, class Bytes>
void launch(void (*kernel)(Call), Place grid, Place block, Bytes shared_bytes, Stream& stream,
            const std::type_identity_t<Call>& call) {
  static_assert(std::is_trivially_copyable_v<Call> && std::is_integral_v<Bytes>);
  kernel<<<extent(grid), extent(block), static_cast<std::size_t>(shared_bytes), native_stream(stream)>>>(call);
  const hipError_t status = hipGetLastError();
  check_launch<Call>(status == hipSuccess, hipGetErrorString(status));
}

}  // namespace mlbench::gpu::hip_device
