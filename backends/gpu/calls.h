// What the kernels are asked for: one plain struct a call, its pointers into device memory. No vendor's header is
// needed to fill them. Letters as in models/config.h; R rows of a call, row-major; `stored` is the storage type of
// weights, of the cache, and of what enters products. Values between operators are float32.
//
// Kernels check nothing: whoever fills a call answers for its pointers and sizes. Null means "not wanted" where a
// comment says so. Everything that changes from step to step (ids, positions, slots, page tables, lengths) is read from
// device memory, so that the same call can be replayed from a graph.
#pragma once

#include <cstdint>

#include "core/dtype.h"
#include "core/tensor.h"
#include "models/config.h"

namespace mlbench::gpu {

// out[r] = table[ids[r]]
struct EmbedCall {
  DType stored = DType::f32;
  const void* table = nullptr;  // stored [n, width]
  const std::int32_t* ids = nullptr;
  float* out = nullptr;  // [R, width]
  Index rows = 0, width = 0;
};

// x[r] += table[positions[r]]: GPT BigCode's position embedding.
struct AddPositionsCall {
  DType stored = DType::f32;
  const void* table = nullptr;  // stored [n, width]
  const std::int32_t* positions = nullptr;
  float* x = nullptr;      // [R, width]
  float* added = nullptr;  // [R, width], what was added; null: not wanted
  Index rows = 0, width = 0;
};

// x += first + second; y = norm(x) * weight + bias. RMSNorm (arXiv:1910.07467): x / sqrt(mean(x^2) + eps). LayerNorm
// (arXiv:1607.06450): (x - mean) / sqrt(mean((x - mean)^2) + eps), in two passes over the row.
struct NormCall {
  bool subtracts_mean = false;
  float eps = 0.0F;
  const float* weight = nullptr;  // [width]; null: 1
  const float* bias = nullptr;    // [width]; null: 0
  float* x = nullptr;             // [R, width], changed only where something is added
  const float* first = nullptr;   // [R, width]; null: nothing is added
  const float* second = nullptr;  // [R, width]; null: not a parallel block; added after `first`
  bool normalizes = true;         // false: only adds
  float* y = nullptr;             // [R, width]; null: not wanted; may be x where nothing is added
  DType stored = DType::f32;
  void* y_stored = nullptr;  // stored [R, width], y rounded to nearest even; null: not wanted
  Index rows = 0, width = 0;
};

// y[r] += bias, for libraries whose products add none.
struct BiasCall {
  float* y = nullptr;           // [R, width]
  const float* bias = nullptr;  // [width]
  Index rows = 0, width = 0;
};

// A paged cache in one piece: stored [L, 2, pages, Hkv, page_size, d], keys before values.
struct CacheView {
  DType stored = DType::f32;
  void* data = nullptr;
  Index layers = 0, pages = 0, heads = 0, page_size = 1, width = 0;

