#include "backends/cpu/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "backends/cpu/attention_kernels.h"
#include "backends/cpu/convert.h"
#include "backends/cpu/ops.h"
#include "backends/cpu/threads.h"

namespace mlbench::cpu {
namespace {

// Heads and rows that read a key together. Rows see each other's entries computed in vain: too many of them cost more
// than the keys that they share.
constexpr Index kTileHeads = kFewQueries, kTileQueries = 64, kLeastRows = 16;
constexpr float kHidden = -std::numeric_limits<float>::infinity();  // a score whose weight is 0

}  // namespace

struct Attention::Call {
  const Heads* q = nullptr;
  const PagedKvCache* cache = nullptr;
  Index layer = 0;
  float scale = 1.0F;
  float* context = nullptr;  // [T, Hq, d]
  float* probs = nullptr;    // [Hq, T, probs_stride], where wanted
  Index probs_stride = 0;
};

// The queries of one tile and of up to kTileHeads heads that share a key-value head: query r * heads + h. Each has
// scores of the entries before the tile's longest prefix, then of its row's path.
class Attention::Piece {
 public:
  Piece(const Call& call, const paging::ForwardPlan& plan, const Tile& tile, Index first_head, Index heads,
        Index kv_head, Thread& memory)
      : call_(call),
        rows_(&plan.rows[static_cast<std::size_t>(tile.first_row)]),
        layout_(plan.sequences[static_cast<std::size_t>(rows_->sequence)].layout),
        tile_(tile),
        first_head_(first_head),
        heads_(heads),
        kv_head_(kv_head),
        width_(call.q->width),
        memory_(memory) {
    memory_.joined.clear();
    for (Index r = 0; r < tile_.count; ++r) memory_.joined.push_back(rows_[r].joined());
    Index longest_path = 0;
    for (Index r = 0; r < tile_.count; ++r) {
      prefix_ = std::max(prefix_, prefix(r));
      longest_path = std::max(longest_path, path(r));
    }
    entries_ = prefix_ + longest_path;
    point_to(PagedKvCache::kKey, memory_.keys);
    point_to(PagedKvCache::kValue, memory_.values);
  }

 protected:
  [[nodiscard]] Index joined(Index r) const { return memory_.joined[static_cast<std::size_t>(r)]; }
  [[nodiscard]] DType type() const { return call_.cache->shape().dtype; }
  [[nodiscard]] Index queries() const { return tile_.count * heads_; }
  // A row sees entries [0, prefix), then those of its path.
  [[nodiscard]] Index prefix(Index r) const { return rows_[r].prefix + joined(r); }
  [[nodiscard]] Index path(Index r) const { return static_cast<Index>(rows_[r].path.size()) - joined(r); }
  [[nodiscard]] Index path_entry(Index r, Index k) const {
    return rows_[r].path[static_cast<std::size_t>(joined(r) + k)];
  }
  [[nodiscard]] const float* query(Index r, Index h) const { return call_.q->at(tile_.first_row + r, first_head_ + h); }
  [[nodiscard]] float* context(Index r, Index h) const {
    return call_.context + ((tile_.first_row + r) * call_.q->count + first_head_ + h) * width_;
  }
  [[nodiscard]] float* probs(Index r, Index h) const {
    return call_.probs + ((first_head_ + h) * call_.q->rows + tile_.first_row + r) * call_.probs_stride;
  }
  // The entries that some row sees in its prefix.
  [[nodiscard]] StoredRows prefixes(const std::vector<const std::byte*>& rows) const {
    return {type(), rows.data(), prefix_, width_};
  }
  [[nodiscard]] const std::byte* of_path(PagedKvCache::Kind kind, Index r, Index k) const {
    return call_.cache->at(call_.layer, kind, layout_.slot(path_entry(r, k)), kv_head_);
  }
  // One entry as float32, valid until the next.
  [[nodiscard]] const float* as_float(const std::byte* stored) const {
    widen(type(), stored, scratch_, width_);
    return scratch_;
  }
  [[nodiscard]] const float* key_of_path(Index r, Index k) const { return as_float(of_path(PagedKvCache::kKey, r, k)); }

  const Call& call_;
  const paging::PlannedRow* rows_;
  const paging::Layout& layout_;
  const Tile& tile_;
  Index first_head_, heads_, kv_head_, width_;
  Index prefix_ = 0;   // the longest of any row
  Index entries_ = 0;  // and the longest path
  Thread& memory_;
  float* scratch_ = nullptr;

