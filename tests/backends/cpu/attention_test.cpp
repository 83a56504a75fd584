// Attention against the same in float64, for many and few queries, on every instruction set.
#include "backends/cpu/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "core/hash.h"
#include "tests/backends/cpu/every_target.h"

namespace mlbench::cpu {
namespace {

constexpr double kU = 0x1p-24;  // float32's unit roundoff
constexpr SeqId kSequence = 3;

// From -1 to 1, exact in every type.
float value_of(std::uint64_t stream, Index i) {
  return static_cast<float>(scattered(stream, static_cast<std::uint64_t>(i)) % 256U) / 128.0F - 1.0F;
}

struct Shape {
  Index rows = 1, context = 1;  // the rows are the last of the context
  Index heads = 4, kv_heads = 2, width = 24;
  DType type = DType::f32;
  Index page_size = 5;
};

// A cache that holds a context, its last rows announced, and queries for them.
class Case {
 public:
  explicit Case(const Shape& shape)
      : shape_(shape),
        cache_({.layers = 1, .heads = shape.kv_heads, .width = shape.width, .dtype = shape.type},
               {.max_batch_size = 1,
                .max_total_seq_len = shape.context + shape.page_size,
                .prefill_chunk_size = shape.context,
                .page_size = shape.page_size}) {
    cache_.add_sequence(kSequence);
    const SeqId ids[] = {kSequence};
    if (shape.context > shape.rows) {
      const Index before[] = {shape.context - shape.rows};
      cache_.begin_forward(ids, before, {});
      cache_.end_forward();
    }
    const Index now[] = {shape.rows};
    cache_.begin_forward(ids, now, {});
    for (Index entry = 0; entry < shape.context; ++entry) {
      for (Index head = 0; head < shape.kv_heads; ++head) {
        for (Index i = 0; i < shape.width; ++i) {
          set(PagedKvCache::kKey, entry, head, i, key(entry, head, i));
          set(PagedKvCache::kValue, entry, head, i, value(entry, head, i));
        }
      }
    }
    for (Index i = 0; i < shape.rows * shape.heads * shape.width; ++i) queries_.push_back(2.0F * value_of(1, i));
  }

  void set(PagedKvCache::Kind kind, Index entry, Index head, Index i, float value) {
    const Index slot = cache_.plan().sequences[0].layout.slot(entry);
    std::byte* at = cache_.at(0, kind, slot, head) + static_cast<std::size_t>(i) * size_bytes(shape_.type);
    const double wide[] = {double{value}};
    narrow(shape_.type, wide, at);
  }

  [[nodiscard]] std::vector<float> run(int threads = 1) {
    std::vector<float> context(queries_.size(), -1e9F);
    Attention attention(threads);
    attention.set_plan(cache_.plan());
    const Heads q{.data = queries_.data(),
                  .rows = shape_.rows,
                  .count = shape_.heads,
                  .width = shape_.width,
                  .row_stride = shape_.heads * shape_.width,
                  .head_stride = shape_.width};
    attention.run(q, cache_, 0, scale(), context.data(), Taps(nullptr));
    return context;
  }

  // Each weight errs relatively by twice the most that a score does (width + 2 roundings of the terms' magnitudes), by
  // the rounding of the difference that is raised, by exp's and by a sum of all weights; with it a sum of all values.
  void expect_close(const std::vector<float>& context) const {
    for (Index row = 0; row < shape_.rows; ++row) {
      for (Index head = 0; head < shape_.heads; ++head) expect_close(context, row, head);
    }
  }

 private:
  [[nodiscard]] float scale() const { return 1.0F / std::sqrt(static_cast<float>(shape_.width)); }
  [[nodiscard]] float key(Index entry, Index head, Index i) const {
    return value_of(2, (entry * shape_.kv_heads + head) * shape_.width + i);
  }
  [[nodiscard]] float value(Index entry, Index head, Index i) const {
    return value_of(3, (entry * shape_.kv_heads + head) * shape_.width + i);
  }
  [[nodiscard]] std::size_t at(Index row, Index head) const {
    return static_cast<std::size_t>((row * shape_.heads + head) * shape_.width);
  }

