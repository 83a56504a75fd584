// Attention as the kernels are asked for it: a paged cache whose pages are scattered and hold no numbers wherever no
// entry stands, rows of several sequences, and the same in float64 with bounds.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "reference/ops.h"
#include "tests/backends/gpu/kernel_test.h"

namespace mlbench::gpu::test {

struct HeadShape {
  DType type = DType::f32;
  Index heads = 4, kv_heads = 2, width = 24;
  Index page_size = 5;
};
// Entries from `sink` on stand `gap` places further.
struct SequenceShape {
  int entries = 1, sink = 0, gap = 0;
};
// What a row sees: entries [0, prefix), then those of the path.
struct RowShape {
  int sequence = 0, prefix = 1;
  std::vector<int> path;
};

// `count` rows at the end of a sequence, each of which sees itself and what stands before it.
inline std::vector<RowShape> causal_rows(int sequence, int before, int count) {
  std::vector<RowShape> out;
  for (int r = 0; r < count; ++r) out.push_back({sequence, before + r + 1, {}});
  return out;
}

class AttentionCase {
 public:
  enum Kind { kKey = 0, kValue = 1 };

  AttentionCase(const HeadShape& shape, std::vector<SequenceShape> sequences, std::vector<RowShape> rows)
      : shape_(shape), sequences_(std::move(sequences)), rows_(std::move(rows)) {
    make_pages();
    make_rows();
    cache_.assign(
        static_cast<std::size_t>(kLayers * 2 * num_pages_ * shape_.kv_heads * shape_.page_size * shape_.width),
        std::numeric_limits<double>::quiet_NaN());
    for (std::size_t s = 0; s < sequences_.size(); ++s) {
      for (int e = 0; e < sequences_[s].entries; ++e) fill(static_cast<int>(s), e);
    }
    queries_ = some_values(num_rows() * shape_.heads * shape_.width, 1, 4.0);
  }

  void set(Kind kind, int sequence, int entry, Index head, Index i, double value) {
    cache_[at(kind, sequence, entry, head) + static_cast<std::size_t>(i)] = value;
  }
  void set_queries(double value) { std::fill(queries_.begin(), queries_.end(), value); }
  void scale_queries(double factor) {
    for (double& q : queries_) q *= factor;
  }

  // What a kernel gave: float32, rounded, and probabilities, whose untouched elements are kUntouched.
  struct Result {
    std::vector<double> context, stored, probs;
  };
  static constexpr double kUntouched = -7.0;

  // launch(AttentionCall)
  template <class Launch>
  [[nodiscard]] Result run(const Launch& launch) const {
    Buffer cache(shape_.type, cache_), q = floats(queries_);
    Buffer context(DType::f32, q.size()), stored(shape_.type, q.size());
    Buffer probs =
        floats(std::vector<double>(static_cast<std::size_t>(shape_.heads * num_rows() * stride()), kUntouched));
    AttentionCall call;
    call.q = q.floats();
    call.rows = num_rows();
    call.heads = shape_.heads;
    call.cache = {shape_.type, cache.data(), kLayers, num_pages_, shape_.kv_heads, shape_.page_size, shape_.width};
    call.layer = kLayer;
    call.scale = scale();
    call.visible = visible();
    call.context = context.floats();
    call.context_stored = stored.data();
    call.probs = probs.floats();
    call.probs_stride = stride();
    launch(call);
    EXPECT_TRUE(context.guarded() && stored.guarded() && probs.guarded());
    return {context.values(), stored.values(), probs.values()};
  }

  // Compares all three with float64. `narrow`: queries and weights are rounded to the cache's type first.
  void expect_softmax(const Result& result, bool narrow) const {
    std::vector<Bounded> context, stored, probs(result.probs.size(), {kUntouched, 0.0});
    for (Index r = 0; r < num_rows(); ++r) {
      for (Index h = 0; h < shape_.heads; ++h) {
        const std::vector<int> entries = seen(r);
        const Weights weights = weights_of(r, h, entries, narrow);
        const Bounds bounds(*this, narrow);
        for (std::size_t j = 0; j < entries.size(); ++j) {
          const auto place = static_cast<std::size_t>((h * num_rows() + r) * stride() + entries[j]);
          probs[place] = {weights.p[j], weights.p[j] * weights.relative + 0x1p-126};
        }
        for (Index i = 0; i < shape_.width; ++i) {
          context.push_back(weighted_sum(r, h, i, entries, weights, bounds));
          const auto& [value, limit] = context.back();
          stored.push_back({value, stored_limit(shape_.type, value, limit)});
        }
      }
    }
    expect_within(result.context, context);
    expect_within(result.stored, stored);
    expect_within(result.probs, probs);
  }

