// Attention of single rows: decoding, token trees, short chunks.
//
//   context[r, h] = sum_j p_j v_j / sum_j p_j,   p_j = exp(s_j - max s),   s_j = scale * q[r, h] . k_j
//
// over the entries j that row r sees, in `splits` parts that are summed at the same time, each with a running maximum
// (Milakov and Gimelshein, arXiv:1805.02867; Dao et al., "Flash-Decoding for long-context inference", 2023).
//
// q float32 [R, Hq, d]; keys and values stored, d from 1 to 256, Hq / Hkv from 1 to 64; partial float32 [R, Hq, splits,
// d + 2]; context float32 [R, Hq, d] and the same rounded to nearest even. Pointers are aligned to 16 bytes, partial
// and probs to 4. Sums and everything between are float32: scores sum over d one after the other; values over every
// n-th entry of a part, then over the n, then over parts. The sum is divided by the weights' sum at the end. Equals
// reference/ops.h's softmax() and weighted sum; a row with one entry gets that entry's value, bit for bit.
//
// A block owns a row, up to 8 query heads that share a key-value head, and a part: it reads the part's keys and values
// once for all of these heads. It takes 32 entries at a time (16 where they are long) through shared memory, up to 46
// KiB. A thread scores one entry for a quarter of the heads; a warp raises the scores of its own heads, one after the
// other; a thread sums four columns of every n-th entry for all heads. Moves 2 Hkv S d stored bytes for a row that sees
// S entries, once for every 8 of the Hq / Hkv heads, and twice 4 Hq splits (d + 2).
#pragma once

#include "backends/gpu/kernels/attention_common.h"

