// The paged KV cache of a backend of ours: paging::PageTable's bookkeeping, and the checks of every operation. Where
// the values stand, and how they are copied, is the backend's.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "backends/backend.h"
#include "backends/kv_transport.h"
#include "backends/paging/page_table.h"

namespace mlbench::stack {

struct KvShape {
  Index layers = 0;
  Index heads = 0;  // Hkv
  Index width = 0;  // d
  DType dtype = DType::f32;

  friend bool operator==(const KvShape&, const KvShape&) = default;
};
[[nodiscard]] KvShape kv_shape(const ModelConfig& config, DType dtype);

// Slots [from, from + count), of one page, are to be copied to [to, to + count), of one page too, in all layers.
struct SlotRun {
  Index from = 0, to = 0, count = 0;
};

class PagedCache : public backends::KvCache {
 public:
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

  void connect(backends::KvTransport& transport) override;
  // The same, of one that it keeps.
  void connect(std::shared_ptr<backends::KvTransport> transport);
  SlotRuns disagg_prepare_recv(SeqId id, Index count) override;
  void disagg_mark_send(SeqId id, Index begin, const SlotRuns& slots, Index receiver_offset) override;

  // ---- for the forward pass ----

  [[nodiscard]] const KvShape& shape() const { return shape_; }
  // The rows announced, or those of them that look_at() chose; throws kv.state outside begin_forward and end_forward.
  [[nodiscard]] const paging::ForwardPlan& plan() const;
  // plan() and slot() are of rows [first, first + count) of those announced until the next call of this, or of
  // begin_forward.
  void look_at(Index first, Index count);
  // Rows announced.
  [[nodiscard]] const paging::ForwardPlan& whole_plan() const;
  // Of the entry of row `row` of those.
  [[nodiscard]] Index slot(Index row) const;

 protected:
  PagedCache(const KvShape& shape, const KvLimits& limits);

  [[nodiscard]] Index page_size() const { return page_size_; }
  [[nodiscard]] Index num_pages() const { return table_.num_pages(); }

  // Pages that are about to be written, perhaps for the first time.
  virtual void make_pages(std::span<const Index> pages) = 0;
  // In order: a later run may read what an earlier one wrote.
  virtual void copy_slots(std::span<const SlotRun> runs) = 0;
  // Entries of these slots as keys and values [L, slots, Hkv, d] in the storage type, and back.
  virtual void read_entries(std::span<const Index> slots, std::byte* keys, std::byte* values) const = 0;
  virtual void write_entries(std::span<const Index> slots, const std::byte* keys, const std::byte* values) = 0;

 private:
  void copy(const std::optional<paging::PageCopy>& copy);
  [[nodiscard]] std::vector<Index> slots_of(SeqId id, Index begin, Index end) const;
  void check_entries(const char* operation, SeqId id, Index begin, Index end, const ConstTensorView& keys,
                     const ConstTensorView& values) const;
  [[nodiscard]] backends::KvTransport& transport(const char* operation) const;
  [[nodiscard]] std::size_t bytes_of(Index entries) const;  // of the keys, or of the values
  void await(SeqId id);
  void take(const backends::KvEntries& entries);
  void send(const paging::PlannedSend& planned) const;

  KvShape shape_;
  Index page_size_;
  paging::PageTable table_;
  std::optional<paging::ForwardPlan> plan_, looked_at_;
  backends::KvTransport* transport_ = nullptr;
  std::shared_ptr<backends::KvTransport> kept_;  // where nobody else keeps it
};

}  // namespace mlbench::stack
