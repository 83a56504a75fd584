// Attention of prompts: up to 64 consecutive rows of a sequence read each key and value together.
//
//   context[r, h] = sum_j p_j v_j / sum_j p_j,   p_j = exp(s_j - max s),   s_j = scale * q[r, h] . k_j
//
// over the entries j < prefix[r], 64 at a time, each time with a running maximum (Milakov and Gimelshein,
// arXiv:1805.02867; Rabe and Staats, arXiv:2112.05682; Dao, "FlashAttention-2", arXiv:2307.08691). Entries beyond a
// tile's longest prefix are not read; where rows see different ones, those that a row does not see are left out of its
// sums, whatever they hold.
//
// q float32 [R, Hq, d]; keys and values stored, d from 1 to 256, Hq / Hkv from 1 to 64; context float32 [R, Hq, d] and
// the same rounded to nearest even. Pointers are aligned to 16 bytes. Equals reference/ops.h's softmax() and weighted
// sum, divided by the weights' sum at the end. Moves 2 S d stored bytes for every tile and query head, S the longest
// prefix; heads that share a key-value head find them in the caches.
//
// Two kernels. The first, below, is made for every type and width: float32 throughout, a sum of scores one after the
// other over d, of values over entries, of weights over every 16th entry and then as a tree. The second is
// attention_tile_products.h's.
#pragma once

#include "backends/gpu/kernels/attention_common.h"
#include "backends/gpu/kernels/attention_tile_products.h"

