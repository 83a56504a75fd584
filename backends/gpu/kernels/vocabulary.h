// The words that kernels are written in: one source for nvcc, hipcc, and the host's compiler, where a block's threads
// are fibers (backends/gpu/executor). Kernels stand in mlbench::gpu::MLBENCH_GPU_TARGET: a program may hold those of
// several compilers.
//
//   GPU_KERNEL void f(Call call)      a kernel; arguments are plain structs, by value
//   GPU_KERNEL_OF(threads)            the same, of blocks that have no more threads: each may have more registers
//   GPU_DEVICE                        before a function that kernels call
//   GPU_SHARED(T, name, [8][33])      a block's array; GPU_DYNAMIC_SHARED(T, name): T* to what launch() asked for
//   GPU_UNROLL                        before a loop over a thread's own array, which a device keeps in registers only
//                                     where places are constants
//   thread_place(), block_place(), block_extent(), grid_extent(); lane<W>(), warp<W>(): of a one-dimensional block
//   barrier()                         of the block
//   shuffle<W>, shuffle_xor<W>, shuffle_down<W>, ballot<W>: all lanes of a warp take part; values of 4 or 8 bytes
//   to_float(x), from_float<T>(x)     rounded to nearest even
//   load_pack<T, n>(p), store_pack(p, pack): p a multiple of the pack's size
//   gpu_exp, gpu_sqrt, ...            float32, of full accuracy
//   launch(kernel, grid, block, shared_bytes, stream, call): queues it
//
// W is the warp width the kernel is made for: 32 with CUDA, 32 or 64 with HIP. A device contracts a * b + c to a fused
// multiply-add, the host does not: bounds allow both. No order between threads but through barrier() and, for the
// values themselves, shuffles.
#pragma once

#if defined(__HIPCC__) || defined(__HIP__)
#include "backends/gpu/kernels/hip_target.h"
#elif defined(__CUDACC__)
#include "backends/gpu/kernels/cuda_target.h"
#else
#include "backends/gpu/kernels/host_target.h"
#endif

namespace mlbench::gpu::MLBENCH_GPU_TARGET {

// Of the warp's values, in a tree of log2 W additions; every lane gets the same bits.
template <int W>
GPU_DEVICE float warp_sum(float value, Here here = Here::current()) {
  for (int mask = W / 2; mask > 0; mask /= 2) value += shuffle_xor<W>(value, mask, here);
  return value;
}

// Of the warp's values; a NaN counts only among NaNs.
template <int W>
GPU_DEVICE float warp_max(float value, Here here = Here::current()) {
  for (int mask = W / 2; mask > 0; mask /= 2) value = gpu_max(value, shuffle_xor<W>(value, mask, here));
  return value;
}

// Of a one-dimensional block's values, every thread gets the same bits: the warps' sums are added one after the other.
// shared_of_warps holds one value a warp, and can be used again at once.
template <int W>
GPU_DEVICE float block_sum(float value, float* shared_of_warps, Here here = Here::current()) {
  const float of_warp = warp_sum<W>(value, here);
  if (lane<W>(here) == 0) shared_of_warps[warp<W>(here)] = of_warp;
  barrier(here);
  float sum = shared_of_warps[0];
  for (int i = 1; i < block_extent().x / W; ++i) sum += shared_of_warps[i];
  barrier(here);
  return sum;
}

template <int W>
GPU_DEVICE float block_max(float value, float* shared_of_warps, Here here = Here::current()) {
  const float of_warp = warp_max<W>(value, here);
  if (lane<W>(here) == 0) shared_of_warps[warp<W>(here)] = of_warp;
  barrier(here);
  float largest = shared_of_warps[0];
  for (int i = 1; i < block_extent().x / W; ++i) largest = gpu_max(largest, shared_of_warps[i]);
  barrier(here);
  return largest;
}

}  // namespace mlbench::gpu::MLBENCH_GPU_TARGET
