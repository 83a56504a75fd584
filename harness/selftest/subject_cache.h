// The subject's paged KV cache: the honest bookkeeping of backends/paging, and values in plain pages.
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "backends/backend.h"
#include "backends/paging/page_table.h"
#include "harness/selftest/planted.h"
#include "harness/selftest/subject_values.h"
#include "models/config.h"

namespace mlbench::selftest {

class SubjectCache final : public backends::KvCache {
 public:
  enum Kind { kKey = 0, kValue = 1 };

  SubjectCache(const ModelConfig& config, DType type, const KvLimits& limits, Planted planted);

  void add_sequence(SeqId id) override { table_.add_sequence(id); }
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
  [[nodiscard]] Index num_available_pages() const override { return table_.num_available_pages() - leaked_; }
  [[nodiscard]] Index total_sequence_length() const override;
  [[nodiscard]] Index sequence_length(SeqId id) const override;

  void debug_get_kv(SeqId id, Index begin, Index end, const TensorView& keys, const TensorView& values) const override;
  void debug_set_kv(SeqId id, Index begin, const ConstTensorView& keys, const ConstTensorView& values) override;

  // ---- for the forward ----

  // The rows announced; throws kv.state outside begin_forward and end_forward.
  [[nodiscard]] const paging::ForwardPlan& plan() const;
  // Keys are kept unrotated, and rotated by their place when they are used.
  [[nodiscard]] bool in_line() const { return in_line_; }
  // One head's key or value [d] in a slot of the layout, to be written.
  [[nodiscard]] float* at(Index layer, Kind kind, Index slot, Index head);
  // The same to be read: of an entry of one of the forward's sequences.
  [[nodiscard]] const float* read(Index layer, Kind kind, Index sequence, Index entry, Index head) const;
  // As many entries of a sequence as its pages have room for.
  [[nodiscard]] Index room(Index sequence) const;

 private:
  using Page = std::vector<float>;  // [L, 2, Hkv, page_size, d], made when it is first used

  [[nodiscard]] Index offset(Index layer, Kind kind, Index slot, Index head) const;
  [[nodiscard]] const float* in_slot(Index layer, Kind kind, Index slot, Index head) const;
  void copy(Index from_slot, Index to_slot, Index count);
  void copy(const std::optional<paging::PageCopy>& copy);
  void check_entries(const char* operation, SeqId id, Index begin, Index end, const ConstTensorView& keys,
                     const ConstTensorView& values) const;
  template <class Visit>
  void visit(SeqId id, Index begin, Index end, Visit visit) const;

  Index layers_, heads_, width_;
  DType type_;
  KvLimits limits_;
  bool in_line_;
  Planted planted_;
  paging::PageTable table_;
  std::map<Index, Page> pages_;
  std::map<Index, Index> shared_;  // pages that stand for others
  std::optional<paging::ForwardPlan> plan_;
  Index leaked_ = 0;
};

}  // namespace mlbench::selftest
