// What CUDA and HIP have in common of the vocabulary of kernels: see vocabulary.h. cuda_target.h and hip_target.h
// include it after their vendor's header and MLBENCH_GPU_TARGET, and add the rest.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <type_traits>

#include "backends/gpu/kernels/call_name.h"
#include "backends/gpu/kernels/place.h"
#include "backends/gpu/kernels/types.h"
#include "core/error.h"

#define GPU_KERNEL static __global__
#define GPU_KERNEL_OF(threads) static __global__ __launch_bounds__(threads)
#define GPU_DEVICE inline __device__
#define GPU_UNROLL _Pragma("unroll")

#define GPU_SHARED(type, name, ...)      \
  typedef type name##_array __VA_ARGS__; \
  __shared__ name##_array name
// All kernels of a file name the same memory, so its type is the same for all.
#define GPU_DYNAMIC_SHARED(type, name)                                        \
  extern __shared__ __align__(64) unsigned char mlbench_gpu_dynamic_shared[]; \
  auto* name = reinterpret_cast<type*>(mlbench_gpu_dynamic_shared)

namespace mlbench::gpu {

class Stream;

namespace MLBENCH_GPU_TARGET {

// The host's kernels say by this where they are. A device has no use for it.
struct Here {
  GPU_DEVICE static constexpr Here current() { return {}; }
};

GPU_DEVICE Place thread_place() {
  return {static_cast<int>(threadIdx.x), static_cast<int>(threadIdx.y), static_cast<int>(threadIdx.z)};
}
GPU_DEVICE Place block_place() {
  return {static_cast<int>(blockIdx.x), static_cast<int>(blockIdx.y), static_cast<int>(blockIdx.z)};
}
GPU_DEVICE Place block_extent() {
  return {static_cast<int>(blockDim.x), static_cast<int>(blockDim.y), static_cast<int>(blockDim.z)};
}
GPU_DEVICE Place grid_extent() {
  return {static_cast<int>(gridDim.x), static_cast<int>(gridDim.y), static_cast<int>(gridDim.z)};
}

template <int W>
GPU_DEVICE int lane(Here = {}) {
  return static_cast<int>(threadIdx.x) % W;
}

template <int W>
GPU_DEVICE int warp(Here = {}) {
  return static_cast<int>(threadIdx.x) / W;
}

GPU_DEVICE void barrier(Here = {}) { __syncthreads(); }

GPU_DEVICE float to_float(float x) { return x; }
GPU_DEVICE float to_float(bf16 x) { return __uint_as_float(static_cast<std::uint32_t>(x.bits) << 16U); }

template <class T, int n>
GPU_DEVICE Pack<T, n> load_pack(const T* from, Here = {}) {
  return *reinterpret_cast<const Pack<T, n>*>(from);
}

template <class T, int n>
GPU_DEVICE void store_pack(T* to, const Pack<T, n>& pack, Here = {}) {
  *reinterpret_cast<Pack<T, n>*>(to) = pack;
}

// The functions of full accuracy, not the intrinsics; no file may be compiled with fast math.
GPU_DEVICE float gpu_exp(float x) { return expf(x); }
GPU_DEVICE float gpu_sqrt(float x) { return sqrtf(x); }
GPU_DEVICE float gpu_rsqrt(float x) { return rsqrtf(x); }
GPU_DEVICE float gpu_erf(float x) { return erff(x); }
GPU_DEVICE float gpu_tanh(float x) { return tanhf(x); }
GPU_DEVICE float gpu_fma(float a, float b, float c) { return fmaf(a, b, c); }
GPU_DEVICE float gpu_abs(float x) { return fabsf(x); }
GPU_DEVICE float gpu_max(float a, float b) { return fmaxf(a, b); }
GPU_DEVICE float gpu_min(float a, float b) { return fminf(a, b); }

inline dim3 extent(Place place) {
  return {static_cast<unsigned>(place.x), static_cast<unsigned>(place.y), static_cast<unsigned>(place.z)};
}

// A launch that failed is an Error which names the call.
template <class Call>
void check_launch(bool good, const char* why) {
  if (good) return;
  throw Error(ErrorKind::internal, "backend.failed",
              std::string("launching the kernel of ") + std::string(call_name<Call>()) + ": " + why);
}

}  // namespace MLBENCH_GPU_TARGET
}  // namespace mlbench::gpu