 private:
  // Entries of one page lie side by side.
  void point_to(PagedKvCache::Kind kind, std::vector<const std::byte*>& rows) const {
    const std::size_t bytes = static_cast<std::size_t>(width_) * size_bytes(type());
    rows.clear();
    for (Index entry = 0; entry < prefix_;) {
      const Index slot = layout_.slot(entry);
      const Index of_page = layout_.page_size - slot % layout_.page_size;
      const Index before_gap = entry < layout_.sink ? layout_.sink - entry : std::numeric_limits<Index>::max();
      const Index count = std::min({of_page, before_gap, prefix_ - entry});
      const std::byte* first = call_.cache->at(call_.layer, kind, slot, kv_head_);
      for (Index i = 0; i < count; ++i) rows.push_back(first + static_cast<std::size_t>(i) * bytes);
      entry += count;
    }
  }
};

// Many queries: vectors run across them, scores are [entries, padded].
class Attention::SideBySide : public Piece {
 public:
  using Piece::Piece;

  void run() {
    padded_ = padded_queries(queries());
    scratch_ = memory_.scratch.floats(scratch_values(width_));
    sums_ = memory_.sums.floats(width_ * padded_);
    scores_ = memory_.scores.floats(entries_ * padded_);
    score();
    float* totals = memory_.totals.floats(padded_);
    exponentials_side_by_side(scores_, entries_, padded_, totals);
    add_values();
    for (Index r = 0; r < tile_.count; ++r) {
      for (Index h = 0; h < heads_; ++h) finish(r, h, totals[r * heads_ + h]);
    }
  }

 private:
  [[nodiscard]] float* column(Index r, Index h) const { return scores_ + r * heads_ + h; }

  void score() {
    float* queries = memory_.queries.floats(width_ * padded_);
    std::fill_n(queries, width_ * padded_, 0.0F);
    for (Index r = 0; r < tile_.count; ++r) {
      for (Index h = 0; h < heads_; ++h) {
        for (Index i = 0; i < width_; ++i) queries[i * padded_ + r * heads_ + h] = query(r, h)[i];
      }
    }
    score_side_by_side(prefixes(memory_.keys), queries, padded_, call_.scale, scores_, scratch_);
    std::fill_n(scores_ + prefix_ * padded_, (entries_ - prefix_) * padded_, kHidden);
    for (Index r = 0; r < tile_.count; ++r) {
      for (Index h = 0; h < heads_; ++h) {
        float* scores = column(r, h);
        for (Index entry = prefix(r); entry < prefix_; ++entry) scores[entry * padded_] = kHidden;
        for (Index k = 0; k < path(r); ++k)
          scores[(prefix_ + k) * padded_] = call_.scale * dot(query(r, h), key_of_path(r, k), width_);
      }
    }
  }

  void add_values() {
    std::fill_n(sums_, width_ * padded_, 0.0F);
    const std::vector<Index> aside = set_aside();
    add_values_side_by_side(prefixes(memory_.values), scores_, padded_, sums_, scratch_);
    for (Index r = 0; r < tile_.count; ++r) {
      for (const Index entry : aside) {
        const std::byte* value = call_.cache->at(call_.layer, PagedKvCache::kValue, layout_.slot(entry), kv_head_);
        if (entry < prefix(r)) add(r, entry, as_float(value));
      }
      for (Index k = 0; k < path(r); ++k) add(r, prefix_ + k, as_float(of_path(PagedKvCache::kValue, r, k)));
    }
  }

  // A weight of 0 hides no value that is infinite or NaN from the rows before it: those are added one by one.
  std::vector<Index> set_aside() {
    Index shortest = prefix_;
    for (Index r = 0; r < tile_.count; ++r) shortest = std::min(shortest, prefix(r));
    std::vector<Index> out;
    for (Index entry = shortest; entry < prefix_; ++entry) {
      const std::byte*& value = memory_.values[static_cast<std::size_t>(entry)];
      const float* values = as_float(value);
      if (std::all_of(values, values + width_, [](float v) { return std::isfinite(v); })) continue;
      memory_.zeros.assign(static_cast<std::size_t>(width_) * size_bytes(type()), std::byte{});
      value = memory_.zeros.data();
      out.push_back(entry);
    }
    return out;
  }

  void add(Index r, Index at, const float* value) {
    for (Index h = 0; h < heads_; ++h) {
      const float weight = column(r, h)[at * padded_];
      for (Index i = 0; i < width_; ++i) sums_[i * padded_ + r * heads_ + h] += weight * value[i];
    }
  }

  void finish(Index r, Index h, float total) {
    for (Index i = 0; i < width_; ++i) context(r, h)[i] = sums_[i * padded_ + r * heads_ + h] / total;
    if (call_.probs == nullptr) return;
    const float* scores = column(r, h);
    for (Index entry = 0; entry < prefix(r); ++entry) probs(r, h)[entry] = scores[entry * padded_] / total;
    for (Index k = 0; k < path(r); ++k) probs(r, h)[path_entry(r, k)] = scores[(prefix_ + k) * padded_] / total;
  }

  Index padded_ = 0;
  float *scores_ = nullptr, *sums_ = nullptr;
};

// Few queries, as in decoding: row by row, scores are [heads, entries].
class Attention::RowByRow : public Piece {
 public:
  using Piece::Piece;

