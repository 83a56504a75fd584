// Backends for tests of the verification: an honest one with something of a test's own around its session or cache.
#pragma once

#include <functional>
#include <memory>

#include "backends/backend.h"

namespace mlbench::harness::test {

// Passes everything on.
class CacheAround : public backends::KvCache {
 public:
  explicit CacheAround(std::unique_ptr<backends::KvCache> inner) : inner_(std::move(inner)) {}
  [[nodiscard]] backends::KvCache& inner() { return *inner_; }
  [[nodiscard]] const backends::KvCache& inner() const { return *inner_; }

  void add_sequence(SeqId id) override { inner_->add_sequence(id); }
  void remove_sequence(SeqId id) override { inner_->remove_sequence(id); }
  void fork_sequence(SeqId parent, SeqId child, Index pos) override { inner_->fork_sequence(parent, child, pos); }
  void popn(SeqId id, Index count) override { inner_->popn(id, count); }
  void enable_sliding_window_for_seq(SeqId id, Index window, Index sink) override {
    inner_->enable_sliding_window_for_seq(id, window, sink);
  }
  void begin_forward(std::span<const SeqId> ids, std::span<const Index> lengths,
                     const std::optional<std::vector<Index>>& tree_parents) override {
    inner_->begin_forward(ids, lengths, tree_parents);
  }
  void end_forward() override { inner_->end_forward(); }
  void commit_accepted_token_tree_nodes(std::span<const SeqId> ids, std::span<const Index> leaves) override {
    inner_->commit_accepted_token_tree_nodes(ids, leaves);
  }
  [[nodiscard]] std::vector<std::int32_t> get_query_positions() const override { return inner_->get_query_positions(); }
  void clear() override { inner_->clear(); }
  [[nodiscard]] bool empty() const override { return inner_->empty(); }
  [[nodiscard]] Index num_available_pages() const override { return inner_->num_available_pages(); }
  [[nodiscard]] Index total_sequence_length() const override { return inner_->total_sequence_length(); }
  [[nodiscard]] Index sequence_length(SeqId id) const override { return inner_->sequence_length(id); }
  void debug_get_kv(SeqId id, Index begin, Index end, const TensorView& keys, const TensorView& values) const override {
    inner_->debug_get_kv(id, begin, end, keys, values);
  }
  void debug_set_kv(SeqId id, Index begin, const ConstTensorView& keys, const ConstTensorView& values) override {
    inner_->debug_set_kv(id, begin, keys, values);
  }

 private:
  std::unique_ptr<backends::KvCache> inner_;
};

// Passes everything on. Its caches may be caches around those of the inner session.
class SessionAround : public backends::Session {
 public:
  explicit SessionAround(std::unique_ptr<backends::Session> inner) : inner_(std::move(inner)) {}
  [[nodiscard]] backends::Session& inner() { return *inner_; }
  [[nodiscard]] static backends::KvCache& innermost(backends::KvCache& cache) {
    auto* const around = dynamic_cast<CacheAround*>(&cache);
    return around == nullptr ? cache : around->inner();
  }

  [[nodiscard]] backends::Arithmetic arithmetic() const override { return inner_->arithmetic(); }
  [[nodiscard]] backends::Support gives(Tap tap) const override { return inner_->gives(tap); }
  [[nodiscard]] backends::Support isolates_layers() const override { return inner_->isolates_layers(); }
  [[nodiscard]] std::unique_ptr<backends::KvCache> create_paged_kv_cache(const KvLimits& limits) override {
    return inner_->create_paged_kv_cache(limits);
  }
  void embed(std::span<const std::int32_t> ids, const TensorView& out) override { inner_->embed(ids, out); }
  void get_logits(const ConstTensorView& hidden, const TensorView& out) override { inner_->get_logits(hidden, out); }
  void batch_select_last_hidden_states(const ConstTensorView& hidden, std::span<const std::int32_t> positions,
                                       const TensorView& out) override {
    inner_->batch_select_last_hidden_states(hidden, positions, out);
  }
  void forward(backends::Method method, const ConstTensorView& x, std::span<const std::int32_t> positions,
               backends::KvCache& cache, const TensorView& out, backends::TapSink* taps) override {
    inner_->forward(method, x, positions, innermost(cache), out, taps);
  }
  void run_part(const backends::Part& part, const ConstTensorView& x, backends::KvCache& cache, const TensorView& out,
                backends::TapSink* taps) override {
    inner_->run_part(part, x, innermost(cache), out, taps);
  }

 private:
  std::unique_ptr<backends::Session> inner_;
};

// The CPU backend whose caches are what `make` puts around them.
class SessionWithCaches final : public SessionAround {
 public:
  using Make = std::function<std::unique_ptr<backends::KvCache>(std::unique_ptr<backends::KvCache>)>;
  SessionWithCaches(std::unique_ptr<backends::Session> inner, Make make)
      : SessionAround(std::move(inner)), make_(std::move(make)) {}
  [[nodiscard]] std::unique_ptr<backends::KvCache> create_paged_kv_cache(const KvLimits& limits) override {
    return make_(inner().create_paged_kv_cache(limits));
  }

 private:
  Make make_;
};

// The CPU backend, as it is or with sessions of one's own around its own.
using AroundSession = std::function<std::unique_ptr<backends::Session>(std::unique_ptr<backends::Session>)>;
[[nodiscard]] std::unique_ptr<backends::Backend> cpu_backend(AroundSession around = nullptr);

template <class Around>
[[nodiscard]] std::unique_ptr<backends::Backend> cpu_with_session() {
  return cpu_backend(
      [](std::unique_ptr<backends::Session> inner) { return std::make_unique<Around>(std::move(inner)); });
}
template <class Around>
[[nodiscard]] std::unique_ptr<backends::Backend> cpu_with_cache() {
  return cpu_backend([](std::unique_ptr<backends::Session> inner) {
    return std::make_unique<SessionWithCaches>(std::move(inner), [](std::unique_ptr<backends::KvCache> cache) {
      return std::make_unique<Around>(std::move(cache));
    });
  });
}

// A result in float32, to be changed in place.
[[nodiscard]] inline std::span<float> floats(const TensorView& view) {
  return {reinterpret_cast<float*>(view.data), static_cast<std::size_t>(element_count(view.shape))};
}

}  // namespace mlbench::harness::test
