// The paged KV cache: the values to paging::PageTable's bookkeeping, in the cache's storage type.
#pragma once

#include <optional>
#include <vector>

#include "backends/backend.h"
#include "backends/cpu/buffer.h"
#include "backends/cpu/heads.h"
#include "backends/paging/page_table.h"

namespace mlbench::cpu {

struct KvShape {
  Index layers = 0;
  Index heads = 0;  // Hkv
  Index width = 0;  // d
  DType dtype = DType::f32;

  friend bool operator==(const KvShape&, const KvShape&) = default;
};

class PagedKvCache final : public backends::KvCache {
 public:
  enum Kind { kKey = 0, kValue = 1 };

  PagedKvCache(const KvShape& shape, const KvLimits& limits);

  void add_sequence(SeqId id) override;
  void remove_sequence(SeqId id) override;
  void fork_sequence(SeqId parent, SeqId child, Index pos) override;
  void popn(SeqId id, Index count) override;
  void enable_sliding_window_for_seq(SeqId id, Index window, Index sink) override;
  void begin_forward(std::span<const SeqId> ids, std::span<const Index> lengths,
                     const std::optional<std::vector<Index>>& tree_parents) override;
  void end_forward() override;
  void commit_accepted_token_tree_nodes(std::span<const SeqId> ids, std::span<const Index> leaves) override;
  [[nodiscard]] std::vector<std::int32_t> get_query_positions() const override;

  void clear() override;
  [[nodiscard]] bool empty() const override { return table_.empty(); }
  [[nodiscard]] Index num_available_pages() const override { return table_.num_available_pages(); }
  [[nodiscard]] Index total_sequence_length() const override { return table_.total_sequence_length(); }
  [[nodiscard]] Index sequence_length(SeqId id) const override { return table_.sequence_length(id); }

  void debug_get_kv(SeqId id, Index begin, Index end, const TensorView& keys, const TensorView& values) const override;
  void debug_set_kv(SeqId id, Index begin, const ConstTensorView& keys, const ConstTensorView& values) override;

  // ---- for the forward pass ----

  [[nodiscard]] const KvShape& shape() const { return shape_; }
  // The rows announced; throws kv.state outside begin_forward and end_forward.
  [[nodiscard]] const paging::ForwardPlan& plan() const;
  // Of the entry of row `row` of those.
  [[nodiscard]] Index slot(Index row) const;
  // Keys and values [T, Hkv, d] of those rows into their slots of a layer, rounded to the storage type.
  void append(Index layer, const Heads& keys, const Heads& values);
  // One head's key or value in a slot, [d].
  [[nodiscard]] const std::byte* at(Index layer, Kind kind, Index slot, Index head) const {
    return extent(slot).data() + offset(layer, kind, slot, head);
  }
  [[nodiscard]] std::byte* at(Index layer, Kind kind, Index slot, Index head) {
    return extent(slot).data() + offset(layer, kind, slot, head);
  }

 private:
  [[nodiscard]] const Buffer& extent(Index slot) const { return extents_[static_cast<std::size_t>(slot / slots_)]; }
  [[nodiscard]] Buffer& extent(Index slot) { return extents_[static_cast<std::size_t>(slot / slots_)]; }
  [[nodiscard]] std::size_t offset(Index layer, Kind kind, Index slot, Index head) const {
    const Index row = (((layer * 2 + kind) * shape_.heads + head) * slots_) + slot % slots_;
    return static_cast<std::size_t>(row) * row_bytes_;
  }
  void make_page(Index index);
  void copy(Index from_slot, Index to_slot, Index count);
  void copy(const std::optional<paging::PageCopy>& copy);
  void check_entries(const char* operation, SeqId id, Index begin, Index end, const ConstTensorView& keys,
                     const ConstTensorView& values) const;
  template <class Visit>
  void visit_entries(SeqId id, Index begin, Index end, Visit visit) const;

  KvShape shape_;
  Index page_size_;
  std::size_t row_bytes_;  // of one head
  paging::PageTable table_;
  // Pages whose numbers follow each other stand together, so that a head's entries are one run of memory, which
  // processors fetch ahead: the slots of one extent.
  Index slots_;
  std::vector<Buffer> extents_;  // [L, 2, Hkv, slots_, d] each, made when the first of its pages is handed out
  std::optional<paging::ForwardPlan> plan_;
};

}  // namespace mlbench::cpu
