// The reference over a split of its model, all workers in one process: what tensor and pipeline parallelism compute, as
// arithmetic (spec methods.md, sections 8 and 9). Worker w has the layers, heads and products of part_of()
// (models/parts.h) and a cache of its own; the shards of a stage meet where a product was split by columns, at attn.out
// and mlp.out, whose summands are added in ascending order; from stage to stage go hidden rows alone.
//
// Against the unsharded reference: stages change no bit; shards change the order of sums, by which results differ.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "models/parts.h"
#include "reference/reference.h"

namespace mlbench::ref {

class ParallelReference {
 public:
  // The split has to be one that models/parallel_rules.h allows.
  ParallelReference(const Model& model, const Split& split, RopeCompat compat = RopeCompat::f64);
  ~ParallelReference();

  [[nodiscard]] const Split& split() const { return split_; }
  // One for each worker. What is done to one of them, forks say, is to be done to all. Two instances for prefill and
  // decode are two such groups that joined one KvExchange (reference/kv_exchange.h) with this split.
  [[nodiscard]] std::vector<PagedKvCache> create_paged_kv_caches(const KvLimits& limits) const;

  // [n] -> [n, h]
  [[nodiscard]] Tensor embed(std::span<const std::int32_t> ids) const;
  // The rows that all caches announced, x [N, h], through all stages and the final norm: [N, h]. `taps`: one for each
  // worker, or none at all; attn.out and mlp.out are shown as the worker's summand.
  [[nodiscard]] Tensor forward(const Tensor& x, std::span<PagedKvCache> caches,
                               std::span<TapSink* const> taps = {}) const;
  // [n, h] -> [n, V]
  [[nodiscard]] Tensor get_logits(const Tensor& hidden) const;

 private:
  class Worker;
  [[nodiscard]] Tensor through_stage(Index stage, const Tensor& x, std::span<PagedKvCache> caches,
                                     std::span<TapSink* const> taps) const;

  Split split_;
  std::vector<std::unique_ptr<Worker>> workers_;
};

}  // namespace mlbench::ref
