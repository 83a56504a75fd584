// Rows of embedding tables.
#pragma once

#include "backends/gpu/kernels/row_packs.h"

namespace mlbench::gpu::MLBENCH_GPU_TARGET {

// ---- embed: out[r] = table[ids[r]] ----
//
// table stored [n, width], ids [R], out float32 [R, width]. A block owns 1024 columns of a row, a thread one pack of 4.
// Widening is exact: the result is reference/embedding.cpp's, bit for bit. Moves R width (stored + 4) bytes. An id
// outside the table is the caller's fault.
template <int n, class T>
GPU_DEVICE void embed_row(const EmbedCall& call) {
  const Index r = block_place().x;
  const T* table = static_cast<const T*>(call.table) + call.ids[r] * call.width;
  float* out = call.out + r * call.width;
  const Columns columns = own_columns<n>(call.width);
  for (int i = columns.first; i < columns.end; i += columns.step) {
    store_floats<n>(out + i, load_floats<n>(table + i));
  }
}

template <int W, DType type>
GPU_KERNEL void embed_rows(EmbedCall call) {
  using T = typename Stored<type>::type;
  if (in_packs(static_cast<const T*>(call.table), call.width) && in_packs(call.out, call.width)) {
    embed_row<kPack, T>(call);
  } else {
    embed_row<1, T>(call);
  }
}

template <int W>
void launch_embed(Stream& stream, const EmbedCall& call) {
  if (call.rows == 0 || call.width == 0) return;
  const LaunchShape shape = shape_of_rows<W>(call.rows, call.width);
  with_stored(call.stored, [&](auto type) { launch(embed_rows<W, type()>, shape.grid, shape.block, 0, stream, call); });
}

// ---- add_positions: x[r] += table[positions[r]], and the row that was added ----
//
// table stored [n, width], positions [R], x and added float32 [R, width]. Blocks and threads as above. One float32
// addition, reference/ops.h's add(). Moves R width (stored + 8) bytes, and 4 more where `added` is wanted.
template <int n, class T>
GPU_DEVICE void add_position(const AddPositionsCall& call) {
  const Index r = block_place().x;
  const T* table = static_cast<const T*>(call.table) + call.positions[r] * call.width;
  float* x = call.x + r * call.width;
  float* added = call.added == nullptr ? nullptr : call.added + r * call.width;
  const Columns columns = own_columns<n>(call.width);
  for (int i = columns.first; i < columns.end; i += columns.step) {
    const Pack<float, n> position = load_floats<n>(table + i);
    store_floats<n>(x + i, sum_of<n>(load_floats<n>(x + i), position));
    if (added != nullptr) store_floats<n>(added + i, position);
  }
}

template <int W, DType type>
GPU_KERNEL void add_positions_to_rows(AddPositionsCall call) {
  using T = typename Stored<type>::type;
  if (in_packs(static_cast<const T*>(call.table), call.width) && in_packs(call.x, call.width) &&
      in_packs(call.added, call.width)) {
    add_position<kPack, T>(call);
  } else {
    add_position<1, T>(call);
  }
}

template <int W>
void launch_add_positions(Stream& stream, const AddPositionsCall& call) {
  if (call.rows == 0 || call.width == 0) return;
  const LaunchShape shape = shape_of_rows<W>(call.rows, call.width);
  with_stored(call.stored,
              [&](auto type) { launch(add_positions_to_rows<W, type()>, shape.grid, shape.block, 0, stream, call); });
}

}  // namespace mlbench::gpu::MLBENCH_GPU_TARGET