namespace mlbench::gpu::MLBENCH_GPU_TARGET {

// A block of 16 by 16 threads owns a tile and a query head. Thread (y, x) sums the scores of rows 4y ... 4y + 3 and
// entries x, x + 16, ..., and columns 4x ... 4x + 3 of every 64 of the context. Queries, keys and values pass through
// shared memory as float32, 64 rows by 64 columns, weights take the queries' place: 35 KiB.
inline constexpr int kTileThreads = 256, kTileSide = 16, kTileEntries = 64, kTileColumns = 64;
inline constexpr int kTilePitch = kTileColumns / kPack + 1;  // packs, an odd number of them: see PartLayout
static_assert(kTileRows == kTileSide * kPack && kTileEntries == kTileSide * kPack && kTileColumns == kTileSide * kPack);

using Square = Values<Floats, kPack>;
using TilePanel = Floats[kTileRows][kTilePitch];

// Packs of 4 columns of a row as float32, zeros behind its end.
template <class T>
GPU_DEVICE Floats floats_of_row(const T* row, int column, int width) {
  if (width % kPack == 0 && column < width) return load_floats<kPack>(row + column);
  Floats out;
  for (int i = 0; i < kPack; ++i) out[i] = column + i < width ? to_float(row[column + i]) : 0.0F;
  return out;
}

// Where a thread's four of 64 rows begin, those that it brings to shared memory: row i * 16 + y.
struct OwnRows {
  Index offsets[kPack];
  int count = 0;  // rows 16 i + y beyond it are zeros
};

template <class T>
GPU_DEVICE void stage_columns(const T* data, const OwnRows& rows, int first_column, int width, TilePanel& out) {
  const int x = thread_place().x % kTileSide, y = thread_place().x / kTileSide;
  for (int i = 0; i < kPack; ++i) {
    const int row = i * kTileSide + y;
    Floats values = {};
    if (row < rows.count) values = floats_of_row(data + rows.offsets[i], first_column + x * kPack, width);
    out[row][x] = values;
  }
}

GPU_DEVICE OwnRows own_queries(const AttentionCall& call, const RowTile& tile, int head) {
  OwnRows out;
  out.count = tile.count;
  for (int i = 0; i < kPack; ++i) {
    const Index row = tile.first + i * kTileSide + thread_place().x / kTileSide;
    out.offsets[i] = (row * call.heads + head) * call.cache.width;
  }
  return out;
}

GPU_DEVICE OwnRows own_entries(const HeadEntries& entries, int begin, int end) {
  OwnRows out;
  out.count = end - begin < kTileEntries ? end - begin : kTileEntries;
  for (int i = 0; i < kPack; ++i) {
    const int entry = begin + i * kTileSide + thread_place().x / kTileSide;
    out.offsets[i] = entry < end ? key_offset(entries, entry) : 0;
  }
  return out;
}

// What a thread keeps of its four rows. `sum` is of the entries that it scored alone.
struct TileRows {
  int seen[kPack];  // entries; 0 for rows that the tile does not have
  float largest[kPack], sum[kPack], factor[kPack];
};

// scores[i][j] += q[4y + i] . k[16j + x] over the columns that are staged.
GPU_DEVICE void add_scores(const TilePanel& queries, const TilePanel& keys, int columns, Square& scores) {
  const int x = thread_place().x % kTileSide, y = thread_place().x / kTileSide;
  for (int p = 0; p * kPack < columns; ++p) {
    Floats q[kPack], k[kPack];
    for (int i = 0; i < kPack; ++i) {
      q[i] = queries[y * kPack + i][p];
      k[i] = keys[i * kTileSide + x][p];
    }
    for (int c = 0; c < kPack; ++c) {
      for (int i = 0; i < kPack; ++i) {
        for (int j = 0; j < kPack; ++j) scores[i][j] += q[i][c] * k[j][c];
      }
    }
  }
}

// Scores become weights; the rows' maxima, sums and factors for what was summed before follow.
template <int W>
GPU_DEVICE void raise_tile(float scale, int begin, Square& scores, TileRows& rows) {
  const int x = thread_place().x % kTileSide;
  for (int i = 0; i < kPack; ++i) {
    float largest = rows.largest[i];
    for (int j = 0; j < kPack; ++j) {
      const bool seen = begin + j * kTileSide + x < rows.seen[i];
      scores[i][j] = seen ? scale * scores[i][j] : -INFINITY;
      largest = gpu_max(largest, scores[i][j]);
    }
    for (int mask = 1; mask < kTileSide; mask *= 2) largest = gpu_max(largest, shuffle_xor<W>(largest, mask));
    const float base = base_of(largest);
    rows.factor[i] = gpu_exp(rows.largest[i] - base);
    rows.largest[i] = largest;
    rows.sum[i] *= rows.factor[i];
    for (int j = 0; j < kPack; ++j) {
      scores[i][j] = gpu_exp(scores[i][j] - base);
      rows.sum[i] += scores[i][j];
    }
  }
}

GPU_DEVICE void put_weights(const Square& weights, TilePanel& out) {
  const int x = thread_place().x % kTileSide, y = thread_place().x / kTileSide;
  for (int i = 0; i < kPack; ++i) {
    for (int j = 0; j < kPack; ++j) {
      const int entry = j * kTileSide + x;
      out[y * kPack + i][entry / kPack][entry % kPack] = weights[i][j];
    }
  }
}

// sums[i][c] += sum over entries of weights[4y + i] values[4x + c]. Masked: entries that a row does not see are left
// out, for 0 times infinity is no number.
template <bool masked>
GPU_DEVICE void add_tile_values(const TilePanel& weights, const TilePanel& values, int begin, int count,
                                const TileRows& rows, Square& sums) {
  const int x = thread_place().x % kTileSide, y = thread_place().x / kTileSide;
  for (int e = 0; e < count; e += kPack) {
    Floats w[kPack];
    for (int i = 0; i < kPack; ++i) w[i] = weights[y * kPack + i][e / kPack];
    for (int k = 0; k < kPack; ++k) {
      const Floats v = values[e + k][x];
      for (int i = 0; i < kPack; ++i) {
        if (masked && begin + e + k >= rows.seen[i]) continue;
        for (int c = 0; c < kPack; ++c) sums[i][c] += w[i][k] * v[c];
      }
    }
  }
}

template <class T>
GPU_DEVICE void put_context(const AttentionCall& call, Index offset, int column, const Floats& values) {
  const int width = static_cast<int>(call.cache.width);
  T* stored = static_cast<T*>(call.context_stored);
  if (width % kPack == 0 && column < width) {
    if (call.context != nullptr) store_pack<float, kPack>(call.context + offset + column, values);
    if (stored != nullptr) store_floats<kPack>(stored + offset + column, values);
    return;
  }
  for (int i = 0; i < kPack && column + i < width; ++i) {
    if (call.context != nullptr) call.context[offset + column + i] = values[i];
    if (stored != nullptr) stored[offset + column + i] = from_float<T>(values[i]);
  }
}

template <int W, class T, int Chunks>
GPU_DEVICE void put_tile(const AttentionCall& call, const RowTile& tile, int head, TileRows& rows,
                         const Values<Square, Chunks>& sums) {
  const int x = thread_place().x % kTileSide, y = thread_place().x / kTileSide;
  GPU_UNROLL
  for (int i = 0; i < kPack; ++i) {
    for (int mask = 1; mask < kTileSide; mask *= 2) rows.sum[i] += shuffle_xor<W>(rows.sum[i], mask);
    if (y * kPack + i >= tile.count) continue;
    const Index offset = ((tile.first + y * kPack + i) * call.heads + head) * call.cache.width;
    GPU_UNROLL
    for (int chunk = 0; chunk < Chunks; ++chunk) {
      Floats out;
      for (int c = 0; c < kPack; ++c) out[c] = sums[chunk][i][c] / rows.sum[i];
      put_context<T>(call, offset, chunk * kTileColumns + x * kPack, out);
    }
  }
}

template <int W, DType type, int Chunks>
GPU_KERNEL_OF(kTileThreads)
void attend_tile(TiledAttentionCall call) {
  using T = typename Stored<type>::type;
  GPU_SHARED(Floats, left, [kTileRows][kTilePitch]);      // queries, then weights
  GPU_SHARED(Floats, right, [kTileEntries][kTilePitch]);  // keys, then values
  const AttentionCall& attention = call.attention;
  const RowTile tile = call.tiles[call.count - 1 - block_place().x];  // later rows of a prompt, with more to do, first
  const int head = block_place().y, width = static_cast<int>(attention.cache.width);
  const TilePrefixes prefixes = tile_prefixes(attention.visible, tile);
  const HeadEntries entries =
      head_entries(attention, attention.visible.sequence[tile.first], head / (attention.heads / attention.cache.heads));
  const T* keys = static_cast<const T*>(attention.cache.data);
  const OwnRows queries = own_queries(attention, tile, head);

  TileRows rows;
  for (int i = 0; i < kPack; ++i) {
    const int row = thread_place().x / kTileSide * kPack + i;
    rows.seen[i] = row < tile.count ? attention.visible.prefix[tile.first + row] : 0;
    rows.largest[i] = -INFINITY;
    rows.sum[i] = 0.0F;
  }
  Values<Square, Chunks> sums = {};
  for (int begin = 0; begin < prefixes.longest; begin += kTileEntries) {
    const OwnRows own = own_entries(entries, begin, prefixes.longest);
    Square scores = {};
    for (int column = 0; column < width; column += kTileColumns) {
      barrier();
      stage_columns(attention.q, queries, column, width, left);
      stage_columns(keys, own, column, width, right);
      barrier();
      add_scores(left, right, width - column < kTileColumns ? width - column : kTileColumns, scores);
    }
    raise_tile<W>(attention.scale, begin, scores, rows);
    const bool masked = begin + kTileEntries > prefixes.shortest;
    GPU_UNROLL
    for (int chunk = 0; chunk < Chunks; ++chunk) {
      if (chunk * kTileColumns >= width) break;
      barrier();
      if (chunk == 0) put_weights(scores, left);
      stage_columns(keys + entries.to_values, own, chunk * kTileColumns, width, right);
      barrier();
      for (int i = 0; i < kPack; ++i) {
        for (int c = 0; c < kPack; ++c) sums[chunk][i][c] *= rows.factor[i];
      }
      if (masked) {
        add_tile_values<true>(left, right, begin, own.count, rows, sums[chunk]);
      } else {
        add_tile_values<false>(left, right, begin, own.count, rows, sums[chunk]);
      }
    }
  }
  put_tile<W, T, Chunks>(attention, tile, head, rows, sums);
}

template <int W, DType type>
void launch_tiles(Stream& stream, const TiledAttentionCall& call) {
  const Place grid{static_cast<int>(call.count), static_cast<int>(call.attention.heads), 1};
  const Index width = call.attention.cache.width;
  const auto kernel = width <= 64    ? attend_tile<W, type, 1>
                      : width <= 128 ? attend_tile<W, type, 2>
                                     : attend_tile<W, type, 4>;
  launch(kernel, grid, Place{kTileThreads, 1, 1}, 0, stream, call);
}

// `by_products` as tile_products_take() allows it.
template <int W>
void launch_attend_tiles(Stream& stream, const TiledAttentionCall& call, bool by_products) {
  const AttentionCall& attention = call.attention;
  if (call.count == 0) return;
  require_supported(attention);
  with_stored(attention.cache.stored, [&](auto type) {
    if constexpr (type() != DType::f32 && kHasTileProducts<W>) {
      if (by_products) return launch_tile_products<W, type()>(stream, call);
    }
    launch_tiles<W, type()>(stream, call);
  });
  launch_probs<W>(stream, attention, by_products);
}

}  // namespace mlbench::gpu::MLBENCH_GPU_TARGET
