// What the attention kernels share: where the entries stand that a row sees, and the
// kernel that gives attn.probs.
#pragma once

#include "backends/gpu/attention_limits.h"
#include "backends/gpu/kernels/row_packs.h"

namespace mlbench::gpu::MLBENCH_GPU_TARGET {

inline void require_supported(const AttentionCall& call) {
  const backends::Support support = attention_supports(call.heads, call.cache.heads, call.cache.width);
  if (!support) throw Error(ErrorKind::internal, "backend.failed", support.reason);
}

using Floats = Pack<float, kPack>;

constexpr Index rounded_up(Index value, Index unit) { return (value + unit - 1) / unit * unit; }

// The entries of one sequence, of one key-value head in one layer. Offsets are in elements.
struct HeadEntries {
  const std::int32_t* pages = nullptr;
  int sink = 0, gap = 0, page_size = 1, width = 0;
  Index first = 0;      // the head's first key in page 0
  Index of_page = 0;    // from a page to the next
  Index to_values = 0;  // from a key to its value
};

GPU_DEVICE HeadEntries head_entries(const AttentionCall& call, int sequence, Index kv_head) {
  const CacheView& cache = call.cache;
  const VisibleRows& visible = call.visible;
  const Index of_head = cache.page_size * cache.width, of_page = cache.heads * of_head;
  HeadEntries out;
  out.pages = visible.pages + sequence * visible.max_pages;
  out.sink = visible.sink[sequence];
  out.gap = visible.gap[sequence];
  out.page_size = static_cast<int>(cache.page_size);
  out.width = static_cast<int>(cache.width);
  out.of_page = of_page;
  out.to_values = cache.pages * of_page;
  out.first = call.layer * 2 * out.to_values + kv_head * of_head;
  return out;
}

// Where an entry's key begins.
GPU_DEVICE Index key_offset(const HeadEntries& entries, int entry) {
  const int place = entry < entries.sink ? entry : entry + entries.gap;
  const int page = place / entries.page_size, in_page = place - page * entries.page_size;
  return entries.first + entries.pages[page] * entries.of_page + static_cast<Index>(in_page) * entries.width;
}

// What a row sees, in order: entries [0, prefix), then those of its path.
struct SeenEntries {
  int prefix = 0, count = 0;
  const std::int32_t* path = nullptr;
};

GPU_DEVICE SeenEntries seen_entries(const VisibleRows& visible, Index row) {
  SeenEntries out;
  out.prefix = out.count = visible.prefix[row];
  if (visible.path_begin == nullptr) return out;
  const std::int32_t begin = visible.path_begin[row];
  out.count += visible.path_begin[row + 1] - begin;
  out.path = visible.path + begin;
  return out;
}

GPU_DEVICE int nth_entry(const SeenEntries& seen, int n) { return n < seen.prefix ? n : seen.path[n - seen.prefix]; }

// Of the rows of a tile, which have no paths.
struct TilePrefixes {
  int longest = 0, shortest = 0;
};

GPU_DEVICE TilePrefixes tile_prefixes(const VisibleRows& visible, const RowTile& tile) {
  TilePrefixes out = {0, visible.prefix[tile.first]};
  for (int r = 0; r < tile.count; ++r) {
    const int prefix = visible.prefix[tile.first + r];
    out.longest = prefix > out.longest ? prefix : out.longest;
    out.shortest = prefix < out.shortest ? prefix : out.shortest;
  }
  return out;
}

// What is subtracted from scores before they are raised, given the largest of them. Where all are minus infinity, as
// those of no entries, it is 0: their weights are 0 and not no number. (A score that is no number is passed over by
// gpu_max(); its weight is no number and neither is the row's result.)
GPU_DEVICE float base_of(float largest) { return largest == -INFINITY ? 0.0F : largest; }

// ---- attn.probs ----
//
//   probs[h, r, j] = softmax over the j that row r sees (scale * q[r, h] . k[j])
//
// q float32 [R, Hq, d], rounded to the cache's type first where `narrow_queries`, keys stored; probs float32 [Hq, R,
// probs_stride], elsewhere untouched. A block of 128 threads owns a row of a head, a thread every 128th visible entry;
// scores wait in probs itself. Sums over d are one after the other, over entries in a thread one after the other, then
// a tree. It serves taps alone: keys are read once for every query head, and not side by side. Equals reference/ops.h's
// softmax().
struct ProbsCall {
  AttentionCall attention;
  bool narrow_queries = false;
};
inline constexpr int kProbsThreads = 128;

template <class T>
GPU_DEVICE float score_of(const float* q, const T* key, int width, bool narrow_queries) {
  float sum = 0.0F;
  for (int i = 0; i < width; ++i) {
    sum += (narrow_queries ? to_float(from_float<T>(q[i])) : q[i]) * to_float(key[i]);
  }
  return sum;
}

template <int W, DType type>
GPU_KERNEL void attention_probs(ProbsCall call) {
  using T = typename Stored<type>::type;
  GPU_SHARED(float, of_warps, [kProbsThreads / 32]);
  const AttentionCall& attention = call.attention;
  const Index row = block_place().x, head = block_place().y;
  const SeenEntries seen = seen_entries(attention.visible, row);
  const HeadEntries entries =
      head_entries(attention, attention.visible.sequence[row], head / (attention.heads / attention.cache.heads));
  const T* keys = static_cast<const T*>(attention.cache.data);
  const float* q = attention.q + (row * attention.heads + head) * entries.width;
  float* probs = attention.probs + (head * attention.rows + row) * attention.probs_stride;

  const int thread = thread_place().x;
  float largest = -INFINITY;
  for (int n = thread; n < seen.count; n += kProbsThreads) {
    const int entry = nth_entry(seen, n);
    const T* key = keys + key_offset(entries, entry);
    probs[entry] = attention.scale * score_of(q, key, entries.width, call.narrow_queries);
    largest = gpu_max(largest, probs[entry]);
  }
  const float base = base_of(block_max<W>(largest, of_warps));
  float sum = 0.0F;
  for (int n = thread; n < seen.count; n += kProbsThreads) {
    float& p = probs[nth_entry(seen, n)];
    p = gpu_exp(p - base);
    sum += p;
  }
  sum = block_sum<W>(sum, of_warps);
  for (int n = thread; n < seen.count; n += kProbsThreads) probs[nth_entry(seen, n)] /= sum;
}

// Where they are wanted.
template <int W>
void launch_probs(Stream& stream, const AttentionCall& attention, bool narrow_queries) {
  if (attention.probs == nullptr) return;
  const Place grid{static_cast<int>(attention.rows), static_cast<int>(attention.heads), 1};
  with_stored(attention.cache.stored, [&](auto type) {
    launch(attention_probs<W, type()>, grid, Place{kProbsThreads, 1, 1}, 0, stream,
           ProbsCall{attention, narrow_queries});
  });
}

}  // namespace mlbench::gpu::MLBENCH_GPU_TARGET
