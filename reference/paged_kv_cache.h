// The paged key-value cache in float64: create_paged_kv_cache and every operation on it (spec methods.md, sections 4 to
// 7 and 10). A failed operation throws a request error with a kv.* code and leaves the cache unchanged.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "reference/page_table.h"
#include "reference/tensor.h"

namespace mlbench::ref {

struct KvShape {
  Index num_layers = 0;
  Index num_kv_heads = 0;
  Index head_dim = 0;
  RopeMode rope_mode = RopeMode::normal;

  friend bool operator==(const KvShape&, const KvShape&) = default;
};

class KvExchange;

class PagedKvCache {
 public:
  // support_sliding_window turns rope mode normal into in_line.
  PagedKvCache(const KvShape& shape, const KvLimits& limits);

  void add_sequence(SeqId id);
  void remove_sequence(SeqId id);
  void fork_sequence(SeqId parent, SeqId child, Index pos = -1);
  void popn(SeqId id, Index count);
  void enable_sliding_window_for_seq(SeqId id, Index window, Index sink);

  // Announces the rows of the next forward: lengths[i] new tokens of sequence ids[i], in this order, and with
  // `tree_parents` (one entry per row; nodes count from 0 per sequence, -1 follows the last committed token) as nodes
  // of a token tree.
  void begin_forward(std::span<const SeqId> ids, std::span<const Index> lengths,
                     const std::optional<std::vector<Index>>& tree_parents = std::nullopt);
  void end_forward();
  // Keeps the path to leaves[i] as the next tokens of ids[i]; -1 drops the whole tree.
  void commit_accepted_token_tree_nodes(std::span<const SeqId> ids, std::span<const Index> leaves);
  [[nodiscard]] std::vector<std::int32_t> get_query_positions() const;

  void clear();
  [[nodiscard]] bool empty() const { return table_.empty(); }
  [[nodiscard]] Index num_available_pages() const { return table_.num_available_pages(); }
  [[nodiscard]] Index total_sequence_length() const { return table_.total_sequence_length(); }
  [[nodiscard]] Index sequence_length(SeqId id) const { return table_.sequence_length(id); }

  // Entries [begin, end) of a sequence as stored: keys and values, each [layers, end - begin, Hkv, d].
  struct Entries {
    Tensor keys, values;
  };
  [[nodiscard]] Entries debug_get_kv(SeqId id, Index begin, Index end) const;

  // Overwrites entries [begin, begin + n) with values in that layout.
  void debug_set_kv(SeqId id, Index begin, const Entries& entries);

  // ---- disaggregated prefill and decode: entries that another cache computes ----

  // Receiver. The sequence grows by `count` entries, whose slots are returned for the sender; what it had before stays.
  // prefill_chunk_size does not bound them, no rows are computed here. Until the last has come the sequence can only be
  // asked for its length, or be removed: all else is kv.state. A sender that goes on after the receiver was removed is
  // not disturbed, its entries are dropped; it has to stop before the slots are announced to another.
  SlotRuns disagg_prepare_recv(SeqId id, Index count);
  // Sender. Entry p >= begin goes to slot slots[p - begin] of the worker of the instance at `receiver_offset` that has
  // the same layers and heads, at the end_forward of the call that computes it; those that are cached go with the
  // sequence's next one, and at least one more must be still to come (kv.bad_argument). The mark ends with the last
  // slot: until then rows beyond it are refused at begin_forward (kv.bad_argument), and token trees (kv.unsupported), a
  // second mark is kv.state, forks are not marked, and popn takes back entries that are sent again when they are
  // computed anew. Removed before that, the sequence leaves the receiver waiting. Errors as KvExchange::receiver_of
  // says, besides.
  void disagg_mark_send(SeqId id, Index begin, const SlotRuns& slots, Index receiver_offset);
  // Where the receivers are; KvExchange::join's to call.
  void connect(const KvExchange& exchange) { exchange_ = &exchange; }

  // ---- for the forward pass ----

  [[nodiscard]] const KvShape& shape() const { return shape_; }
  [[nodiscard]] Index page_size() const { return limits_.page_size; }
  // The rows announced; throws kv.state outside begin_forward and end_forward.
  [[nodiscard]] const ForwardPlan& plan() const;
  // One head's key or value in a slot, [d].
  [[nodiscard]] std::span<const double> key(Index layer, Index slot, Index head) const;
  [[nodiscard]] std::span<const double> value(Index layer, Index slot, Index head) const;
  void store(Index layer, Index slot, Index head, std::span<const double> key, std::span<const double> value);

 private:
  enum Kind { kKey = 0, kValue = 1 };
  using Page = std::unique_ptr<double[]>;  // [layers, 2, Hkv, page_size, d], made when it is first handed out

  [[nodiscard]] Index offset(Index layer, Kind kind, Index slot, Index head) const;
  [[nodiscard]] double* at(Index layer, Kind kind, Index slot, Index head) const;
  // The slots of entries [begin, end) of a sequence; kv.state and kv.bad_argument as said above.
  [[nodiscard]] std::vector<Index> slots_of(const char* operation, SeqId id, Index begin, Index end) const;
  void make_page(Index index);
  void copy(const PageCopy& copy);
  void move(const SlotMove& move);
  // Entry by entry from a slot of `sender`, which has the same shape, to one of this.
  void take(const PagedKvCache& sender, std::span<const SlotSend> entries);

  KvShape shape_;
  KvLimits limits_;
  PageTable table_;
  std::vector<Page> pages_;  // by page number, as many as were ever in use
  std::optional<ForwardPlan> plan_;
  const KvExchange* exchange_ = nullptr;
};

}  // namespace mlbench::ref
