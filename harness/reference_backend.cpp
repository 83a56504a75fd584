#include "harness/reference_backend.h"

#include <algorithm>
#include <cassert>

#include <fmt/format.h>

#include "core/error.h"
#include "core/workers.h"
#include "models/tensor_inventory.h"
#include "reference/reference.h"

namespace mlbench::harness {
namespace {

using backends::DeviceInfo;
using backends::Method;
using backends::RunConfig;
using backends::Support;
using ref::Tensor;

void copy_out(const Tensor& values, const TensorView& out) {
  if (element_count(out.shape) != values.size()) {
    throw request_error("input.shape", fmt::format("a result of {} values was given room for {}", values.size(),
                                                   element_count(out.shape)));
  }
  narrow(out.dtype, values.values(), out.data);
}

class Cache final : public backends::KvCache {
 public:
  explicit Cache(ref::PagedKvCache cache) : cache_(std::move(cache)) {}
  [[nodiscard]] ref::PagedKvCache& own() { return cache_; }

  void add_sequence(SeqId id) override { cache_.add_sequence(id); }
  void remove_sequence(SeqId id) override { cache_.remove_sequence(id); }
  void fork_sequence(SeqId parent, SeqId child, Index pos) override { cache_.fork_sequence(parent, child, pos); }
  void popn(SeqId id, Index count) override { cache_.popn(id, count); }
  void enable_sliding_window_for_seq(SeqId id, Index window, Index sink) override {
    cache_.enable_sliding_window_for_seq(id, window, sink);
  }
  void begin_forward(std::span<const SeqId> ids, std::span<const Index> lengths,
                     const std::optional<std::vector<Index>>& tree_parents) override {
    cache_.begin_forward(ids, lengths, tree_parents);
  }
  void end_forward() override { cache_.end_forward(); }
  void commit_accepted_token_tree_nodes(std::span<const SeqId> ids, std::span<const Index> leaves) override {
    cache_.commit_accepted_token_tree_nodes(ids, leaves);
  }
  [[nodiscard]] std::vector<std::int32_t> get_query_positions() const override { return cache_.get_query_positions(); }
  void clear() override { cache_.clear(); }
  [[nodiscard]] bool empty() const override { return cache_.empty(); }
  [[nodiscard]] Index num_available_pages() const override { return cache_.num_available_pages(); }
  [[nodiscard]] Index total_sequence_length() const override { return cache_.total_sequence_length(); }
  [[nodiscard]] Index sequence_length(SeqId id) const override { return cache_.sequence_length(id); }

  void debug_get_kv(SeqId id, Index begin, Index end, const TensorView& keys, const TensorView& values) const override {
    const ref::PagedKvCache::Entries entries = cache_.debug_get_kv(id, begin, end);
    copy_out(entries.keys, keys);
    copy_out(entries.values, values);
  }
  void debug_set_kv(SeqId id, Index begin, const ConstTensorView& keys, const ConstTensorView& values) override {
    cache_.debug_set_kv(id, begin, {widened(keys), widened(values)});
  }

 private:
  ref::PagedKvCache cache_;
};

// Shows the reference's taps in float64, and what was planted in their place.
class Sink final : public ref::TapSink {
 public:
  Sink(backends::TapSink* to, const Plant& plant) : to_(to), plant_(plant) {}
  [[nodiscard]] bool wants(TapId id) const override { return plant_ || (to_ != nullptr && to_->wants(id)); }
  void take(TapId id, const Tensor& value) override {
    instead_ = plant_ ? plant_(id, value) : std::nullopt;
    const Tensor& shown = instead_ ? *instead_ : value;
    if (to_ == nullptr || !to_->wants(id)) return;
    to_->take(id, {DType::f64, shown.shape(), reinterpret_cast<const std::byte*>(shown.data())});
  }
  std::optional<Tensor> replacement(TapId) override { return std::move(instead_); }

 private:
  backends::TapSink* to_;
  const Plant& plant_;
  std::optional<Tensor> instead_;
};

class ReferenceSession final : public backends::Session {
 public:
  ReferenceSession(const Model& model, int threads, Plant plant)
      : workers_(threads > 0 ? threads : Workers::hardware()), reference_(model, workers_), plant_(std::move(plant)) {}

  [[nodiscard]] backends::Arithmetic arithmetic() const override {
    constexpr DType f64 = DType::f64;
    return {.weights = f64,
            .activations = f64,
            .kv_cache = f64,
            .logits = DType::f32,
            .product_inputs = f64,
            .attention_inputs = f64,
            .accumulation = f64,
            .f32_rope_angles = false};
  }
  [[nodiscard]] Support gives(Tap) const override { return {}; }
  [[nodiscard]] Support isolates_layers() const override { return {}; }
  [[nodiscard]] std::unique_ptr<backends::KvCache> create_paged_kv_cache(const KvLimits& limits) override {
    return std::make_unique<Cache>(reference_.create_paged_kv_cache(limits));
  }