  [[nodiscard]] Index num_rows() const { return static_cast<Index>(rows_.size()); }
  // Of a row's context.
  [[nodiscard]] std::size_t place(Index row, Index head, Index i) const {
    return static_cast<std::size_t>((row * shape_.heads + head) * shape_.width + i);
  }
  // A value as the cache stores it.
  [[nodiscard]] double value(int sequence, int entry, Index head, Index i) const {
    return cache_[at(kValue, sequence, entry, head) + static_cast<std::size_t>(i)];
  }

 private:
  static constexpr Index kLayers = 2, kLayer = 1;
  static constexpr std::int32_t kNoPage = 1 << 30;

  // How a case is rounded: u of the sums, and of what enters products where that is coarser; what is lost below the
  // normal range there.
  struct Bounds {
    Bounds(const AttentionCase& of, bool narrow) {
      if (!narrow) return;
      input = of.shape_.type == DType::bf16 ? 0x1p-8 : 0x1p-11;
      below = of.shape_.type == DType::bf16 ? 0x1p-134 : 0x1p-25;
    }
    double input = 0.0, below = 0.0;
  };
  struct Weights {
    std::vector<double> p;
    double relative = 0.0;  // how far each may be off
  };

  [[nodiscard]] Index stride() const {
    int longest = 0;
    for (const SequenceShape& s : sequences_) longest = std::max(longest, s.entries);
    return longest + 3;
  }
  [[nodiscard]] float scale() const { return 1.0F / std::sqrt(static_cast<float>(shape_.width)); }
  [[nodiscard]] VisibleRows visible() const {
    return {sequence_.data(), prefix_.data(), path_begin_.data(), path_.data(),
            pages_.data(),    max_pages_,     sink_.data(),       gap_.data()};
  }
  [[nodiscard]] std::vector<int> seen(Index r) const {
    const RowShape& row = rows_[static_cast<std::size_t>(r)];
    std::vector<int> out;
    for (int e = 0; e < row.prefix; ++e) out.push_back(e);
    out.insert(out.end(), row.path.begin(), row.path.end());
    return out;
  }

  // Every page but some belongs to some sequence, in no order; the tables' ends are no pages.
  void make_pages() {
    std::vector<Index> counts;
    Index all = 0;
    for (const SequenceShape& s : sequences_) {
      counts.push_back((s.entries + s.gap + shape_.page_size - 1) / shape_.page_size);
      all += counts.back();
      max_pages_ = std::max(max_pages_, counts.back() + 1);
      sink_.push_back(s.sink);
      gap_.push_back(s.gap);
    }
    num_pages_ = all + 3;
    std::vector<std::int32_t> free;
    for (Index i = 0; i < num_pages_; ++i) free.push_back(static_cast<std::int32_t>(i));
    std::sort(free.begin(), free.end(), [](std::int32_t a, std::int32_t b) {
      return scattered(5, static_cast<std::uint64_t>(a)) < scattered(5, static_cast<std::uint64_t>(b));
    });
    pages_.assign(static_cast<std::size_t>(max_pages_) * sequences_.size(), kNoPage);
    std::size_t next = 0;
    for (std::size_t s = 0; s < counts.size(); ++s) {
      for (Index i = 0; i < counts[s]; ++i) {
        pages_[s * static_cast<std::size_t>(max_pages_) + static_cast<std::size_t>(i)] = free[next++];
      }
    }
  }

  void make_rows() {
    path_begin_.push_back(0);
    for (const RowShape& row : rows_) {
      sequence_.push_back(row.sequence);
      prefix_.push_back(row.prefix);
      path_.insert(path_.end(), row.path.begin(), row.path.end());
      path_begin_.push_back(static_cast<std::int32_t>(path_.size()));
    }
  }

