#include "backends/cpu/attention.h"

#include <algorithm>

#include "backends/cpu/convert.h"
#include "backends/cpu/ops.h"
#include "backends/cpu/threads.h"

namespace mlbench::cpu {
namespace {

constexpr Index kTileRows = 16;  // rows and heads that read a key together: as many queries as their product
constexpr Index kTileHeads = 8;
// Values are summed in runs of this length, and the runs' sums then: chains of roundings stay short.
constexpr Index kRun = 64;

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

// The queries of one tile and of up to kTileHeads heads that share a key-value head.
template <DType type>
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
        width_(call.q->width) {
    for (Index r = 0; r < tile_.count; ++r) {
      prefix_ = std::max(prefix_, rows_[r].prefix);
      visible_ = std::max(visible_, visible(r));
    }
    scores_ = memory.scores.floats(tile_.count * heads_ * visible_);
    run_sums_ = memory.sums.floats(tile_.count * heads_ * width_);
    widened_ = memory.row.floats(width_);
  }

  void run() {
    score();
    for (Index r = 0; r < tile_.count; ++r) {
      for (Index h = 0; h < heads_; ++h) softmax(scores(r, h), visible(r));
    }
    sum_values();
    if (call_.probs != nullptr) {
      for (Index r = 0; r < tile_.count; ++r) keep_probs(r);
    }
  }

 private:
  // Scores of a row: of its prefix, then of its path.
  [[nodiscard]] float* scores(Index r, Index h) const { return scores_ + (r * heads_ + h) * visible_; }
  [[nodiscard]] Index visible(Index r) const { return rows_[r].prefix + static_cast<Index>(rows_[r].path.size()); }
  [[nodiscard]] float* context(Index r, Index h) const {
    return call_.context + ((tile_.first_row + r) * call_.q->count + first_head_ + h) * width_;
  }
  [[nodiscard]] const float* load(PagedKvCache::Kind kind, Index entry) const {
    return as_floats<type>(call_.cache->at(call_.layer, kind, layout_.slot(entry), kv_head_), widened_, width_);
  }

  void score(Index r, Index j, const float* key) {
    for (Index h = 0; h < heads_; ++h) {
      scores(r, h)[j] = call_.scale * dot(call_.q->at(tile_.first_row + r, first_head_ + h), key, width_);
    }
  }

  void score() {
    for (Index entry = 0; entry < prefix_; ++entry) {
      const float* key = load(PagedKvCache::kKey, entry);
      for (Index r = 0; r < tile_.count; ++r) {
        if (entry < rows_[r].prefix) score(r, entry, key);
      }
    }
    for (Index r = 0; r < tile_.count; ++r) {
      Index j = rows_[r].prefix;
      for (const Index entry : rows_[r].path) score(r, j++, load(PagedKvCache::kKey, entry));
    }
  }

  void add_value(Index r, Index j, const float* value) {
    for (Index h = 0; h < heads_; ++h) {
      const float p = scores(r, h)[j];
      float* out = run_sums_ + (r * heads_ + h) * width_;
      for (Index i = 0; i < width_; ++i) out[i] += p * value[i];
    }
  }

  void end_run() {
    for (Index r = 0; r < tile_.count; ++r) {
      for (Index h = 0; h < heads_; ++h) {
        float* run = run_sums_ + (r * heads_ + h) * width_;
        float* out = context(r, h);
        for (Index i = 0; i < width_; ++i) out[i] += run[i];
        std::fill_n(run, width_, 0.0F);
      }
    }
  }

  void sum_values() {
    std::fill_n(run_sums_, tile_.count * heads_ * width_, 0.0F);
    for (Index r = 0; r < tile_.count; ++r) std::fill_n(context(r, 0), heads_ * width_, 0.0F);
    for (Index entry = 0; entry < prefix_; ++entry) {
      const float* value = load(PagedKvCache::kValue, entry);
      for (Index r = 0; r < tile_.count; ++r) {
        if (entry < rows_[r].prefix) add_value(r, entry, value);
      }
      if ((entry + 1) % kRun == 0) end_run();
    }
    end_run();
    for (Index r = 0; r < tile_.count; ++r) {
      Index j = rows_[r].prefix;
      for (const Index entry : rows_[r].path) add_value(r, j++, load(PagedKvCache::kValue, entry));
    }
    end_run();
  }

  void keep_probs(Index r) {
    const Index rows = call_.q->rows;
    const Index longest = call_.probs_stride;
    for (Index h = 0; h < heads_; ++h) {
      float* out = call_.probs + ((first_head_ + h) * rows + tile_.first_row + r) * longest;
      const float* p = scores(r, h);
      std::copy_n(p, rows_[r].prefix, out);
      Index j = rows_[r].prefix;
      for (const Index entry : rows_[r].path) out[entry] = p[j++];
    }
  }

  const Call& call_;
  const paging::PlannedRow* rows_;
  const paging::Layout& layout_;
  const Tile& tile_;
  Index first_head_, heads_, kv_head_, width_;
  Index prefix_ = 0;           // the longest of any row
  Index visible_ = 0;          // the most that any row sees
  float* scores_ = nullptr;    // [rows, heads, visible]
  float* run_sums_ = nullptr;  // [rows, heads, d]
  float* widened_ = nullptr;   // [d]
};

void Attention::set_plan(const paging::ForwardPlan& plan) {
  plan_ = &plan;
  longest_ = 0;
  for (const paging::PlannedSequence& sequence : plan.sequences) longest_ = std::max(longest_, sequence.total);
  tiles_.clear();
  for (Index row = 0; row < static_cast<Index>(plan.rows.size()); ++row) {
    const Index sequence = plan.rows[static_cast<std::size_t>(row)].sequence;
    const bool fits = !tiles_.empty() && tiles_.back().count < kTileRows &&
                      plan.rows[static_cast<std::size_t>(tiles_.back().first_row)].sequence == sequence;
    if (!fits) tiles_.push_back({row, 0});
    ++tiles_.back().count;
  }
}

template <DType type>
void Attention::run_as(const Call& call) {
  const Index heads = call.q->count;
  const Index group = heads / call.cache->shape().heads;
  const Index parts = (group + kTileHeads - 1) / kTileHeads;  // of a group
  const Index parts_in_all = parts * call.cache->shape().heads;
  const Index multiplications = 2 * call.q->rows * heads * longest_ * call.q->width;
  const int team = worthwhile(multiplications, threads_);
  parallel_for(static_cast<Index>(tiles_.size()) * parts_in_all, team, [&](Index item, int thread) {
    const Index kv_head = item % parts_in_all / parts;
    const Index first = item % parts * kTileHeads;
    Piece<type>(call, *plan_, tiles_[static_cast<std::size_t>(item / parts_in_all)], kv_head * group + first,
                std::min(kTileHeads, group - first), kv_head, per_thread_[static_cast<std::size_t>(thread)])
        .run();
  });
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
  switch (cache.shape().dtype) {
    case DType::bf16: run_as<DType::bf16>(call); break;
    case DType::f16: run_as<DType::f16>(call); break;
    default: run_as<DType::f32>(call); break;
  }
  if (keep_probs) taps.give(Tap::probs, {q.count, q.rows, longest_}, call.probs);
}

}  // namespace mlbench::cpu
