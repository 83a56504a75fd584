// Attention over the paged cache: of prompts, and of one row for each of several sequences.
#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "backends/cpu/attention.h"
#include "bench/cpu_filled_cache.h"
#include "bench/cpu_operators.h"

namespace mlbench::cpu::bench {
namespace {

// Attention of a call's rows, each time in the next layer.
class AttentionOfCall final : public Operator {
 public:
  AttentionOfCall(std::shared_ptr<const FilledCache> filled, Index heads, int threads)
      : filled_(std::move(filled)),
        attention_(threads),
        heads_(heads),
        width_(cache().shape().width),
        rows_(filled_->call().sequences * filled_->call().rows),
        queries_(random_floats(6, rows_ * heads_ * width_)),
        context_(queries_.size()) {
    for (float& value : queries_) value *= 4.0F;  // so that scores differ by a few units
    attention_.set_plan(cache().plan());
  }

  // A row multiplies the keys that it sees, and their values. Those that several rows see count once.
  [[nodiscard]] Work work() const override {
    double seen = 0.0;
    for (const paging::PlannedRow& row : cache().plan().rows) seen += static_cast<double>(row.prefix);
    KvShape one_layer = cache().shape();
    one_layer.layers = 1;
    const Call& call = filled_->call();
    return {.bytes = bytes_of(one_layer, call.sequences * call.context) +
                     2.0 * static_cast<double>(queries_.size()) * sizeof(float),
            .flops = 4.0 * seen * static_cast<double>(heads_ * width_)};
  }

  void run() override {
    layer_ = (layer_ + 1) % cache().shape().layers;
    const Heads q{.data = queries_.data(),
                  .rows = rows_,
                  .count = heads_,
                  .width = width_,
                  .row_stride = heads_ * width_,
                  .head_stride = width_};
    attention_.run(q, cache(), layer_, scale(), context_.data(), Taps(nullptr));
  }

  void compare(Comparison& comparison) const override {
    for (const Index row : {Index{0}, rows_ - 1}) {
      for (const Index head : {Index{0}, heads_ - 1}) compare(row, head, comparison);
    }
  }

 private:
  [[nodiscard]] const PagedKvCache& cache() const { return filled_->cache(); }
  [[nodiscard]] float scale() const { return 1.0F / std::sqrt(static_cast<float>(width_)); }
  [[nodiscard]] std::size_t at(Index row, Index head) const {
    return static_cast<std::size_t>((row * heads_ + head) * width_);
  }

  // What a row's head makes of all that it sees. A score errs by a sum of d products and the scale; a weight of the
  // softmax relatively by twice the most of those, by the rounding of the difference that is raised, and by a sum of
  // all weights; with it the sum of all values: of n terms, n roundings each. exp and the division: a few.
  void compare(Index row, Index head, Comparison& comparison) const {
    const paging::PlannedRow& planned = cache().plan().rows[static_cast<std::size_t>(row)];
    const paging::Layout& layout = cache().plan().sequences[static_cast<std::size_t>(planned.sequence)].layout;
    const Index kv_head = head / (heads_ / cache().shape().heads);
    const auto value = [&](PagedKvCache::Kind kind, Index entry, Index i) {
      return stored_at(cache().shape().dtype, cache().at(layer_, kind, layout.slot(entry), kv_head), i);
    };
    std::vector<double> scores;
    double error = 0.0, largest = -HUGE_VAL, largest_magnitude = 0.0;
    for (Index entry = 0; entry < planned.prefix; ++entry) {
      double score = 0.0, magnitude = 0.0;
      for (Index i = 0; i < width_; ++i) {
        const double term = double{scale()} * double{queries_[at(row, head) + static_cast<std::size_t>(i)]} *
                            value(PagedKvCache::kKey, entry, i);
        score += term;
        magnitude += std::fabs(term);
      }
      scores.push_back(score);
      error = std::max(error, static_cast<double>(width_ + 2) * kU * magnitude);
      largest = std::max(largest, score);
      largest_magnitude = std::max(largest_magnitude, std::fabs(score));
    }
    double total = 0.0;
    for (double& score : scores) total += score = std::exp(score - largest);
    const double relative =
        2.0 * error + (2.0 * largest_magnitude + 2.0 * static_cast<double>(planned.prefix) + 16.0) * kU;
    for (const Index i : {Index{0}, width_ - 1}) {
      double sum = 0.0, magnitude = 0.0;
      for (Index entry = 0; entry < planned.prefix; ++entry) {
        const double term = scores[static_cast<std::size_t>(entry)] / total * value(PagedKvCache::kValue, entry, i);
        sum += term;
        magnitude += std::fabs(term);
      }
      comparison.see(fmt::format("row {}, head {}, value {}", row, head, i),
                     double{context_[at(row, head) + static_cast<std::size_t>(i)]}, sum, relative * magnitude);
    }
  }

  std::shared_ptr<const FilledCache> filled_;
  Attention attention_;
  Index heads_, width_, rows_;
  std::vector<float> queries_, context_;  // [T, Hq, d]
  Index layer_ = 0;
};

void add_call(Suite& suite, const NamedModel& model, DType dtype, const std::string& phase, const Call& call) {
  const std::string key =
      fmt::format("attention/{}/{}/{}/context:{}", model.name, mlbench::name(dtype), phase, call.context);
  const ModelConfig& config = model.config;
  for (const int threads : suite.threads()) {
    suite.add(key, threads, [=, &suite, &config] {
      const auto filled = suite.shared<FilledCache>(key, [&] {
        return std::make_unique<FilledCache>(shape_beyond_caches(config, dtype, call.sequences * call.context), call);
      });
      return std::make_unique<AttentionOfCall>(filled, config.num_heads, threads);
    });
  }
}

}  // namespace

// Prompts in one call, or the last part of one that comes in parts.
void add_attention(Suite& suite) {
  for (const NamedModel& model : suite.models()) {
    for (const DType dtype : kStored) {
      for (const auto& [rows, context] : {std::pair<Index, Index>{128, 128}, {1024, 1024}, {512, 4096}}) {
        add_call(suite, model, dtype, fmt::format("prefill/rows:{}", rows), {1, rows, context});
      }
      for (const Index batch : {1, 8}) {
        for (const Index context : {128, 1024, 4096}) {
          add_call(suite, model, dtype, fmt::format("decode/batch:{}", batch), {batch, 1, context});
        }
      }
    }
  }
}

}  // namespace mlbench::cpu::bench
