// Several runs of the reference in one: each sequence of a call stands in its cache once per replica, so that one
// forward computes all replicas and every weight is widened once. Rows of replica 0 come first.
#pragma once

#include <algorithm>

#include "harness/plan.h"
#include "models/taps.h"
#include "reference/reference.h"

namespace mlbench::harness {

class Replicas {
 public:
  Replicas(const ref::Reference& reference, const KvLimits& limits, Index count)
      : count_(count), cache_(reference.create_paged_kv_cache(widened(limits, count))) {}

  [[nodiscard]] Index count() const { return count_; }
  [[nodiscard]] ref::PagedKvCache& cache() { return cache_; }

  // The operations ahead of the call, and its rows, for all replicas.
  void begin(const Call& call) {
    for (const CacheOperation& operation : call.before) apply_to_all(operation);
    std::vector<SeqId> ids;
    std::vector<Index> lengths;
    std::vector<Index> parents;
    for (Index r = 0; r < count_; ++r) {
      for (const SeqId id : call.ids) ids.push_back(own(id, r));
      lengths.insert(lengths.end(), call.lengths.begin(), call.lengths.end());
      if (call.tree_parents) parents.insert(parents.end(), call.tree_parents->begin(), call.tree_parents->end());
    }
    cache_.begin_forward(ids, lengths, call.tree_parents ? std::optional(parents) : std::nullopt);
  }
  void end() { cache_.end_forward(); }

  // Positions of the announced rows of one replica, [N].
  [[nodiscard]] std::vector<std::int32_t> positions(const Call& call) const {
    std::vector<std::int32_t> all = cache_.get_query_positions();
    all.resize(static_cast<std::size_t>(call.rows()));
    return all;
  }

  [[nodiscard]] ref::PagedKvCache::Entries entries(SeqId id, Index replica) const {
    return cache_.debug_get_kv(own(id, replica), 0, length(id));
  }
  // The same entries for every replica.
  void set_entries(SeqId id, const ref::PagedKvCache::Entries& entries) {
    for (Index r = 0; r < count_; ++r) cache_.debug_set_kv(own(id, r), 0, entries);
  }
  [[nodiscard]] Index length(SeqId id) const { return cache_.sequence_length(own(id, 0)); }
  [[nodiscard]] Index total_length() const { return cache_.total_sequence_length() / count_; }

  // x once for each replica.
  [[nodiscard]] ref::Tensor tiled(const ref::Tensor& x) const {
    Shape shape = x.shape();
    shape[0] *= count_;
    ref::Tensor out(shape);
    for (Index r = 0; r < count_; ++r) std::ranges::copy(x.values(), out.values().begin() + r * x.size());
    return out;
  }

 private:
  static KvLimits widened(KvLimits limits, Index count) {
    limits.max_batch_size *= count;
    limits.max_total_seq_len *= count;
    limits.prefill_chunk_size *= count;
    return limits;
  }
  [[nodiscard]] SeqId own(SeqId id, Index replica) const { return id * count_ + replica; }

  void apply_to_all(CacheOperation operation) {
    if (operation.kind == CacheOperation::Kind::commit) {  // one commit names all sequences of the last forward
      std::vector<SeqId> ids;
      const std::vector<Index> leaves(static_cast<std::size_t>(count_), operation.number);
      for (Index r = 0; r < count_; ++r) ids.push_back(own(operation.id, r));
      cache_.commit_accepted_token_tree_nodes(ids, leaves);
      return;
    }
    const SeqId id = operation.id, child = operation.child;
    for (Index r = 0; r < count_; ++r) {
      operation.id = own(id, r);
      operation.child = own(child, r);
      apply(operation, cache_);
    }
  }

  Index count_;
  ref::PagedKvCache cache_;
};

// The rows of one replica of a tap's value: rows [R T, w], heads and probabilities [H, R T, w].
[[nodiscard]] inline ref::Tensor replica_of(const ref::Tensor& value, TapLayout layout, Index replicas, Index replica) {
  Shape shape = value.shape();
  const std::size_t axis = layout == TapLayout::rows ? 0 : 1;
  const Index rows = shape[axis] / replicas;
  const Index blocks = axis == 0 ? 1 : shape[0];
  shape[axis] = rows;
  ref::Tensor out(shape);
  for (Index b = 0; b < blocks; ++b) {
    for (Index t = 0; t < rows; ++t) {
      std::ranges::copy(value.row((b * replicas + replica) * rows + t), out.row(b * rows + t).begin());
    }
  }
  return out;
}

// Puts the rows of one replica back.
inline void set_replica(ref::Tensor& value, TapLayout layout, Index replicas, Index replica, const ref::Tensor& part) {
  const std::size_t axis = layout == TapLayout::rows ? 0 : 1;
  const Index rows = part.shape()[axis];
  const Index blocks = axis == 0 ? 1 : part.dim(0);
  for (Index b = 0; b < blocks; ++b) {
    for (Index t = 0; t < rows; ++t) {
      std::ranges::copy(part.row(b * rows + t), value.row((b * replicas + replica) * rows + t).begin());
    }
  }
}

}  // namespace mlbench::harness