  void embed(std::span<const std::int32_t> ids, const TensorView& out) override {
    copy_out(reference_.embed(ids), out);
  }
  void get_logits(const ConstTensorView& hidden, const TensorView& out) override {
    copy_out(reference_.get_logits(widened(hidden)), out);
  }
  void batch_select_last_hidden_states(const ConstTensorView& hidden, std::span<const std::int32_t> positions,
                                       const TensorView& out) override {
    copy_out(reference_.batch_select_last_hidden_states(widened(hidden), positions), out);
  }

  void forward(Method method, const ConstTensorView& x, std::span<const std::int32_t> logit_positions,
               backends::KvCache& cache, const TensorView& out, backends::TapSink* taps) override {
    Sink sink(taps, plant_);
    copy_out(call(method, widened(x), logit_positions, own(cache), &sink), out);
  }

  void run_part(const backends::Part& part, const ConstTensorView& x, backends::KvCache& cache, const TensorView& out,
                backends::TapSink* taps) override {
    Sink sink(taps, plant_);
    ref::ForwardPass pass = reference_.pass(own(cache));
    const Tensor rows = widened(x);
    switch (part.kind) {
      case backends::Part::Kind::enter: return copy_out(reference_.enter(rows, pass, &sink), out);
      case backends::Part::Kind::layer: return copy_out(reference_.layer(part.layer, rows, pass, &sink), out);
      case backends::Part::Kind::final_norm: return copy_out(reference_.final_norm(rows, &sink), out);
    }
  }

 private:
  static ref::PagedKvCache& own(backends::KvCache& cache) { return dynamic_cast<Cache&>(cache).own(); }

  Tensor call(Method method, const Tensor& x, std::span<const std::int32_t> positions, ref::PagedKvCache& cache,
              ref::TapSink* taps) {
    switch (method) {
      case Method::prefill: return reference_.prefill(x, cache, taps);
      case Method::decode: return reference_.decode(x, cache, taps);
      case Method::batch_prefill: return reference_.batch_prefill(x, positions, cache, taps);
      case Method::batch_decode: return reference_.batch_decode(x, cache, taps);
      case Method::batch_verify: return reference_.batch_verify(x, cache, taps);
      case Method::prefill_to_last_hidden_states: return reference_.prefill_to_last_hidden_states(x, cache, taps);
      case Method::decode_to_last_hidden_states: return reference_.decode_to_last_hidden_states(x, cache, taps);
      case Method::batch_prefill_to_last_hidden_states:
        return reference_.batch_prefill_to_last_hidden_states(x, cache, taps);
      case Method::batch_decode_to_last_hidden_states:
        return reference_.batch_decode_to_last_hidden_states(x, cache, taps);
      case Method::batch_verify_to_last_hidden_states:
        return reference_.batch_verify_to_last_hidden_states(x, cache, taps);
    }
    return {};
  }

  Workers workers_;
  ref::Reference reference_;
  Plant plant_;
};

class ReferenceBackend final : public backends::Backend {
 public:
  explicit ReferenceBackend(Plant plant) : plant_(std::move(plant)) {}

  [[nodiscard]] std::string_view name() const override { return "reference"; }
  [[nodiscard]] std::string version() const override { return "float64, OpenBLAS"; }
  [[nodiscard]] std::vector<DeviceInfo> devices() const override {
    return {{"cpu", fmt::format("{} threads", Workers::hardware()), 0}};
  }
  [[nodiscard]] Support supports(const ModelConfig&, const RunConfig& run) const override {
    if (run.dtype != DType::f64) {
      return Support::no(fmt::format("dtype {}: the reference computes in f64", mlbench::name(run.dtype)));
    }
    if (run.tensor_parallel != 1 || run.pipeline_parallel != 1)
      return Support::no("parallel sizes other than 1: the reference holds whole models");
    if (!run.device.empty() && run.device != "cpu")
      return Support::no(fmt::format("device {}: there is cpu", in_quotes(run.device)));
    return {};
  }
  [[nodiscard]] backends::MemoryEstimate memory(const ModelConfig& config, const RunConfig&,
                                                const KvLimits& limits) const override {
    const auto entries = static_cast<std::uint64_t>(limits.max_total_seq_len + limits.page_size);
    const auto rows = static_cast<std::uint64_t>(limits.prefill_chunk_size);
    const auto widest = static_cast<std::uint64_t>(
        std::max({config.hidden_size, config.intermediate_size, config.q_width() + 2 * config.kv_width()}));
    return {.weights_bytes = 0,
            .cache_bytes = entries * static_cast<std::uint64_t>(kv_values_per_token(config)) * sizeof(double),
            .scratch_bytes = rows * (8 * widest + static_cast<std::uint64_t>(config.vocab_size)) * sizeof(double)};
  }
  [[nodiscard]] std::unique_ptr<backends::Session> load(const Model& model, const RunConfig& run) override {
    return std::make_unique<ReferenceSession>(model, run.threads, plant_);
  }

 private:
  Plant plant_;
};

}  // namespace

std::unique_ptr<backends::Backend> make_reference_backend(Plant plant) {
  return std::make_unique<ReferenceBackend>(std::move(plant));
}

}  // namespace mlbench::harness