  void run() {
    scratch_ = memory_.scratch.floats(scratch_values(width_));
    for (Index r = 0; r < tile_.count; ++r) run(r);
  }

 private:
  void run(Index r) {
    const Index seen = prefix(r), visible = seen + path(r);
    float* queries = memory_.queries.floats(heads_ * width_);
    float* scores = memory_.scores.floats(heads_ * visible);
    float* sums = memory_.sums.floats(heads_ * width_);
    for (Index h = 0; h < heads_; ++h) std::copy_n(query(r, h), width_, queries + h * width_);
    StoredRows keys = prefixes(memory_.keys), values = prefixes(memory_.values);
    keys.count = values.count = seen;
    score_rows(keys, queries, heads_, call_.scale, scores, visible);
    for (Index k = 0; k < path(r); ++k) {
      const float* key = key_of_path(r, k);
      for (Index h = 0; h < heads_; ++h)
        scores[h * visible + seen + k] = call_.scale * dot(queries + h * width_, key, width_);
    }
    float* totals = memory_.totals.floats(heads_);
    for (Index h = 0; h < heads_; ++h) totals[h] = exponentials(scores + h * visible, visible);
    std::fill_n(sums, heads_ * width_, 0.0F);
    add_values_rows(values, scores, heads_, visible, sums);
    for (Index k = 0; k < path(r); ++k) {
      const float* value = as_float(of_path(PagedKvCache::kValue, r, k));
      for (Index h = 0; h < heads_; ++h) {
        for (Index i = 0; i < width_; ++i) sums[h * width_ + i] += scores[h * visible + seen + k] * value[i];
      }
    }
    for (Index h = 0; h < heads_; ++h) finish(r, h, sums + h * width_, scores + h * visible, totals[h]);
  }

  void finish(Index r, Index h, const float* sums, const float* scores, float total) {
    for (Index i = 0; i < width_; ++i) context(r, h)[i] = sums[i] / total;
    if (call_.probs == nullptr) return;
    for (Index entry = 0; entry < prefix(r); ++entry) probs(r, h)[entry] = scores[entry] / total;
    for (Index k = 0; k < path(r); ++k) probs(r, h)[path_entry(r, k)] = scores[prefix(r) + k] / total;
  }
};

void Attention::set_plan(const paging::ForwardPlan& plan) {
  plan_ = &plan;
  longest_ = 0;
  for (const paging::PlannedSequence& sequence : plan.sequences) longest_ = std::max(longest_, sequence.total);
  tile_rows_ = 0;
}

// Tiles of about kTileQueries queries.
void Attention::set_tiles(Index heads) {
  const Index most = std::max(kLeastRows, kTileQueries / heads);
  if (tile_rows_ == most) return;
  tile_rows_ = most;
  tiles_.clear();
  const std::vector<paging::PlannedRow>& rows = plan_->rows;
  for (Index row = 0; row < static_cast<Index>(rows.size()); ++row) {
    const Index sequence = rows[static_cast<std::size_t>(row)].sequence;
    const bool fits = !tiles_.empty() && tiles_.back().count < most &&
                      rows[static_cast<std::size_t>(tiles_.back().first_row)].sequence == sequence;
    if (!fits) tiles_.push_back({row, 0});
    ++tiles_.back().count;
  }
}

void Attention::run(const Heads& q, const PagedKvCache& cache, Index layer, float scale, float* context,
                    const Taps& taps) {
  Call call{.q = &q, .cache = &cache, .layer = layer, .scale = scale, .context = context};
  const bool keep_probs = taps.wants(Tap::probs);
  if (keep_probs) {
    const Index count = q.count * q.rows * longest_;
    call.probs = probs_.floats(count);
    call.probs_stride = longest_;
    std::fill_n(call.probs, count, 0.0F);
  }
  const Index kv_heads = cache.shape().heads, group = q.count / kv_heads;
  const Index parts = (group + kTileHeads - 1) / kTileHeads, parts_in_all = parts * kv_heads;
  set_tiles(std::min(group, kTileHeads));
  const int team = worthwhile(2 * q.rows * q.count * longest_ * q.width, threads_);
  parallel_for(static_cast<Index>(tiles_.size()) * parts_in_all, team, [&](Index item, int thread) {
    const Index kv_head = item % parts_in_all / parts, first = item % parts * kTileHeads;
    const Index heads = std::min(kTileHeads, group - first);
    const Tile& tile = tiles_[static_cast<std::size_t>(item / parts_in_all)];
    Thread& memory = per_thread_[static_cast<std::size_t>(thread)];
    if (tile.count * heads > kFewQueries) {
      SideBySide(call, *plan_, tile, kv_head * group + first, heads, kv_head, memory).run();
    } else {
      RowByRow(call, *plan_, tile, kv_head * group + first, heads, kv_head, memory).run();
    }
  });
  if (keep_probs) taps.give(Tap::probs, {q.count, q.rows, longest_}, call.probs);
}

}  // namespace mlbench::cpu