  // Where a head's entry begins, in elements; kind 0: key, 1: value.
  [[nodiscard]] constexpr Index offset(Index layer, Index kind, Index slot, Index head) const {
    const Index page = (layer * 2 + kind) * pages + slot / page_size;
    return ((page * heads + head) * page_size + slot % page_size) * width;
  }
};

// Heads of R rows, wherever they stand.
struct HeadRows {
  const float* data = nullptr;
  Index row_stride = 0, head_stride = 0;  // in elements
};

// What stands between the projections and attention, in one pass: clip, Phi's LayerNorm of heads, rotation
// (arXiv:2104.09864; value i with i + D/2, values from D on stay), keys and values into their slots.
struct QkvCall {
  HeadRows q, k, v;  // [R, Hq, d], [R, Hkv, d], [R, Hkv, d]
  Index rows = 0, heads = 0, kv_heads = 0, width = 0;
  float clip = 0.0F;  // to [-clip, clip], queries, keys and values; 0: none
  // LayerNorm over d, of queries and keys; weights null: none.
  const float *q_weight = nullptr, *q_bias = nullptr, *k_weight = nullptr, *k_bias = nullptr;
  float norm_eps = 0.0F;
  // [positions, D/2], row positions[r] for row r; null: nothing is rotated.
  const float *cos = nullptr, *sin = nullptr;
  const std::int32_t* positions = nullptr;
  Index rotary = 0;                     // D
  const std::int32_t* slots = nullptr;  // [R]
  Index layer = 0;
  CacheView cache;
  float* q_out = nullptr;                          // [R, Hq, d]
  float *q_normed = nullptr, *k_normed = nullptr;  // [R, Hq, d], [R, Hkv, d], before rotation; null: not wanted
};

// Where the entries of a sequence stand, and what rows see, all in device memory. Entry e < sink stands at place e,
// others at e + gap; place p in slot pages[p / page_size] * page_size + p % page_size. Row r sees entries [0,
// prefix[r]) of sequence[r], then entries path[path_begin[r]] ... path[path_begin[r + 1] - 1] (token trees).
struct VisibleRows {
  const std::int32_t* sequence = nullptr;    // [R]
  const std::int32_t* prefix = nullptr;      // [R]
  const std::int32_t* path_begin = nullptr;  // [R + 1]
  const std::int32_t* path = nullptr;
  const std::int32_t* pages = nullptr;  // [S, max_pages]
  Index max_pages = 0;
  const std::int32_t* sink = nullptr;  // [S]
  const std::int32_t* gap = nullptr;   // [S]
};

// context = softmax(scale * q K^T) V of every row and head; query head h reads key-value head h / (Hq / Hkv).
struct AttentionCall {
  const float* q = nullptr;  // [R, Hq, d]
  Index rows = 0, heads = 0;
  CacheView cache;  // Hkv heads of width d
  Index layer = 0;
  float scale = 1.0F;
  VisibleRows visible;
  float* context = nullptr;        // [R, Hq, d]; null: not wanted
  void* context_stored = nullptr;  // stored as the cache [R, Hq, d], rounded to nearest even; null: not wanted
  float* probs = nullptr;  // [Hq, R, probs_stride]: a row's weights at its entries, 0 elsewhere (filled before); null
  Index probs_stride = 0;
};

// Prompts: consecutive rows of one sequence, none with a path, are taken together.
struct RowTile {
  std::int32_t first = 0, count = 0;
};
inline constexpr Index kTileRows = 64;  // at most, of a tile
struct TiledAttentionCall {
  AttentionCall attention;
  const RowTile* tiles = nullptr;  // [count], device memory
  Index count = 0;
};

// Single rows: each row's entries in `splits` parts, whose sums a second pass joins (Dao, Haziza, Massa and Sizov,
// "Flash-Decoding for long-context inference", 2023).
struct SplitAttentionCall {
  AttentionCall attention;
  Index splits = 1;
  float* partial = nullptr;  // [R, Hq, splits, d + 2]: weighted values, largest score, sum of weights
};

// hidden = activation(gate) * up, or activation(gate) alone where up is null. Formulas: spec architectures.md,
// activations.
struct ActivationCall {
  Activation kind = Activation::silu;
  const float* gate = nullptr;  // rows of `stride` elements
  const float* up = nullptr;    // likewise; null: no gate
  Index stride = 0;
  float* act = nullptr;     // [R, width], activation(gate); null: not wanted
  float* hidden = nullptr;  // [R, width]; null: not wanted
  DType stored = DType::f32;
  void* hidden_stored = nullptr;  // stored [R, width], rounded to nearest even; null: not wanted
  Index rows = 0, width = 0;
};

// out[i] = x[chosen[i]], also rounded to `stored`.
struct GatherRowsCall {
  const float* x = nullptr;              // rows of `width`
  const std::int32_t* chosen = nullptr;  // [rows]; null: row i itself
  float* out = nullptr;                  // [rows, width]; null: not wanted
  DType stored = DType::f32;
  void* out_stored = nullptr;  // stored [rows, width], rounded to nearest even; null: not wanted
  Index rows = 0, width = 0;
};

// Values of a storage type as float32, of logits that a product wrote narrow.
struct WidenCall {
  DType stored = DType::f32;
  const void* x = nullptr;
  float* out = nullptr;
  Index count = 0;
};

// Entries of the cache copied to other slots, in all layers, in order. A later run may read what an earlier one wrote.
struct SlotCopyRun {
  std::int32_t from = 0, to = 0, count = 0;  // slots; a run stays within a page on both sides
};
struct CopySlotsCall {
  CacheView cache;
  const SlotCopyRun* runs = nullptr;  // [count], device memory
  Index count = 0;
};

// Entries of the cache as a contiguous tensor and back: stored [L', n, Hkv, d] of layers [layer, layer + layers).
struct EntriesCall {
  CacheView cache;
  Index layer = 0, layers = 0, kind = 0;
  const std::int32_t* slots = nullptr;  // [n]
  Index count = 0;                      // n
  void* entries = nullptr;
};

}  // namespace mlbench::gpu