namespace mlbench::gpu::MLBENCH_GPU_TARGET {

inline constexpr int kPartThreads = 128, kPartEntries = 32, kPartHeads = 8;  // at most
inline constexpr int kPartUnit = 16;  // parts begin at multiples of it: few, full loads

// 16 bytes of stored values.
template <class T>
inline constexpr int kLongPack = 16 / static_cast<int>(sizeof(T));

// How a part's entries stand in shared memory: keys, values, [entries, pitch] each, then queries, float32 [heads,
// padded], and weights, [entries, heads]. Rows are padded with zeros to whole packs. Their pitch is an odd number of
// packs, so that lanes that read different rows at the same column meet different banks.
struct PartLayout {
  int padded = 0, pitch = 0, entries = 0;
};

template <class T>
constexpr PartLayout part_layout(int width) {
  constexpr int kMost = 42 << 10;
  const int packs = (width + kLongPack<T> - 1) / kLongPack<T>, pitch = (packs | 1) * kLongPack<T>;
  const bool fits =
      2 * kPartEntries * pitch * static_cast<int>(sizeof(T)) <= kMost - kPartHeads * 4 * packs * kLongPack<T>;
  return {packs * kLongPack<T>, pitch, fits ? kPartEntries : kPartEntries / 2};
}

// A block's share of the work.
struct Part {
  Index row = 0, kv_head = 0;
  int first_head = 0, heads = 0;  // query heads
  int begin = 0, end = 0;         // of the visible entries
};

template <int H>
GPU_DEVICE Part own_part(const SplitAttentionCall& call, int visible) {
  const AttentionCall& attention = call.attention;
  const int group = static_cast<int>(attention.heads / attention.cache.heads), chunks = (group + H - 1) / H;
  const int chunk = block_place().y % chunks, splits = static_cast<int>(call.splits);
  const int each = static_cast<int>(rounded_up((visible + splits - 1) / splits, kPartUnit));
  Part out;
  out.row = block_place().x;
  out.kv_head = block_place().y / chunks;
  out.first_head = static_cast<int>(out.kv_head) * group + chunk * H;
  out.heads = group - chunk * H < H ? group - chunk * H : H;
  const Index begin = static_cast<Index>(block_place().z) * each, end = begin + each;
  out.begin = static_cast<int>(begin < visible ? begin : visible);
  out.end = static_cast<int>(end < visible ? end : visible);
  return out;
}

// A pack of a stored row, zeros behind its end.
template <class T>
GPU_DEVICE Pack<T, kLongPack<T>> pack_of_row(const T* row, int column, int width, bool in_packs) {
  if (in_packs) return load_pack<T, kLongPack<T>>(row + column);
  Pack<T, kLongPack<T>> out;
  for (int i = 0; i < kLongPack<T>; ++i) out[i] = column + i < width ? row[column + i] : from_float<T>(0.0F);
  return out;
}

// Keys and values of `count` entries to shared memory: neighbouring threads read neighbouring packs.
template <class T>
GPU_DEVICE void stage_entries(const T* cache, const HeadEntries& entries, const Index* offsets, int count,
                              const PartLayout& layout, T* keys, T* values) {
  const int packs = layout.padded / kLongPack<T>, at_once = kPartThreads / packs;
  const int column = thread_place().x % packs * kLongPack<T>, first = thread_place().x / packs;
  if (first >= at_once) return;
  const bool aligned = entries.width % kLongPack<T> == 0;
  for (int e = first; e < count; e += at_once) {
    const T* key = cache + offsets[e];
    store_pack<T, kLongPack<T>>(keys + e * layout.pitch + column, pack_of_row(key, column, entries.width, aligned));
    store_pack<T, kLongPack<T>>(values + e * layout.pitch + column,
                                pack_of_row(key + entries.to_values, column, entries.width, aligned));
  }
}

template <int H>
GPU_DEVICE void stage_queries(const AttentionCall& call, const Part& part, int padded, float* queries) {
  const int width = static_cast<int>(call.cache.width);
  const float* q = call.q + (part.row * call.heads + part.first_head) * width;
  for (int i = thread_place().x; i < H * padded; i += kPartThreads) {
    const int h = i / padded, column = i - h * padded;
    queries[i] = h < part.heads && column < width ? q[h * width + column] : 0.0F;
  }
}

// scores[h][e] = scale * q[h] . k[e]: a thread takes one entry for `own` heads.
template <int H, class T>
GPU_DEVICE void score_entries(const T* keys, const float* queries, const PartLayout& layout, int count, float scale,
                              float (*scores)[kPartEntries]) {
  constexpr int kOwn = H > 4 ? H / 4 : 1;
  const int e = thread_place().x % layout.entries, first = thread_place().x / layout.entries * kOwn;
  if (e >= count || first >= H) return;
  Values<float, kOwn> sums = {};
  for (int column = 0; column < layout.padded; column += kPack) {
    const Floats k = load_floats<kPack>(keys + e * layout.pitch + column);
    for (int h = 0; h < kOwn; ++h) {
      const Floats q = load_pack<float, kPack>(queries + (first + h) * layout.padded + column);
      for (int i = 0; i < kPack; ++i) sums[h] += q[i] * k[i];
    }
  }
  for (int h = 0; h < kOwn; ++h) scores[first + h][e] = scale * sums[h];
}

// The running maximum and sum of a head's weights.
struct Running {
  float largest = -INFINITY, sum = 0.0F;
};

// A warp's lanes raise the scores of one head: weights[e * H + head] = exp(score - largest). What was summed with the
// last maximum is to be multiplied by the result.
template <int W, int H>
GPU_DEVICE float raise_scores(const float* scores, int count, int head, Running& running, float* weights) {
  const int e = lane<W>();
  static_assert(kPartEntries <= W);
  const float score = e < count ? scores[e] : -INFINITY;
  const float largest = gpu_max(warp_max<W>(score), running.largest);
  const float base = base_of(largest), factor = gpu_exp(running.largest - base);
  const float weight = e < count ? gpu_exp(score - base) : 0.0F;
  if (e < count) weights[e * H + head] = weight;
  running.sum = running.sum * factor + warp_sum<W>(weight);
  running.largest = largest;
  return factor;
}

// sums[h][i] += weights[e][h] v[e][column + i] for every at_once-th entry.
template <int H, class T>
GPU_DEVICE void add_values(const T* values, const float* weights, int pitch, int first, int at_once, int count,
                           Values<Floats, H>& sums) {
  constexpr int kHeads = H < kPack ? H : kPack;
  for (int e = first; e < count; e += at_once) {
    const Floats v = load_floats<kPack>(values + e * pitch);
    for (int h = 0; h < H; h += kHeads) {
      const Pack<float, kHeads> w = load_pack<float, kHeads>(weights + e * H + h);
      for (int j = 0; j < kHeads; ++j) {
        for (int i = 0; i < kPack; ++i) sums[h + j][i] += w[j] * v[i];
      }
    }
  }
}

// The threads' sums of every head, added up: a part's weighted values.
template <int H>
GPU_DEVICE void put_sums(const SplitAttentionCall& call, const Part& part, const Values<Floats, H>& sums, int padded,
                         int at_once, float* room) {
  const Index width = call.attention.cache.width, of_head = call.splits * (width + 2);
  float* out = call.partial +
               ((part.row * call.attention.heads + part.first_head) * call.splits + block_place().z) * (width + 2);
  for (int h = 0; h < H; ++h) {
    barrier();
    if (thread_place().x < at_once * (padded / kPack)) {
      for (int i = 0; i < kPack; ++i) room[thread_place().x * kPack + i] = sums[h][i];
    }
    barrier();
    if (h >= part.heads) continue;
    for (int i = thread_place().x; i < width; i += kPartThreads) {
      float sum = 0.0F;
      for (int g = 0; g < at_once; ++g) sum += room[g * padded + i];
      out[h * of_head + i] = sum;
    }
  }
}

template <int W, DType type, int H>
GPU_KERNEL_OF(kPartThreads)
void attend_part(SplitAttentionCall call) {
  using T = typename Stored<type>::type;
  constexpr int kWarps = kPartThreads / W, kHeadsOfWarp = (H + kWarps - 1) / kWarps;
  GPU_DYNAMIC_SHARED(T, memory);
  GPU_SHARED(Index, offsets, [kPartEntries]);
  GPU_SHARED(float, scores, [kPartHeads][kPartEntries]);
  GPU_SHARED(float, factors, [kPartHeads]);
  GPU_SHARED(float, room, [kPartThreads * kPack]);

  const AttentionCall& attention = call.attention;
  const PartLayout layout = part_layout<T>(static_cast<int>(attention.cache.width));
  const SeenEntries seen = seen_entries(attention.visible, block_place().x);
  const Part part = own_part<H>(call, seen.count);
  const HeadEntries entries = head_entries(attention, attention.visible.sequence[part.row], part.kv_head);
  const T* cache = static_cast<const T*>(attention.cache.data);
  T *keys = memory, *values = keys + layout.entries * layout.pitch;
  float* queries = reinterpret_cast<float*>(values + layout.entries * layout.pitch);
  float* weights = queries + H * layout.padded;
  stage_queries<H>(attention, part, layout.padded, queries);

  const int thread = thread_place().x, quads = layout.padded / kPack, at_once = kPartThreads / quads;
  const int first = thread / quads, column = thread % quads * kPack;
  Values<Floats, H> sums = {};
  Values<Running, kHeadsOfWarp> running = {};
  for (int begin = part.begin; begin < part.end; begin += layout.entries) {
    const int count = part.end - begin < layout.entries ? part.end - begin : layout.entries;
    if (thread < count) offsets[thread] = key_offset(entries, nth_entry(seen, begin + thread));
    barrier();
    stage_entries(cache, entries, offsets, count, layout, keys, values);
    barrier();
    score_entries<H>(keys, queries, layout, count, attention.scale, scores);
    barrier();
    for (int i = 0; i < kHeadsOfWarp; ++i) {
      const int h = warp<W>() + i * kWarps;
      if (h >= H) break;
      const float factor = raise_scores<W, H>(scores[h], count, h, running[i], weights);
      if (lane<W>() == 0) factors[h] = factor;
    }
    barrier();
    for (int h = 0; h < H; ++h) {
      for (int i = 0; i < kPack; ++i) sums[h][i] *= factors[h];
    }
    if (first < at_once) add_values<H>(values + column, weights, layout.pitch, first, at_once, count, sums);
  }
  put_sums<H>(call, part, sums, layout.padded, at_once, room);
  for (int i = 0; i < kHeadsOfWarp; ++i) {
    const int h = warp<W>() + i * kWarps;
    if (h >= part.heads || lane<W>() != 0) break;
    const Index head = part.row * attention.heads + part.first_head + h, width = entries.width;
    float* out = call.partial + (head * call.splits + block_place().z) * (width + 2) + width;
    out[0] = running[i].largest;
    out[1] = running[i].sum;
  }
}

// context = sum over parts of exp(m_s - m) (weighted values, sum of weights), the one divided by the other. A block
// owns a row of a head, a thread every 128th column.
template <int W, DType type>
GPU_KERNEL void join_parts(SplitAttentionCall call) {
  using T = typename Stored<type>::type;
  const AttentionCall& attention = call.attention;
  const int width = static_cast<int>(attention.cache.width), splits = static_cast<int>(call.splits);
  const Index head = static_cast<Index>(block_place().x) * attention.heads + block_place().y;
  const float* parts = call.partial + head * splits * (width + 2);
  float largest = -INFINITY;
  for (int s = 0; s < splits; ++s) largest = gpu_max(largest, parts[s * (width + 2) + width]);
  for (int i = thread_place().x; i < width; i += kPartThreads) {
    float sum = 0.0F, of_weights = 0.0F;
    for (int s = 0; s < splits; ++s) {
      const float* part = parts + s * (width + 2);
      const float factor = gpu_exp(part[width] - largest);
      sum += factor * part[i];
      of_weights += factor * part[width + 1];
    }
    const float context = sum / of_weights;
    if (attention.context != nullptr) attention.context[head * width + i] = context;
    if (attention.context_stored != nullptr) {
      static_cast<T*>(attention.context_stored)[head * width + i] = from_float<T>(context);
    }
  }
}

template <int W, DType type, int H>
void launch_parts(Stream& stream, const SplitAttentionCall& call) {
  using T = typename Stored<type>::type;
  const AttentionCall& attention = call.attention;
  const PartLayout layout = part_layout<T>(static_cast<int>(attention.cache.width));
  const Index chunks = rounded_up(attention.heads / attention.cache.heads, H) / H;
  const Place grid{static_cast<int>(attention.rows), static_cast<int>(attention.cache.heads * chunks),
                   static_cast<int>(call.splits)};
  const int bytes =
      2 * layout.entries * layout.pitch * static_cast<int>(sizeof(T)) + 4 * H * (layout.padded + layout.entries);
  launch(attend_part<W, type, H>, grid, Place{kPartThreads, 1, 1}, bytes, stream, call);
}

template <int W>
void launch_attend_rows(Stream& stream, const SplitAttentionCall& call) {
  const AttentionCall& attention = call.attention;
  if (attention.rows == 0) return;
  require_supported(attention);
  const Index group = attention.heads / attention.cache.heads;
  const Place grid{static_cast<int>(attention.rows), static_cast<int>(attention.heads), 1};
  with_stored(attention.cache.stored, [&](auto type) {
    const auto launch_chunks = group == 1   ? launch_parts<W, type(), 1>
                               : group == 2 ? launch_parts<W, type(), 2>
                               : group <= 4 ? launch_parts<W, type(), 4>
                                            : launch_parts<W, type(), 8>;
    launch_chunks(stream, call);
    launch(join_parts<W, type()>, grid, Place{kPartThreads, 1, 1}, 0, stream, call);
  });
  launch_probs<W>(stream, attention, false);
}

}  // namespace mlbench::gpu::MLBENCH_GPU_TARGET
