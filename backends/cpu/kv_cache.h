// The paged KV cache in the processor's memory.
#pragma once

#include <vector>

#include "backends/cpu/buffer.h"
#include "backends/cpu/heads.h"
#include "backends/stack/paged_cache.h"

namespace mlbench::cpu {

using stack::KvShape;

class PagedKvCache final : public stack::PagedCache {
 public:
  enum Kind { kKey = 0, kValue = 1 };

  PagedKvCache(const KvShape& shape, const KvLimits& limits);

  // ---- for the forward pass ----

  // Keys and values [T, Hkv, d] of the announced rows into their slots of a layer, rounded to the storage type.
  void append(Index layer, const Heads& keys, const Heads& values);
  // One head's key or value in a slot, [d].
  [[nodiscard]] const std::byte* at(Index layer, Kind kind, Index slot, Index head) const {
    return extent(slot).data() + offset(layer, kind, slot, head);
  }
  [[nodiscard]] std::byte* at(Index layer, Kind kind, Index slot, Index head) {
    return extent(slot).data() + offset(layer, kind, slot, head);
  }

 private:
  void make_pages(std::span<const Index> pages) override;
  void copy_slots(std::span<const stack::SlotRun> runs) override;
  void read_entries(std::span<const Index> slots, std::byte* keys, std::byte* values) const override;
  void write_entries(std::span<const Index> slots, const std::byte* keys, const std::byte* values) override;

  [[nodiscard]] const Buffer& extent(Index slot) const { return extents_[static_cast<std::size_t>(slot / slots_)]; }
  [[nodiscard]] Buffer& extent(Index slot) { return extents_[static_cast<std::size_t>(slot / slots_)]; }
  [[nodiscard]] std::size_t offset(Index layer, Kind kind, Index slot, Index head) const {
    const Index row = (((layer * 2 + kind) * shape().heads + head) * slots_) + slot % slots_;
    return static_cast<std::size_t>(row) * row_bytes_;
  }
  // Calls visit(kind, where in the cache, offset in bytes into [L, slots, Hkv, d]).
  template <class Cache, class Visit>
  static void visit_entries(Cache& cache, std::span<const Index> slots, Visit visit);

  std::size_t row_bytes_;  // of one head
  // Pages whose numbers follow each other stand together, so that a head's entries are one run of memory, which
  // processors fetch ahead: the slots of one extent.
  Index slots_;
  std::vector<Buffer> extents_;  // [L, 2, Hkv, slots_, d] each, made when the first of its pages is handed out
};

}  // namespace mlbench::cpu