  void expect_close(const std::vector<float>& context, Index row, Index head) const {
    const Index visible = shape_.context - shape_.rows + row + 1, kv_head = head / (shape_.heads / shape_.kv_heads);
    std::vector<double> weights;
    double largest = -std::numeric_limits<double>::infinity(), magnitudes = 0.0, most = 0.0;
    for (Index entry = 0; entry < visible; ++entry) {
      double score = 0.0, magnitude = 0.0;
      for (Index i = 0; i < shape_.width; ++i) {
        const double term = double{scale()} * double{queries_[at(row, head) + static_cast<std::size_t>(i)]} *
                            double{key(entry, kv_head, i)};
        score += term;
        magnitude += std::fabs(term);
      }
      weights.push_back(score);
      largest = std::max(largest, score);
      magnitudes = std::max(magnitudes, magnitude);
      most = std::max(most, std::fabs(score));
    }
    double total = 0.0;
    for (double& w : weights) total += w = std::exp(w - largest);
    const auto n = static_cast<double>(visible), d = static_cast<double>(shape_.width);
    const double relative = kU * (2.0 * (d + 2.0) * magnitudes + 4.0 * most + 2.0 * n + 8.0);
    for (Index i = 0; i < shape_.width; ++i) {
      double sum = 0.0, magnitude = 0.0;
      for (Index entry = 0; entry < visible; ++entry) {
        const double term = weights[static_cast<std::size_t>(entry)] / total * double{value(entry, kv_head, i)};
        sum += term;
        magnitude += std::fabs(term);
      }
      ASSERT_NEAR(double{context[at(row, head) + static_cast<std::size_t>(i)]}, sum, relative * magnitude)
          << "row " << row << ", head " << head << ", value " << i;
    }
  }

  Shape shape_;
  PagedKvCache cache_;
  std::vector<float> queries_;
};

TEST(Attention, IsSoftmaxesForEveryNumberOfRows) {
  test::on_every_target([] {
    for (const DType type : {DType::f32, DType::bf16, DType::f16}) {
      for (const Index rows : {1, 2, 3, 5, 16, 17, 33, 70}) {
        for (const Index before : {0, 1, 70, 150}) {
          Case one({.rows = rows, .context = before + rows, .type = type});
          SCOPED_TRACE(testing::Message() << name(type) << ", " << rows << " rows behind " << before);
          one.expect_close(one.run());
        }
      }
    }
  });
}

TEST(Attention, IsSoftmaxesForEveryWidthAndGrouping) {
  test::on_every_target([] {
    for (const Index width : {1, 2, 3, 4, 7, 8, 15, 16, 17, 33, 64, 65, 80, 128}) {
      for (const auto& [heads, kv_heads] : {std::pair<Index, Index>{1, 1}, {3, 1}, {8, 1}, {11, 1}, {6, 3}, {16, 2}}) {
        for (const Index rows : {1, 9}) {
          Case one(
              {.rows = rows, .context = 40, .heads = heads, .kv_heads = kv_heads, .width = width, .type = DType::bf16});
          SCOPED_TRACE(testing::Message() << "width " << width << ", heads " << heads << " of " << kv_heads);
          one.expect_close(one.run());
        }
      }
    }
  });
}

TEST(Attention, HasTheSameBitsForEveryNumberOfThreads) {
  for (const Index rows : {1, 100}) {
    Case one({.rows = rows, .context = 700, .heads = 8, .kv_heads = 4, .width = 64});
    EXPECT_EQ(one.run(1), one.run(2));
  }
}

// A weight of 0 times infinity would be no number.
TEST(Attention, ValuesThatARowDoesNotSeeDoNotReachIt) {
  test::on_every_target([] {
    for (const float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
      Case clean({.rows = 20, .context = 50}), spoilt({.rows = 20, .context = 50});
      for (const auto kind : {PagedKvCache::kKey, PagedKvCache::kValue}) spoilt.set(kind, 45, 1, 3, bad);
      const std::vector<float> expected = clean.run(), got = spoilt.run();
      constexpr Index kRow = 4 * 24;  // 15 rows lie before entry 45
      EXPECT_TRUE(std::equal(expected.begin(), expected.begin() + 15 * kRow, got.begin()));
      const float reached = got[static_cast<std::size_t>(15 * kRow + 2 * 24 + 3)];  // head 2 reads key-value head 1
      EXPECT_FALSE(std::isfinite(reached));
    }
  });
}

}  // namespace
}  // namespace mlbench::cpu
