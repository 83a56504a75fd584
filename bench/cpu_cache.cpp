// What is copied into the paged cache and within it. The backend does all of that on one thread. A fork and a commit
// copy the same few pages again and again, which the caches may keep.
#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "backends/cpu/heads.h"
#include "bench/cpu_filled_cache.h"
#include "bench/cpu_operators.h"
#include "core/tensor_view.h"

namespace mlbench::cpu::bench {
namespace {

constexpr Index kContext = 1024;  // entries of the sequence that is forked or extended

// Keys and values of a call's rows into their slots of a layer; each time in the next layer.
class Append final : public Operator {
 public:
  Append(const KvShape& shape, Index rows)
      : filled_(shape, {.sequences = 1, .rows = rows, .context = rows}),
        keys_(random_floats(7, rows * shape.heads * shape.width)),
        values_(random_floats(8, rows * shape.heads * shape.width)) {}

  [[nodiscard]] Work work() const override {
    const auto values = static_cast<double>(keys_.size() + values_.size());
    return {.bytes = values * static_cast<double>(sizeof(float) + size_bytes(shape().dtype)), .flops = 0.0};
  }

  void run() override {
    layer_ = (layer_ + 1) % shape().layers;
    filled_.cache().append(layer_, heads(keys_), heads(values_));
  }

  void compare(Comparison& comparison) const override {
    const Index row = filled_.call().rows - 1, head = shape().heads - 1, i = shape().width - 1;
    const auto see = [&](PagedKvCache::Kind kind, const std::vector<float>& from) {
      const std::byte* stored = filled_.cache().at(layer_, kind, filled_.cache().slot(row), head);
      comparison.see("the last value", stored_at(shape().dtype, stored, i),
                     rounded_to(double{from.back()}, shape().dtype), 0.0);
    };
    see(PagedKvCache::kKey, keys_);
    see(PagedKvCache::kValue, values_);
  }

 private:
  [[nodiscard]] const KvShape& shape() const { return filled_.cache().shape(); }
  [[nodiscard]] Heads heads(std::vector<float>& data) const {
    return {.data = data.data(),
            .rows = filled_.call().rows,
            .count = shape().heads,
            .width = shape().width,
            .row_stride = shape().heads * shape().width,
            .head_stride = shape().width};
  }

  FilledCache filled_;
  std::vector<float> keys_, values_;  // [T, Hkv, d]
  Index layer_ = 0;
};

// Keys and values of one entry in all layers.
std::vector<double> entry_of(const PagedKvCache& cache, SeqId id, Index entry) {
  const KvShape& shape = cache.shape();
  HostTensor keys(shape.dtype, {shape.layers, 1, shape.heads, shape.width});
  HostTensor values = keys;
  cache.debug_get_kv(id, entry, entry + 1, keys.view(), values.view());
  const Tensor<double> wide_keys = keys.widened(), wide_values = values.widened();
  std::vector<double> out(wide_keys.values().begin(), wide_keys.values().end());
  out.insert(out.end(), wide_values.values().begin(), wide_values.values().end());
  return out;
}

void compare_entries(Comparison& comparison, const std::vector<double>& got, const std::vector<double>& expected) {
  for (std::size_t i = 0; i < got.size(); ++i) comparison.see("a copied entry", got[i], expected[i], 0.0);
}

// A fork one entry before the end of a page: all of its other entries are copied, in all layers. The child of the run
// before goes first.
class Fork final : public Operator {
 public:
  explicit Fork(const KvShape& shape) : filled_(shape, {.sequences = 1, .rows = 1, .context = kContext}) {
    cache().end_forward();
  }

  [[nodiscard]] Work work() const override {
    return {.bytes = 2.0 * bytes_of(cache().shape(), kEnd % kPageSize), .flops = 0.0};
  }
  void run() override {
    if (std::exchange(forked_, true)) cache().remove_sequence(kChild);
    cache().fork_sequence(0, kChild, kEnd);
  }
  void compare(Comparison& comparison) const override {
    compare_entries(comparison, entry_of(cache(), kChild, kEnd - 1), entry_of(cache(), 0, kEnd - 1));
  }

 private:
  static constexpr SeqId kChild = 1;
  static constexpr Index kEnd = kContext - 1;

  [[nodiscard]] PagedKvCache& cache() { return filled_.cache(); }
  [[nodiscard]] const PagedKvCache& cache() const { return filled_.cache(); }

  FilledCache filled_;
  bool forked_ = false;
};

// The commit of one of two drafts of so many tokens each, which stand in the cache in turns: the second one's entries
// move to where it begins, in all layers. The forward before it is not timed.
class Commit final : public Operator {
 public:
  explicit Commit(const KvShape& shape) : filled_(shape, {.sequences = 1, .rows = 1, .context = kContext}) {
    cache().end_forward();
    for (Index node = 0; node < 2 * kDraft; ++node) parents_.push_back(std::max(node - 2, Index{-1}));
  }

  [[nodiscard]] Work work() const override { return {.bytes = 2.0 * bytes_of(cache().shape(), kDraft), .flops = 0.0}; }
  [[nodiscard]] Index runs() const override { return 1; }
  void renew() override {
    if (std::exchange(committed_, false)) cache().popn(0, kDraft);
    const SeqId ids[] = {0};
    const Index lengths[] = {2 * kDraft};
    cache().begin_forward(ids, lengths, parents_);
    filled_.fill(cache().plan().sequences[0].layout, kContext, kContext + 2 * kDraft);
    cache().end_forward();
    last_ = entry_of(cache(), 0, kContext + 2 * kDraft - 1);
  }
  void run() override {
    const SeqId ids[] = {0};
    const Index leaves[] = {2 * kDraft - 1};
    cache().commit_accepted_token_tree_nodes(ids, leaves);
    committed_ = true;
  }
  void compare(Comparison& comparison) const override {
    compare_entries(comparison, entry_of(cache(), 0, kContext + kDraft - 1), last_);
  }

 private:
  static constexpr Index kDraft = 32;

  [[nodiscard]] PagedKvCache& cache() { return filled_.cache(); }
  [[nodiscard]] const PagedKvCache& cache() const { return filled_.cache(); }

  FilledCache filled_;
  std::vector<Index> parents_;
  std::vector<double> last_;  // the last entry of the draft that is committed
  bool committed_ = false;
};

}  // namespace

void add_cache(Suite& suite) {
  for (const NamedModel& model : suite.models()) {
    const ModelConfig& config = model.config;
    for (const DType dtype : kStored) {
      const auto named = [&](const char* what) {
        return fmt::format("cache.{}/{}/{}", what, model.name, mlbench::name(dtype));
      };
      for (const Index rows : kRows) {
        suite.add(fmt::format("{}/rows:{}", named("append"), rows), 0,
                  [=, &config] { return std::make_unique<Append>(shape_beyond_caches(config, dtype, rows), rows); });
      }
      suite.add(named("fork"), 0,
                [=, &config] { return std::make_unique<Fork>(kv_shape(config, dtype, config.num_layers)); });
      suite.add(named("commit"), 0,
                [=, &config] { return std::make_unique<Commit>(kv_shape(config, dtype, config.num_layers)); });
    }
  }
}

}  // namespace mlbench::cpu::bench
