// Rows of float32 as they stand: chosen, rounded, widened, or with a bias added.
#pragma once

#include "backends/gpu/kernels/row_packs.h"

namespace mlbench::gpu::MLBENCH_GPU_TARGET {

// ---- add_bias: y[r] += bias ----
//
// y float32 [R, width], bias [width]. A block owns 1024 columns of a row, a thread one pack of 4. One float32 addition,
// reference/ops.h's add(). Moves 8 R width bytes; the bias stays in caches.
template <int n>
GPU_DEVICE void add_bias_to_row(const BiasCall& call) {
  float* y = call.y + block_place().x * call.width;
  const Columns columns = own_columns<n>(call.width);
  for (int i = columns.first; i < columns.end; i += columns.step) {
    store_floats<n>(y + i, sum_of<n>(load_floats<n>(y + i), load_floats<n>(call.bias + i)));
  }
}

template <int W>
GPU_KERNEL void add_bias_to_rows(BiasCall call) {
  if (in_packs(call.y, call.width) && in_packs(call.bias, call.width)) {
    add_bias_to_row<kPack>(call);
  } else {
    add_bias_to_row<1>(call);
  }
}

template <int W>
void launch_add_bias(Stream& stream, const BiasCall& call) {
  if (call.rows == 0 || call.width == 0) return;
  const LaunchShape shape = shape_of_rows<W>(call.rows, call.width);
  launch(add_bias_to_rows<W>, shape.grid, shape.block, 0, stream, call);
}

// ---- gather_rows: out[i] = x[chosen[i]], as float32 and rounded ----
//
// x float32, rows of `width`; chosen [rows]; out float32 and out_stored [rows, width]. Blocks and threads as above. The
// float32s are the same bits, the others rounded to nearest even, as core/dtype.h's narrow() does. Moves rows width (4
// + 4 + stored) bytes.
template <int n, class T>
GPU_DEVICE void gather_row(const GatherRowsCall& call) {
  const Index r = block_place().x;
  const float* x = call.x + (call.chosen == nullptr ? r : call.chosen[r]) * call.width;
  const Columns columns = own_columns<n>(call.width);
  for (int i = columns.first; i < columns.end; i += columns.step) {
    const Pack<float, n> values = load_pack<float, n>(x + i);
    if (call.out != nullptr) store_pack<float, n>(call.out + r * call.width + i, values);
    if (call.out_stored != nullptr) store_floats<n>(static_cast<T*>(call.out_stored) + r * call.width + i, values);
  }
}

template <int W, DType type>
GPU_KERNEL void gather_chosen_rows(GatherRowsCall call) {
  using T = typename Stored<type>::type;
  if (in_packs(call.x, call.width) && in_packs(call.out, call.width) &&
      in_packs(static_cast<T*>(call.out_stored), call.width)) {
    gather_row<kPack, T>(call);
  } else {
    gather_row<1, T>(call);
  }
}

template <int W>
void launch_gather_rows(Stream& stream, const GatherRowsCall& call) {
  if (call.rows == 0 || call.width == 0) return;
  const LaunchShape shape = shape_of_rows<W>(call.rows, call.width);
  with_stored(call.stored,
              [&](auto type) { launch(gather_chosen_rows<W, type()>, shape.grid, shape.block, 0, stream, call); });
}

// ---- widen: out = x as float32 ----
//
// x stored [count], out float32 [count]. A block owns 1024 values, a thread one pack of 4, or four single values.
// Exact. Moves count (stored + 4) bytes.
template <int n, class T>
GPU_DEVICE void widen_block(const WidenCall& call) {
  const Index of_block = static_cast<Index>(block_extent().x) * kPack;
  const Index begin = block_place().x * of_block;
  const Index end = begin + of_block < call.count ? begin + of_block : call.count;
  const T* x = static_cast<const T*>(call.x);
  for (Index i = begin + thread_place().x * n; i < end; i += static_cast<Index>(block_extent().x) * n) {
    store_floats<n>(call.out + i, load_floats<n>(x + i));
  }
}

template <int W, DType type>
GPU_KERNEL void widen_values(WidenCall call) {
  using T = typename Stored<type>::type;
  if (in_packs(static_cast<const T*>(call.x), call.count) && in_packs(call.out, call.count)) {
    widen_block<kPack, T>(call);
  } else {
    widen_block<1, T>(call);
  }
}

template <int W>
void launch_widen(Stream& stream, const WidenCall& call) {
  if (call.count == 0) return;
  const LaunchShape shape = shape_of_rows<W>(1, call.count);
  const Place grid{shape.grid.y, 1, 1};  // blocks side by side in x, which reaches further
  with_stored(call.stored, [&](auto type) { launch(widen_values<W, type()>, grid, shape.block, 0, stream, call); });
}

}  // namespace mlbench::gpu::MLBENCH_GPU_TARGET
