// The vocabulary of kernels with nvcc: see vocabulary.h.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#define MLBENCH_GPU_TARGET cuda_device
#include "backends/gpu/kernels/device_target.h"

namespace mlbench::gpu::cuda_device {

// Defined by the runtime.
[[nodiscard]] cudaStream_t native_stream(Stream& stream);

inline constexpr unsigned kAllLanes = 0xFFFFFFFFU;

template <int W, class T>
GPU_DEVICE T shuffle(T value, int lane, Here = {}) {
  static_assert(W == 32 && std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8));
  return __shfl_sync(kAllLanes, value, lane, W);
}

template <int W, class T>
GPU_DEVICE T shuffle_xor(T value, int mask, Here = {}) {
  static_assert(W == 32 && std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8));
  return __shfl_xor_sync(kAllLanes, value, mask, W);
}

template <int W, class T>
GPU_DEVICE T shuffle_down(T value, int count, Here = {}) {
  static_assert(W == 32 && std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8));
  return __shfl_down_sync(kAllLanes, value, static_cast<unsigned>(count), W);
}

template <int W>
GPU_DEVICE std::uint64_t ballot(bool vote, Here = {}) {
  static_assert(W == 32);
  return __ballot_sync(kAllLanes, vote ? 1 : 0);
}

GPU_DEVICE float to_float(f16 x) { return __half2float(__ushort_as_half(x.bits)); }

template <class T>
GPU_DEVICE T from_float(float x) {
  if constexpr (std::is_same_v<T, bf16>) {
    return {__bfloat16_as_ushort(__float2bfloat16_rn(x))};
  } else if constexpr (std::is_same_v<T, f16>) {
    return {__half_as_ushort(__float2half_rn(x))};
  } else {
    static_assert(std::is_same_v<T, float>);
    return x;
  }
}

// Of tile_product.h: by the tensor cores.
#define GPU_TENSOR_CORES
template <int W>
inline constexpr bool kHasTileProducts = W == 32;

template <class Call, class Bytes>
void launch(void (*kernel)(Call), Place grid, Place block, Bytes shared_bytes, Stream& stream,
            const std::type_identity_t<Call>& call) {
  static_assert(std::is_trivially_copyable_v<Call> && std::is_integral_v<Bytes>);
  const auto bytes = static_cast<std::size_t>(shared_bytes);
  const auto check = [](cudaError_t status) { check_launch<Call>(status == cudaSuccess, cudaGetErrorString(status)); };
  constexpr std::size_t kUnasked = 48 << 10;  // more has to be asked for
  if (bytes > kUnasked) {
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)));
  }
  kernel<<<extent(grid), extent(block), bytes, native_stream(stream)>>>(call);
  check(cudaGetLastError());
}

}  // namespace mlbench::gpu::cuda_device
