#include "reference/parallel_reference.h"

#include <exception>
#include <thread>

#include "reference/all_reduce.h"

namespace mlbench::ref {
namespace {

// Puts the sum over the shards where a worker has its summand.
class Reducing final : public TapSink {
 public:
  Reducing(AllReduce& all, std::size_t rank, Index first_layer, TapSink* shown)
      : all_(&all), rank_(rank), first_layer_(first_layer), shown_(shown) {}

  [[nodiscard]] bool wants(TapId id) const override {
    return is_summand(id) || (shown_ != nullptr && shown_->wants(of_model(id)));
  }
  void take(TapId id, const Tensor& value) override {
    if (shown_ != nullptr && shown_->wants(of_model(id))) shown_->take(of_model(id), value);
    if (is_summand(id)) summand_ = value;
  }
  std::optional<Tensor> replacement(TapId id) override {
    if (is_summand(id)) return all_->sum(rank_, summand_);
    return shown_ == nullptr ? std::nullopt : shown_->replacement(of_model(id));
  }

 private:
  static bool is_summand(TapId id) { return id.tap == Tap::attn_out || id.tap == Tap::mlp_out; }
  // A worker counts its own layers.
  [[nodiscard]] TapId of_model(TapId id) const {
    if (id.layer >= 0) id.layer += first_layer_;
    return id;
  }

  AllReduce* all_;
  std::size_t rank_;
  Index first_layer_;
  TapSink* shown_;
  Tensor summand_;
};

// The part with biases of summands divided, in float64: of three shards a third is of no storage type.
Model with_divided_biases(Model part, Index shards) {
  if (shards == 1) return part;
  auto weights = std::make_shared<Weights>(*part.weights);
  weights->keep(part.weights);
  for (Index layer = 0; layer < part.config.num_layers; ++layer) {
    for (const TensorSpec& spec : layer_tensors(part.config, layer)) {
      if (!spec.bias || !is_summed(spec.role)) continue;
      const WeightView& whole = part.weights->get(spec.name);
      auto values = std::make_shared<std::vector<double>>(whole.widened());
      for (double& value : *values) value /= static_cast<double>(shards);
      weights->put(spec.name, {.dtype = DType::f64,
                               .rows = whole.rows,
                               .cols = whole.cols,
                               .data = reinterpret_cast<const std::byte*>(values->data())});
      weights->keep(values);
    }
  }
  part.weights = std::move(weights);
  return part;
}

}  // namespace

class ParallelReference::Worker {
 public:
  Worker(const Model& model, const Split& split, Index shard, Index stage, RopeCompat compat)
      : first_layer_(layers_of_stage(model.config.num_layers, split.pipeline_parallel, stage).first),
        first_(stage == 0),
        last_(stage == split.pipeline_parallel - 1),
        reference_(with_divided_biases(part_of(model, split, shard, stage), split.tensor_parallel), alone_, compat) {}

  [[nodiscard]] const Reference& reference() const { return reference_; }
  [[nodiscard]] Index first_layer() const { return first_layer_; }

  // Its layers, and what stands before and behind all layers in the first stage and in the last.
  [[nodiscard]] Tensor run(const Tensor& x, PagedKvCache& cache, TapSink& taps) const {
    ForwardPass pass = reference_.pass(cache);
    Tensor rows = first_ ? reference_.enter(x, pass, &taps) : x;
    for (Index layer = 0; layer < reference_.config().num_layers; ++layer)
      rows = reference_.layer(layer, rows, pass, &taps);
    return last_ ? reference_.final_norm(rows, &taps) : rows;
  }

 private:
  Index first_layer_;
  bool first_, last_;
  Workers alone_{1};
  Reference reference_;
};

ParallelReference::ParallelReference(const Model& model, const Split& split, RopeCompat compat) : split_(split) {
  for (Index worker = 0; worker < split.workers(); ++worker) {
    workers_.push_back(
        std::make_unique<Worker>(model, split, worker % split.tensor_parallel, worker / split.tensor_parallel, compat));
  }
}
ParallelReference::~ParallelReference() = default;

std::vector<PagedKvCache> ParallelReference::create_paged_kv_caches(const KvLimits& limits) const {
  std::vector<PagedKvCache> caches;
  for (const auto& worker : workers_) caches.push_back(worker->reference().create_paged_kv_cache(limits));
  return caches;
}

Tensor ParallelReference::embed(std::span<const std::int32_t> ids) const {
  return workers_.front()->reference().embed(ids);
}

Tensor ParallelReference::get_logits(const Tensor& hidden) const {
  return workers_.back()->reference().get_logits(hidden);
}

Tensor ParallelReference::forward(const Tensor& x, std::span<PagedKvCache> caches,
                                  std::span<TapSink* const> taps) const {
  Tensor rows = x;
  for (Index stage = 0; stage < split_.pipeline_parallel; ++stage) rows = through_stage(stage, rows, caches, taps);
  return rows;
}

// Its shards are threads; each ends with the same rows.
Tensor ParallelReference::through_stage(Index stage, const Tensor& x, std::span<PagedKvCache> caches,
                                        std::span<TapSink* const> taps) const {
  const auto shards = static_cast<std::size_t>(split_.tensor_parallel);
  const std::size_t first = static_cast<std::size_t>(stage) * shards;
  AllReduce all(shards);
  std::vector<Tensor> rows(shards);
  std::vector<std::exception_ptr> failures(shards);
  const auto run = [&](std::size_t rank) {
    const std::size_t worker = first + rank;
    Reducing sink(all, rank, workers_[worker]->first_layer(), taps.empty() ? nullptr : taps[worker]);
    try {
      rows[rank] = workers_[worker]->run(x, caches[worker], sink);
    } catch (const AnotherFailed&) {
      all.leave();
    } catch (...) {
      failures[rank] = std::current_exception();
      all.leave();
    }
  };
  {
    std::vector<std::jthread> others;
    for (std::size_t rank = 1; rank < shards; ++rank) others.emplace_back(run, rank);
    run(0);
  }
  for (const std::exception_ptr& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
  return std::move(rows.front());
}

}  // namespace mlbench::ref