  // Multiples of 1/128 from -1 to 1, exact in every type.
  void fill(int sequence, int entry) {
    for (Index head = 0; head < shape_.kv_heads; ++head) {
      for (const Kind kind : {kKey, kValue}) {
        for (Index i = 0; i < shape_.width; ++i) {
          const Index n = ((entry * shape_.kv_heads + head) * 2 + kind) * shape_.width + i;
          const std::uint64_t bits = scattered(static_cast<std::uint64_t>(sequence) + 2, static_cast<std::uint64_t>(n));
          set(kind, sequence, entry, head, i, static_cast<double>(bits % 256U) / 128.0 - 1.0);
        }
      }
    }
  }

  [[nodiscard]] std::size_t at(Kind kind, int sequence, int entry, Index head) const {
    const SequenceShape& s = sequences_[static_cast<std::size_t>(sequence)];
    const Index place = entry < s.sink ? entry : entry + s.gap;
    const Index page = pages_[static_cast<std::size_t>(sequence * max_pages_ + place / shape_.page_size)];
    const Index slot = page * shape_.page_size + place % shape_.page_size;
    const CacheView cache{shape_.type, nullptr, kLayers, num_pages_, shape_.kv_heads, shape_.page_size, shape_.width};
    return static_cast<std::size_t>(cache.offset(kLayer, kind, slot, head));
  }

  // A score errs by width roundings of its terms' magnitudes, by those of queries, and by 2 of its own; a weight
  // relatively by twice what a score does, once for itself and once for the normaliser; twice by the difference that is
  // raised; by 8 u for exponential, division and joining, both times; and by a rounding for each weight in the sum,
  // more than rescaling takes, of 16 entries or more at a time.
  [[nodiscard]] Weights weights_of(Index r, Index h, const std::vector<int>& entries, bool narrow) const {
    const Bounds bounds(*this, narrow);
    const int sequence = rows_[static_cast<std::size_t>(r)].sequence;
    const double alpha{scale()};
    const auto d = static_cast<double>(shape_.width);
    Weights out;
    double error = 0.0, largest = -std::numeric_limits<double>::infinity(), smallest = -largest;
    for (const int entry : entries) {
      const std::size_t key = at(kKey, sequence, entry, h / (shape_.heads / shape_.kv_heads));
      double score = 0.0, magnitude = 0.0, below = 0.0;
      for (std::size_t i = 0; i < static_cast<std::size_t>(shape_.width); ++i) {
        const double term = alpha * queries_[place(r, h, 0) + i] * cache_[key + i];
        score += term;
        magnitude += std::fabs(term);
        below += alpha * bounds.below * std::fabs(cache_[key + i]);
      }
      error = std::max(error, (d * kUnit + bounds.input) * magnitude + below + 2.0 * kUnit * std::fabs(score));
      largest = std::max(largest, score);
      smallest = std::min(smallest, score);
      out.p.push_back(score);
    }
    ref::softmax(out.p);
    out.relative =
        std::expm1(2.0 * error) + kUnit * (4.0 * (largest - smallest) + 16.0 + static_cast<double>(entries.size()));
    return out;
  }

  // With it a sum of all values, each with a rounded weight, and its division.
  [[nodiscard]] Bounded weighted_sum(Index r, Index h, Index i, const std::vector<int>& entries, const Weights& weights,
                                     const Bounds& bounds) const {
    const int sequence = rows_[static_cast<std::size_t>(r)].sequence;
    const double of_sum = weights.relative + bounds.input + kUnit * (static_cast<double>(entries.size()) + 1.0);
    Bounded out;
    for (std::size_t j = 0; j < entries.size(); ++j) {
      const double v = value(sequence, entries[j], h / (shape_.heads / shape_.kv_heads), i);
      out.value += weights.p[j] * v;
      out.limit += (weights.p[j] * of_sum + bounds.below) * std::fabs(v);
    }
    return out;
  }

  HeadShape shape_;
  std::vector<SequenceShape> sequences_;
  std::vector<RowShape> rows_;
  Index max_pages_ = 0, num_pages_ = 0;
  std::vector<std::int32_t> pages_, sink_, gap_, sequence_, prefix_, path_begin_, path_;
  std::vector<double> cache_, queries_;
};

}  // namespace mlbench::gpu::test
