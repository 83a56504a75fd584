// Kernels with a mistake that can be switched on, each of a kind that people make. Without it they are right: y[i] is
// what its kernel's comment says, for every thread i of a block.
#pragma once

#include <stdexcept>

#include "backends/gpu/kernels/vocabulary.h"

namespace mlbench::gpu::host_device {

inline constexpr int kMostPlaces = 256;  // threads of a block that these kernels can have

struct PlantedCall {
  const float* x = nullptr;
  float* y = nullptr;
  int steps = 1;
  bool planted = false;
};

// y[i] = x[n - 1 - i]
template <int W>
GPU_KERNEL void missing_barrier(PlantedCall call) {
  GPU_SHARED(float, row, [kMostPlaces]);
  const int i = thread_place().x;
  row[i] = call.x[i];
  if (!call.planted) barrier();
  call.y[i] = row[block_extent().x - 1 - i];
}

// y[i] = the sum over s of x[s n + (n - 1 - i)]. A tile may be written only when everybody has read the one before.
template <int W>
GPU_KERNEL void missing_second_barrier(PlantedCall call) {
  GPU_SHARED(float, tile, [kMostPlaces]);
  const int i = thread_place().x;
  const int n = block_extent().x;
  float sum = 0.0F;
  for (int s = 0; s < call.steps; ++s) {
    tile[i] = call.x[s * n + i];
    barrier();
    sum += tile[n - 1 - i];
    if (!call.planted) barrier();
  }
  call.y[i] = sum;
}

// y[i] = the largest of x in i's warp, which lane 0 finds out and leaves in shared memory. Shuffles order no memory.
template <int W>
GPU_KERNEL void warp_taken_for_barrier(PlantedCall call) {
  GPU_SHARED(float, of_warps, [kMostPlaces / W]);
  const int i = thread_place().x;
  const float largest = warp_max<W>(call.x[i]);
  if (lane<W>() == W - 1) of_warps[warp<W>()] = largest;
  if (!call.planted) barrier();
  call.y[i] = of_warps[warp<W>()];
}

// y[i] = 1
template <int W>
GPU_KERNEL void early_return(PlantedCall call) {
  const int i = thread_place().x;
  if (call.planted && i >= block_extent().x - 3) return;
  barrier();
  call.y[i] = 1.0F;
}

// y[i] = 1
template <int W>
GPU_KERNEL void divergent_barrier(PlantedCall call) {
  const int i = thread_place().x;
  if (call.planted && i < W) {
    barrier();
  } else {
    barrier();
  }
  call.y[i] = 1.0F;
}

// y[i] = x of the neighbour
template <int W>
GPU_KERNEL void half_a_warp_shuffles(PlantedCall call) {
  const int i = thread_place().x;
  float value = call.x[i];
  if (!call.planted || lane<W>() < W / 2) value = shuffle_xor<W>(value, 1);
  call.y[i] = value;
}

// y[i] = x of the neighbour
template <int W>
GPU_KERNEL void shuffle_against_barrier(PlantedCall call) {
  const int i = thread_place().x;
  float value = 0.0F;
  if (!call.planted || lane<W>() % 2 == 0) {
    value = shuffle_xor<W>(call.x[i], 1);
    barrier();
  } else {
    barrier();
    value = shuffle_xor<W>(call.x[i], 1);
  }
  call.y[i] = value;
}

// y[i] = x of lane 0
template <int W>
GPU_KERNEL void lane_that_does_not_exist(PlantedCall call) {
  const int i = thread_place().x;
  call.y[i] = shuffle<W>(call.x[i], call.planted ? W : 0);
}

// y[i] = x[i]. Indices are given by way of a pointer, whose bounds no compiler knows.
template <int W>
GPU_KERNEL void overrun_by_one(PlantedCall call) {
  GPU_DYNAMIC_SHARED(float, row);
  const int i = thread_place().x;
  const int past = call.planted ? 1 : 0;
  row[i + past] = call.x[i];
  barrier();
  call.y[i] = row[i + past];
}

// y[i] = x[i], and nobody waits afterwards.
template <int W>
GPU_KERNEL void overrun_at_the_end(PlantedCall call) {
  GPU_SHARED(float, row, [kMostPlaces]);
  const int i = thread_place().x;
  call.y[i] = call.x[i];
  float* first = row;
  first[call.planted ? -1 : i] = call.x[i];
}

// y[i] = x[i], for the first n threads of the grid
template <int W>
GPU_KERNEL void global_overrun(PlantedCall call) {
  const int i = block_place().x * block_extent().x + thread_place().x;
  if (i < call.steps || (call.planted && i == call.steps)) call.y[i] = call.x[i];
}

// y[i] = x[i], through packs
template <int W>
GPU_KERNEL void misaligned_pack(PlantedCall call) {
  const int i = thread_place().x;
  if (i % 4 != 0 || i + 4 >= block_extent().x) return;
  const int first = call.planted ? i + 1 : i;
  store_pack(call.y + i, load_pack<float, 4>(call.x + first));
}

GPU_DEVICE float deep(int depth) {
  volatile float frame[256];
  frame[0] = static_cast<float>(depth);
  return depth == 0 ? frame[0] : deep(depth - 1) + frame[0] * 0.0F;
}

// y[i] = 0
template <int W>
GPU_KERNEL void deep_stack(PlantedCall call) {
  call.y[thread_place().x] = deep(call.planted ? 1 << 20 : 4);
}

// y[i] = 1
template <int W>
GPU_KERNEL void throws(PlantedCall call) {
  const int i = thread_place().x;
  barrier();
  if (call.planted && i == 5) throw std::runtime_error("thrown by a kernel");
  barrier();
  call.y[i] = 1.0F;
}

}  // namespace mlbench::gpu::host_device
