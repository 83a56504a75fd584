// How kernels go along rows: the columns that a block and a thread own, four values at a time where the width and every
// address allow it, else one; and how a launcher finds the template of a storage type.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "backends/gpu/calls.h"
#include "backends/gpu/kernels/vocabulary.h"
#include "core/error.h"

namespace mlbench::gpu::MLBENCH_GPU_TARGET {

// Values that a thread takes at a time: 16 bytes of float32, 8 of the narrow types.
inline constexpr int kPack = 4;

// ---- for launchers ----

struct LaunchShape {
  Place grid, block;
};

// Threads for `values` side by side, a pack each, in whole warps.
template <int W>
int threads_for(Index values, int most) {
  const Index warps = (values + kPack * W - 1) / (kPack * W);
  return static_cast<int>(std::clamp<Index>(warps * W, W, most));
}

// A block for each row and each 1024 columns of it, fewer where the row is short.
template <int W>
LaunchShape shape_of_rows(Index rows, Index width) {
  constexpr int kThreads = 256;
  const int threads = threads_for<W>(width, kThreads);
  const Index columns = static_cast<Index>(threads) * kPack;
  return {{static_cast<int>(rows), static_cast<int>((width + columns - 1) / columns), 1}, {threads, 1, 1}};
}

// Calls work(std::integral_constant<DType, type>()).
template <class Work>
void with_stored(DType type, const Work& work) {
  switch (type) {
    case DType::f32: return work(std::integral_constant<DType, DType::f32>());
    case DType::bf16: return work(std::integral_constant<DType, DType::bf16>());
    case DType::f16: return work(std::integral_constant<DType, DType::f16>());
    case DType::f64: break;
  }
  throw Error(ErrorKind::internal, "backend.failed", "kernels store values as f32, bf16 or f16, not as f64");
}

// ---- for kernels ----

// The columns of a thread: first, first + step, ... below end, n of them at each.
struct Columns {
  int first = 0, end = 0, step = 1;
};

// Those of a block that shape_of_rows() made.
template <int n>
GPU_DEVICE Columns own_columns(Index width) {
  const int threads = block_extent().x;
  const Index begin = static_cast<Index>(block_place().y) * threads * kPack;
  const Index end = begin + threads * kPack < width ? begin + threads * kPack : width;
  return {static_cast<int>(begin) + thread_place().x * n, static_cast<int>(end), threads * n};
}

// Those of a block that has the whole row.
template <int n>
GPU_DEVICE Columns all_columns(Index width) {
  return {thread_place().x * n, static_cast<int>(width), block_extent().x * n};
}

// Whether rows of this width that begin at `first` can be taken in packs; null: nothing is taken there.
template <class T>
GPU_DEVICE bool in_packs(const T* first, Index width) {
  return width % kPack == 0 && reinterpret_cast<std::uintptr_t>(first) % (kPack * sizeof(T)) == 0;
}

// n values as float32.
template <int n, class T>
GPU_DEVICE Pack<float, n> load_floats(const T* from) {
  const Pack<T, n> stored = load_pack<T, n>(from);
  Pack<float, n> out;
  for (int k = 0; k < n; ++k) out[k] = to_float(stored[k]);
  return out;
}

// n values rounded to T, to nearest even.
template <int n, class T>
GPU_DEVICE void store_floats(T* to, const Pack<float, n>& values) {
  Pack<T, n> stored;
  for (int k = 0; k < n; ++k) stored[k] = from_float<T>(values[k]);
  store_pack<T, n>(to, stored);
}

template <int n>
GPU_DEVICE Pack<float, n> sum_of(const Pack<float, n>& a, const Pack<float, n>& b) {
  Pack<float, n> out;
  for (int k = 0; k < n; ++k) out[k] = a[k] + b[k];
  return out;
}

}  // namespace mlbench::gpu::MLBENCH_GPU_TARGET
