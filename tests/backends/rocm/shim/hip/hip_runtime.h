// For tests, see hip_runtime_api.h: what kernels take of HIP.
#pragma once

#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <hip/hip_runtime_api.h>

namespace mlbench::hip_shim {

inline constexpr unsigned kAllLanes = 0xFFFFFFFFU;

template <class T>
__device__ T shuffle(T value, int lane, int width) {
  return __shfl_sync(kAllLanes, value, lane, width);
}
template <class T>
__device__ T shuffle_xor(T value, int mask, int width) {
  return __shfl_xor_sync(kAllLanes, value, mask, width);
}
template <class T>
__device__ T shuffle_down(T value, unsigned count, int width) {
  return __shfl_down_sync(kAllLanes, value, count, width);
}
inline __device__ unsigned long long ballot(int vote) { return __ballot_sync(kAllLanes, vote); }

}  // namespace mlbench::hip_shim

// CUDA still declares these, only to refuse them.
#define __shfl ::mlbench::hip_shim::shuffle
#define __shfl_xor ::mlbench::hip_shim::shuffle_xor
#define __shfl_down ::mlbench::hip_shim::shuffle_down
#define __ballot ::mlbench::hip_shim::ballot
// Clang's type of 16 bits.
#define _Float16 __half
