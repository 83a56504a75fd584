// Attention of prompts by products of small tiles, for bf16 and f16: attention_tiles.h's second kernel.
//
// As its first, but queries are rounded to the cache's type before they meet keys, and weights before they meet values:
// what a session declares as attention_inputs. Scores are scaled after the product, in float32, and weights are summed
// before they are rounded. d is a multiple of 16. Products are exact; sums are float32 as the matrix units make them
// (truncated on devices, 16 terms at a time with CUDA; one by one on the host).
//
// A block owns a tile and a query head, each of its 4 warps 16 rows: their queries, scores and sums are spread over the
// warp as tile_product.h says, so that a lane has parts of one row or two, `row` and `row` + 8, and the four lanes of a
// row share what they know of it. Keys and values pass through shared memory, 64 entries at a time, 32 where they are
// wider than 128: up to 35 KiB.
#pragma once

#include "backends/gpu/kernels/attention_common.h"
#include "backends/gpu/kernels/tile_product.h"

namespace mlbench::gpu::MLBENCH_GPU_TARGET {

// Whether prompts are taken by products of tiles: queries and probabilities are rounded to the storage type then.
template <int W>
[[nodiscard]] constexpr bool tile_products_take(DType stored, Index width) {
  return kHasTileProducts<W> && (stored == DType::bf16 || stored == DType::f16) && width % 16 == 0 &&
         width <= kMostWidth;
}

inline constexpr int kWarpRows = 16;
template <int W>
inline constexpr int kProductThreads = W * (kTileRows / kWarpRows);

// What a lane keeps of its rows; Steps: the most 16 columns of a head; Entries: that are taken together. `sum` is of
// the weights that it has alone.
template <int W, class T, int Steps, int Entries>
struct LaneRows {
  Values<LeftTile<W, T>, Steps> queries;
  Values<SumTile, Entries / kTileWidth<W>> scores;
  Values<SumTile, Steps * 16 / kTileWidth<W>> sums = {};
  Values<int, kLaneRows<W>> seen = {};  // entries; 0 for rows that the tile does not have
  Values<float, kLaneRows<W>> largest, sum = {};
};

// Keys or values: rows are an odd number of packs apart, see PartLayout.
template <int Steps>
inline constexpr int kPanelPitch = (2 * Steps + 1) * 8;
template <class T, int Steps, int Entries>
using EntryPanel = Values<Pack<T, 8>, (2 * Steps + 1) * Entries>;

template <class T>
GPU_DEVICE Pair query_pair(const float* q, bool there) {
  if (!there) return 0;
  const Pack<float, 2> values = load_pack<float, 2>(q);
  return rounded_pair<T>(values[0], values[1]);
}

template <int W, class T, int Steps, int Entries>
GPU_DEVICE void load_rows(const AttentionCall& call, const RowTile& tile, LaneRows<W, T, Steps, Entries>& rows) {
  const Index width = call.cache.width, stride = call.heads * width;
  const int row = warp<W>() * kWarpRows + tile_row<W>();
  const float* q = call.q + (tile.first + row) * stride + block_place().y * width + tile_column<W>();
  for (int i = 0; i < kLaneRows<W>; ++i) {
    rows.seen[i] = row + 8 * i < tile.count ? call.visible.prefix[tile.first + row + 8 * i] : 0;
    rows.largest[i] = -INFINITY;
  }
  GPU_UNROLL
  for (int s = 0; s < Steps; ++s) {
    for (int i = 0; i < 2 * kLaneRows<W>; ++i) {
      const int other = i % kLaneRows<W> * 8;
      const bool there = s * 16 < width && row + other < tile.count;
      rows.queries[s].pairs[i] = query_pair<T>(q + other * stride + s * 16 + i / kLaneRows<W> * kPairStep<W>, there);
    }
  }
}

// Where the keys of entries [begin, begin + Entries) stand, up to `end`.
template <int Entries>
GPU_DEVICE void find_entries(const HeadEntries& entries, int begin, int end, Index* offsets) {
  const int e = thread_place().x;
  if (e < Entries && begin + e < end) offsets[e] = key_offset(entries, begin + e);
}

// Keys and values of entries to shared memory; entries from `count` on are zeros.
template <int W, class T, int Steps, int Entries>
GPU_DEVICE void stage_panels(const T* cache, const HeadEntries& entries, const Index* offsets, int count, T* keys,
                             T* values) {
  const int packs = entries.width / 8, at_once = kProductThreads<W> / packs;
  const int pack = thread_place().x % packs, first = thread_place().x / packs;
  if (first >= at_once) return;
  for (int e = first; e < Entries; e += at_once) {
    Pack<T, 8> key = {}, value = {};
    if (e < count) {
      key = load_pack<T, 8>(cache + offsets[e] + pack * 8);
      value = load_pack<T, 8>(cache + offsets[e] + entries.to_values + pack * 8);
    }
    store_pack<T, 8>(keys + e * kPanelPitch<Steps> + pack * 8, key);
    store_pack<T, 8>(values + e * kPanelPitch<Steps> + pack * 8, value);
  }
}

template <int W, class T, int Steps, int Entries>
GPU_DEVICE void score_panel(const T* keys, int steps, LaneRows<W, T, Steps, Entries>& rows) {
  constexpr int kPitch = kPanelPitch<Steps>, kWidth = kTileWidth<W>;
  GPU_UNROLL
  for (int n = 0; n < Entries / kWidth; ++n) {
    rows.scores[n] = {};
    GPU_UNROLL
    for (int s = 0; s < Steps; ++s) {
      if (s < steps) {
        add_product<W>(rows.scores[n], rows.queries[s],
                       right_tile_of_rows<W>(keys + n * kWidth * kPitch + s * 16, kPitch));
      }
    }
  }
}

// Over the four lanes of a row.
template <int W>
GPU_DEVICE float row_max(float value) {
  for (int i = 1; i < 4; i *= 2) value = gpu_max(value, shuffle_xor<W>(value, i * kNextLane<W>));
  return value;
}
template <int W>
GPU_DEVICE float row_sum(float value) {
  for (int i = 1; i < 4; i *= 2) value += shuffle_xor<W>(value, i * kNextLane<W>);
  return value;
}

// Scores become weights; what was summed before is scaled to the new maximum.
template <int W, class T, int Steps, int Entries>
GPU_DEVICE void raise_panel(float scale, int begin, LaneRows<W, T, Steps, Entries>& rows) {
  constexpr int kWidth = kTileWidth<W>, kColumns = kLaneColumns<W>;
  GPU_UNROLL
  for (int i = 0; i < kLaneRows<W>; ++i) {
    const int seen = rows.seen[i] - begin - tile_column<W>();
    float largest = rows.largest[i];
    GPU_UNROLL
    for (int n = 0; n < Entries / kWidth; ++n) {
      for (int j = 0; j < kColumns; ++j) {
        float& score = rows.scores[n].values[kColumns * i + j];
        score = n * kWidth + j < seen ? scale * score : -INFINITY;
        largest = gpu_max(largest, score);
      }
    }
    largest = row_max<W>(largest);
    const float base = base_of(largest), factor = gpu_exp(rows.largest[i] - base);
    rows.largest[i] = largest;
    rows.sum[i] *= factor;
    GPU_UNROLL
    for (int n = 0; n < Entries / kWidth; ++n) {
      for (int j = 0; j < kColumns; ++j) {
        float& weight = rows.scores[n].values[kColumns * i + j];
        weight = gpu_exp(weight - base);
        rows.sum[i] += weight;
      }
    }
    GPU_UNROLL
    for (int c = 0; c < Steps * 16 / kWidth; ++c) {
      for (int j = 0; j < kColumns; ++j) rows.sums[c].values[kColumns * i + j] *= factor;
    }
  }
}

// Whether a pair holds values that are infinite or no numbers.
template <class T>
GPU_DEVICE bool all_finite(Pair pair) {
  return finite_pair<T>(pair) == pair;
}

// Values that the products have left out, to the rows that see their entry: infinities, or no numbers, whatever the
// weight.
template <int W, class T, int Steps, int Entries>
GPU_DEVICE void add_infinite(const T* values, int begin, int width, LaneRows<W, T, Steps, Entries>& rows) {
  constexpr int kPitch = kPanelPitch<Steps>, kWidth = kTileWidth<W>, kColumns = kLaneColumns<W>;
  for (int e = 0; e < Entries; ++e) {
    GPU_UNROLL
    for (int c = 0; c < Steps * 16 / kWidth; ++c) {
      for (int j = 0; j < kColumns && c * kWidth < width; ++j) {
        const T value = values[e * kPitch + c * kWidth + tile_column<W>() + j];
        if (all_finite<T>(value.bits)) continue;
        for (int i = 0; i < kLaneRows<W>; ++i) {
          if (begin + e < rows.seen[i]) rows.sums[c].values[kColumns * i + j] += to_float(value);
        }
      }
    }
  }
}

// sums += weights values. Masked: rows see different entries, and 0 times infinity is no number.
template <int W, bool masked, class T, int Steps, int Entries>
GPU_DEVICE void add_panel(const T* values, int begin, int width, LaneRows<W, T, Steps, Entries>& rows) {
  constexpr int kPitch = kPanelPitch<Steps>, kWidth = kTileWidth<W>, kTiles = 16 / kWidth;
  bool finite = true;
  GPU_UNROLL
  for (int e = 0; e < Entries / 16; ++e) {
    const LeftTile<W, T> weights = left_tile<W, T>(&rows.scores[e * kTiles]);
    GPU_UNROLL
    for (int c = 0; c < Steps * 16 / kWidth; ++c) {
      if (c * kWidth >= width) continue;
      RightTile<T> right = right_tile<W>(values + e * 16 * kPitch + c * kWidth, kPitch);
      for (int i = 0; masked && i < 2; ++i) {
        finite = finite && all_finite<T>(right.pairs[i]);
        right.pairs[i] = finite_pair<T>(right.pairs[i]);
      }
      add_product<W>(rows.sums[c], weights, right);
    }
  }
  if (masked && ballot<W>(!finite) != 0) add_infinite<W>(values, begin, width, rows);
}

template <int W, class T, int Steps, int Entries>
GPU_DEVICE void put_rows(const AttentionCall& call, const RowTile& tile, LaneRows<W, T, Steps, Entries>& rows) {
  constexpr int kWidth = kTileWidth<W>, kColumns = kLaneColumns<W>;
  const Index width = call.cache.width;
  T* stored = static_cast<T*>(call.context_stored);
  GPU_UNROLL
  for (int i = 0; i < kLaneRows<W>; ++i) {
    rows.sum[i] = row_sum<W>(rows.sum[i]);
    const int row = warp<W>() * kWarpRows + tile_row<W>() + 8 * i;
    if (row >= tile.count) continue;
    const Index offset = ((tile.first + row) * call.heads + block_place().y) * width + tile_column<W>();
    GPU_UNROLL
    for (int c = 0; c < Steps * 16 / kWidth; ++c) {
      if (c * kWidth >= width) continue;
      Pack<float, kColumns> out;
      for (int j = 0; j < kColumns; ++j) out[j] = rows.sums[c].values[kColumns * i + j] / rows.sum[i];
      if (call.context != nullptr) store_pack<float, kColumns>(call.context + offset + c * kWidth, out);
      if (stored != nullptr) store_floats<kColumns>(stored + offset + c * kWidth, out);
    }
  }
}

template <int W, DType type, int Steps, int Entries>
GPU_KERNEL_OF(kProductThreads<W>)
void attend_tile_by_products(TiledAttentionCall call) {
  using T = typename Stored<type>::type;
  using Panel = EntryPanel<T, Steps, Entries>;
  GPU_SHARED(Panel, key_panel, [1]);
  GPU_SHARED(Panel, value_panel, [1]);
  GPU_SHARED(Index, offsets, [64]);
  T *keys = reinterpret_cast<T*>(key_panel), *values = reinterpret_cast<T*>(value_panel);
  const AttentionCall& attention = call.attention;
  const RowTile tile = call.tiles[call.count - 1 - block_place().x];  // later rows of a prompt, with more to do, first
  const HeadEntries entries = head_entries(attention, attention.visible.sequence[tile.first],
                                           block_place().y / (attention.heads / attention.cache.heads));
  const TilePrefixes prefixes = tile_prefixes(attention.visible, tile);
  const T* cache = static_cast<const T*>(attention.cache.data);

  LaneRows<W, T, Steps, Entries> rows;
  load_rows<W>(attention, tile, rows);
  int own_longest = 0;
  for (int i = 0; i < kLaneRows<W>; ++i) own_longest = rows.seen[i] > own_longest ? rows.seen[i] : own_longest;
  for (int mask = 1; mask < W; mask *= 2) {
    const int other = shuffle_xor<W>(own_longest, mask);
    own_longest = other > own_longest ? other : own_longest;
  }
  find_entries<Entries>(entries, 0, prefixes.longest, offsets);
  for (int begin = 0; begin < prefixes.longest; begin += Entries) {
    barrier();
    const int count = prefixes.longest - begin < Entries ? prefixes.longest - begin : Entries;
    stage_panels<W, T, Steps, Entries>(cache, entries, offsets, count, keys, values);
    barrier();
    find_entries<Entries>(entries, begin + Entries, prefixes.longest, offsets);
    if (begin >= own_longest) continue;
    score_panel<W>(keys, entries.width / 16, rows);
    raise_panel<W>(attention.scale, begin, rows);
    if (begin + Entries > prefixes.shortest) {
      add_panel<W, true>(values, begin, entries.width, rows);
    } else {
      add_panel<W, false>(values, begin, entries.width, rows);
    }
  }
  put_rows<W>(attention, tile, rows);
}

template <int W, DType type>
void launch_tile_products(Stream& stream, const TiledAttentionCall& call) {
  const Place grid{static_cast<int>(call.count), static_cast<int>(call.attention.heads), 1};
  const Index width = call.attention.cache.width;
  const auto kernel = width <= 64    ? attend_tile_by_products<W, type, 4, 64>
                      : width <= 128 ? attend_tile_by_products<W, type, 8, 64>
                                     : attend_tile_by_products<W, type, 16, 32>;
  launch(kernel, grid, Place{kProductThreads<W>, 1, 1}, 0, stream, call);
}

}  // namespace mlbench::gpu::MLBENCH_GPU_TARGET
