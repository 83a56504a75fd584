// A paged cache as a running session has it: sequences with entries, and a forward that is announced.
#pragma once

#include <cstring>
#include <numeric>
#include <vector>

#include "backends/cpu/kv_cache.h"
#include "bench/cpu_operators.h"
#include "core/hash.h"
#include "harness/memory.h"

namespace mlbench::cpu::bench {

inline constexpr Index kPageSize = 16;
inline constexpr PagedKvCache::Kind kKinds[] = {PagedKvCache::kKey, PagedKvCache::kValue};

// Keys and values of so many tokens, in all layers.
[[nodiscard]] inline double bytes_of(const KvShape& shape, Index tokens) {
  return static_cast<double>(shape.layers * 2 * shape.heads * tokens) *
         static_cast<double>(stored_bytes(shape.dtype, shape.width));
}

[[nodiscard]] inline KvShape kv_shape(const ModelConfig& config, DType dtype, Index layers) {
  return {.layers = layers, .heads = config.num_kv_heads, .width = config.head_dim, .dtype = dtype};
}

// As many layers as it takes for `tokens` entries in all of them not to stay in the caches.
[[nodiscard]] inline KvShape shape_beyond_caches(const ModelConfig& config, DType dtype, Index tokens) {
  return kv_shape(config, dtype, copies_beyond_caches(bytes_of(kv_shape(config, dtype, 1), tokens)));
}

// A call of some rows at the end of each sequence.
struct Call {
  Index sequences = 1;
  Index rows = 1;     // of each
  Index context = 1;  // entries of each, the new ones with them
};

// A cache in the forward that a call announces, all of its entries random. Heads of rows are cut from a pool of random
// values at places that are random, too: making all of them would take too long.
class FilledCache {
 public:
  FilledCache(const KvShape& shape, const Call& call)
      : cache_(shape, limits(shape, call)), call_(call), pool_(random_stored(shape.dtype, 4, kPool)) {
    std::vector<SeqId> ids(static_cast<std::size_t>(call.sequences));
    std::iota(ids.begin(), ids.end(), SeqId{0});
    const auto announce = [&](Index rows) {
      const std::vector<Index> lengths(ids.size(), rows);
      cache_.begin_forward(ids, lengths, {});
    };
    for (const SeqId id : ids) cache_.add_sequence(id);
    if (call.context > call.rows) {
      announce(call.context - call.rows);
      cache_.end_forward();
    }
    announce(call.rows);
    for (const paging::PlannedSequence& sequence : cache_.plan().sequences) fill(sequence.layout, 0, call.context);
  }

  [[nodiscard]] PagedKvCache& cache() { return cache_; }
  [[nodiscard]] const PagedKvCache& cache() const { return cache_; }
  [[nodiscard]] const Call& call() const { return call_; }

  void fill(const paging::Layout& layout, Index begin, Index end) {
    const KvShape& shape = cache_.shape();
    for (Index entry = begin; entry < end; ++entry) {
      for (Index layer = 0; layer < shape.layers; ++layer) {
        for (const PagedKvCache::Kind kind : kKinds) {
          for (Index head = 0; head < shape.heads; ++head) {
            const auto from =
                static_cast<Index>(scattered(5, drawn_++) % static_cast<std::uint64_t>(kPool - shape.width));
            std::memcpy(cache_.at(layer, kind, layout.slot(entry), head),
                        pool_.data() + stored_bytes(shape.dtype, from), stored_bytes(shape.dtype, shape.width));
          }
        }
      }
    }
  }

 private:
  static constexpr Index kPool = Index{1} << 18U;

  static KvLimits limits(const KvShape& shape, const Call& call) {
    constexpr Index kRoom = 4 * kPageSize;  // of a sequence, beyond what it starts with
    const Index tokens = call.sequences * (call.context + kRoom);
    harness::require_memory(static_cast<std::uint64_t>(bytes_of(shape, tokens)), "the cache");
    return {.max_batch_size = call.sequences + 1,
            .max_total_seq_len = tokens + kRoom,
            .prefill_chunk_size = call.sequences * call.context + kRoom,
            .page_size = kPageSize};
  }

  PagedKvCache cache_;
  Call call_;
  Buffer pool_;
  std::uint64_t drawn_ = 0;
};

}  // namespace mlbench::cpu::bench
