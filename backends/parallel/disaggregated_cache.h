// The cache of a model that is held twice (disaggregated_session.h): those of the two instances, what of each sequence
// stands in which, and the rows of the announced call that each computes.
//
// The decode instance has every sequence whole. The prefill instance has the first entries of each, under the same id:
// what it computed itself, and what it was brought up to since. Rows that the decode instance computed (decoded tokens,
// last tokens of a prompt, committed nodes of trees) are owed to it until a prompt of the sequence goes on.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "backends/backend.h"
#include "backends/parallel/row_blocks.h"

namespace mlbench::parallel {

// The rows of one call.
struct SharedRows {
  RowNumbers prefill, decode;
};

class DisaggregatedCache final : public backends::KvCache {
 public:
  // `prefill`: the session that brings its own cache up to the other's. `receiver_offset`: the number of the decode
  // instance's first worker.
  DisaggregatedCache(std::shared_ptr<backends::Session> prefill, std::shared_ptr<backends::Session> decode,
                     Index receiver_offset, ModelConfig config, const KvLimits& limits);

  void add_sequence(SeqId id) override;
  void remove_sequence(SeqId id) override;
  void fork_sequence(SeqId parent, SeqId child, Index pos) override;
  void popn(SeqId id, Index count) override;
  void enable_sliding_window_for_seq(SeqId id, Index window, Index sink) override;
  // Prompts are announced to neither instance yet: which rows are whose follows from what is called next.
  void begin_forward(std::span<const SeqId> ids, std::span<const Index> lengths,
                     const std::optional<std::vector<Index>>& tree_parents) override;
  void end_forward() override;
  void commit_accepted_token_tree_nodes(std::span<const SeqId> ids, std::span<const Index> leaves) override;
  [[nodiscard]] std::vector<std::int32_t> get_query_positions() const override;

  void clear() override;
  [[nodiscard]] bool empty() const override { return decode_->empty(); }
  [[nodiscard]] Index num_available_pages() const override { return decode_->num_available_pages(); }
  [[nodiscard]] Index total_sequence_length() const override { return decode_->total_sequence_length(); }
  [[nodiscard]] Index sequence_length(SeqId id) const override { return decode_->sequence_length(id); }

  // The decode instance's.
  void debug_get_kv(SeqId id, Index begin, Index end, const TensorView& keys, const TensorView& values) const override;
  // In both instances.
  void debug_set_kv(SeqId id, Index begin, const ConstTensorView& keys, const ConstTensorView& values) override;

  // ---- for the session ----

  // Whether it was made for that decode instance.
  [[nodiscard]] bool is_of(const backends::Session& decode) const { return decode_session_.get() == &decode; }
  [[nodiscard]] backends::KvCache& prefill() { return *prefill_; }
  [[nodiscard]] backends::KvCache& decode() { return *decode_; }
  // Rows announced; throws kv.state outside begin_forward and end_forward.
  [[nodiscard]] Index rows() const;
  // Whether all of them are the decode instance's: it has been told.
  [[nodiscard]] bool is_decoding() const;
  // A prompt's last row is the decode instance's (the entries before it are awaited there), or the prefill instance's.
  enum class LastRow { decode, prefill };
  // Brings the prefill instance up to date, has the slots reserved and sent to, and announces its rows to the prefill
  // instance. Once in a call; later it says the same.
  const SharedRows& share_out(LastRow last);
  // The prefill instance has computed its rows, and sends their entries.
  void end_prefill();
  // Announces its rows to the decode instance, and waits for what they need.
  void begin_decode();
  // The inputs of the decode instance's rows, [rows, h], by which the prefill instance can compute them, too. Without,
  // it takes their entries from the decode instance.
  void keep_rows(const HostTensor& x);

 private:
  using Row = std::shared_ptr<const HostTensor>;  // T [1, h]; null: not known
  struct Sequence {
    Index at_prefill = 0;        // entries there
    std::vector<Row> owed;       // the entries behind these
    std::vector<Index> parents;  // of the token tree behind these, which is the decode instance's alone
    std::vector<Row> nodes;

    [[nodiscard]] Index committed() const { return at_prefill + static_cast<Index>(owed.size()); }
  };
  struct Call {
    std::vector<SeqId> ids;
    std::vector<Index> lengths;
    std::optional<std::vector<Index>> parents;
    bool decoding = false;
    std::optional<SharedRows> shared;
    LastRow last = LastRow::decode;
    bool at_prefill = false, at_decode = false;  // between begin_forward and end_forward there
    std::vector<Row> rows;                       // of the decode instance, as kept
  };

  [[nodiscard]] const Sequence& find(SeqId id) const;
  [[nodiscard]] Sequence& find(SeqId id);
  void require_idle(const char* operation) const;
  void require_prompts(std::span<const SeqId> ids, std::span<const Index> lengths) const;
  void bring_up(SeqId id);
  void compute_owed(SeqId id, std::span<const Row> rows);
  void copy_from_decode(SeqId id, Index begin, Index end);
  [[nodiscard]] Index rows_at_decode(std::size_t sequence) const;

  std::shared_ptr<backends::Session> prefill_session_, decode_session_;
  std::unique_ptr<backends::KvCache> prefill_, decode_;
  Index receiver_offset_;
  ModelConfig config_;
  KvLimits limits_;
  std::map<SeqId, Sequence> sequences_;
  std::optional<Call> call_;
};

}  // namespace mlbench::parallel
