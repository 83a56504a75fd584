// The cache of a model whose workers have one each, of their layers and heads.
#pragma once

#include <memory>
#include <vector>

#include "backends/parallel/team.h"

namespace mlbench::parallel {

class ParallelCache final : public backends::KvCache {
 public:
  ParallelCache(std::shared_ptr<Team> team, const KvLimits& limits);
  ~ParallelCache() override;
  ParallelCache(const ParallelCache&) = delete;
  ParallelCache& operator=(const ParallelCache&) = delete;

  [[nodiscard]] const Team& team() const { return *team_; }
  [[nodiscard]] backends::KvCache& of(Index worker) { return *caches_[static_cast<std::size_t>(worker)]; }

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
  [[nodiscard]] bool empty() const override;
  [[nodiscard]] Index num_available_pages() const override;
  [[nodiscard]] Index total_sequence_length() const override;
  [[nodiscard]] Index sequence_length(SeqId id) const override;

  void debug_get_kv(SeqId id, Index begin, Index end, const TensorView& keys, const TensorView& values) const override;
  void debug_set_kv(SeqId id, Index begin, const ConstTensorView& keys, const ConstTensorView& values) override;

  // Every worker's cache has its own transport. The offset is that of the first replica's receiver.
  SlotRuns disagg_prepare_recv(SeqId id, Index count) override;
  void disagg_mark_send(SeqId id, Index begin, const SlotRuns& slots, Index receiver_offset) override;

 private:
  template <class Change>
  void change(std::string_view doing, const Change& change);
  // What all of them answer.
  template <class Ask>
  auto answer(std::string_view doing, const Ask& ask) const;
  void require_entries(const char* doing, const ConstTensorView& keys, const ConstTensorView& values) const;

  std::shared_ptr<Team> team_;
  std::vector<std::unique_ptr<backends::KvCache>> caches_;
};

}  // namespace mlbench::parallel
