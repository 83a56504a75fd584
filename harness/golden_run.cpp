#include "harness/golden_run.h"

#include <algorithm>
#include <numeric>

#include "models/config.h"

namespace mlbench::harness {
namespace {

using golden::Group;
using golden::StepId;
using ref::PagedKvCache;
using ref::SeqId;
using ref::Tensor;
using Ids = std::vector<std::int32_t>;

constexpr Index kPageSize = 16;

std::vector<Index> to_indices(std::span<const std::int64_t> values) { return {values.begin(), values.end()}; }

Ids to_ids(std::span<const std::int64_t> values) {
  Ids ids(values.size());
  std::ranges::transform(values, ids.begin(), [](std::int64_t value) { return static_cast<std::int32_t>(value); });
  return ids;
}

std::vector<SeqId> count_up(Index count) {
  std::vector<SeqId> ids(static_cast<std::size_t>(count));
  std::iota(ids.begin(), ids.end(), SeqId{0});
  return ids;
}

// Shows the taps of one call to the listener, with the call beside them.
class StepSink final : public ref::TapSink {
 public:
  StepSink(const RunStep& step, RunListener& listener) : step_(step), listener_(listener) {}
  [[nodiscard]] bool wants(TapId id) const override { return listener_.wants(step_, id); }
  void take(TapId id, const Tensor& value) override { listener_.take(step_, id, value); }

 private:
  const RunStep& step_;
  RunListener& listener_;
};

class GoldenRun {
 public:
  GoldenRun(const ref::Reference& reference, const golden::HfGolden& golden, RunListener& listener)
      : reference_(reference), golden_(golden), in_(golden.inputs), listener_(listener) {}

  void story_one() {
    if (!has(Group::prefill) && !has(Group::decode)) return;
    const Index batch = in_.prompt_ids.dim(0);
    const Index prompt = in_.prompt_ids.dim(1);
    const Index steps = step_count(Group::decode);
    PagedKvCache cache = make_cache(batch, batch * (prompt + steps), batch, batch * prompt);
    const std::vector<SeqId> ids = add_sequences(cache, batch);
    const std::vector<Index> lengths(ids.size(), prompt);
    forward(cache, {{Group::prefill, -1}, "prefill", "prefill"}, ids, lengths, to_ids(in_.prompt_ids.values()));
    const std::vector<Index> ones(ids.size(), 1);
    for (Index k = 0; k < steps; ++k) {
      Ids tokens;
      for (Index b = 0; b < batch; ++b)
        tokens.push_back(static_cast<std::int32_t>(in_.decode_ids.row(b)[static_cast<std::size_t>(k)]));
      forward(cache, numbered(Group::decode, "decode", k), ids, ones, tokens);
    }
  }

  void story_two() {
    // Inputs that no result needs were not checked either.
    if (golden_.batch_prefill_logits == nullptr && !has(Group::batch_prefill) && !has(Group::batch_decode) &&
        !has(Group::tree) && !has(Group::after_commit))
      return;
    const Index batch = in_.ragged_lengths.size();
    const std::vector<Index> lengths = to_indices(in_.ragged_lengths.values());
    const Index total = in_.ragged_ids.size();
    const Index more = batch * step_count(Group::batch_decode) + in_.tree_ids.size() + in_.after_commit_ids.size();
    PagedKvCache cache = make_cache(batch, total + more, batch, std::max(total, in_.tree_ids.size()));
    const std::vector<SeqId> ids = add_sequences(cache, batch);
    const Tensor hidden = forward(cache, {{Group::batch_prefill, -1}, "batch_prefill", "batch_prefill"}, ids, lengths,
                                  to_ids(in_.ragged_ids.values()));
    selected_logits(hidden, lengths);
    const std::vector<Index> ones(ids.size(), 1);
    for (Index k = 0; k < step_count(Group::batch_decode); ++k) {
      forward(cache, numbered(Group::batch_decode, "batch_decode", k), ids, ones, to_ids(in_.batch_decode_ids.row(k)));
    }
    if (has(Group::tree) || has(Group::after_commit)) tree(cache);
  }

  // The longest ragged prompt in pieces into an empty cache: the same rows as in the ragged batch. Scaling kinds whose
  // frequencies follow the length of each call make no such promise.
  void chunked() {
    const RopeKind rope = reference_.config().rope.kind;
    if (in_.chunks.size() == 0 || !has(Group::batch_prefill) || rope == RopeKind::dynamic || rope == RopeKind::longrope)
      return;
    const auto lengths = in_.ragged_lengths.values();
    const auto longest = std::ranges::max_element(lengths);
    const Index before = std::accumulate(lengths.begin(), longest, Index{0});
    PagedKvCache cache = make_cache(1, *longest, 1, *longest);
    const std::vector<SeqId> ids = add_sequences(cache, 1);
    Index done = 0;
    for (Index k = 0; k < in_.chunks.size(); ++k) {
      const Index length = in_.chunks.values()[static_cast<std::size_t>(k)];
      const auto tokens =
          in_.ragged_ids.values().subspan(static_cast<std::size_t>(before + done), static_cast<std::size_t>(length));
      RunStep step{{Group::batch_prefill, -1}, "prefill", "chunked/" + std::to_string(k)};
      step.first_row = before + done;
      step.part = true;
      const Index one_length[] = {length};
      forward(cache, step, ids, one_length, to_ids(tokens));
      done += length;
    }
  }

 private:
  [[nodiscard]] bool has(Group group) const {
    return std::ranges::any_of(golden_.results,
                               [&](const golden::Result& result) { return result.step.group == group; });
  }

  [[nodiscard]] Index step_count(Group group) const {
    Index count = 0;
    for (const golden::Result& result : golden_.results) {
      if (result.step.group == group) count = std::max(count, result.step.step + 1);
    }
    // The tree stands on all decoding that was done, whether or not it has results.
    if (group == Group::batch_decode && in_.batch_decode_ids.size() > 0) count = in_.batch_decode_ids.dim(0);
    return count;
  }

  static RunStep numbered(Group group, const char* method, Index k) {
    const StepId id{group, k};
    return {id, method, golden::to_string(id)};
  }

  [[nodiscard]] PagedKvCache make_cache(Index batch, Index entries, Index sequences, Index rows) const {
    // Every sequence may leave its last page partly empty.
    return reference_.create_paged_kv_cache({.max_batch_size = batch,
                                             .max_total_seq_len = entries + sequences * kPageSize,
                                             .prefill_chunk_size = std::max<Index>(rows, 1),
                                             .page_size = kPageSize});
  }

  static std::vector<SeqId> add_sequences(PagedKvCache& cache, Index count) {
    std::vector<SeqId> ids = count_up(count);
    for (const SeqId id : ids) cache.add_sequence(id);
    return ids;
  }

  // One call over `tokens`, with logits for every row; returns the hidden rows [T, h].
  Tensor forward(PagedKvCache& cache, RunStep step, std::span<const SeqId> ids, std::span<const Index> lengths,
                 const Ids& tokens, const std::optional<std::vector<Index>>& tree_parents = std::nullopt) {
    const Tensor x = reference_.embed(tokens);
    cache.begin_forward(ids, lengths, tree_parents);
    step.positions = cache.get_query_positions();
    step.sequences = static_cast<Index>(ids.size());
    for (std::size_t s = 0; s < lengths.size(); ++s) {
      step.row_sequence.insert(step.row_sequence.end(), static_cast<std::size_t>(lengths[s]), static_cast<Index>(s));
    }
    StepSink sink(step, listener_);
    Tensor hidden = reference_.batch_forward_to_last_hidden_states(x.reshaped({1, x.rows(), x.cols()}), cache, &sink)
                        .reshaped({x.rows(), x.cols()});
    if (listener_.wants(step, {Tap::logits, -1}))
      listener_.take(step, {Tap::logits, -1}, reference_.get_logits(hidden));
    cache.end_forward();
    return hidden;
  }

  void selected_logits(const Tensor& hidden, const std::vector<Index>& lengths) {
    if (golden_.batch_prefill_logits == nullptr) return;
    const Ids rows = to_ids(in_.logit_positions.values());
    const Tensor logits = reference_.get_logits(reference_.batch_select_last_hidden_states(hidden, rows));
    RunStep step{{Group::batch_prefill, -1}, "batch_prefill", "batch_prefill_logits"};
    step.sequences = static_cast<Index>(rows.size());
    for (const std::int32_t row : rows) {  // of the ragged batch; they exist, since they were selected
      std::size_t sequence = 0;
      Index first = 0;
      while (row >= first + lengths[sequence]) first += lengths[sequence++];
      step.row_sequence.push_back(static_cast<Index>(sequence));
      step.positions.push_back(static_cast<std::int32_t>(row - first));
    }
    listener_.take_selected_logits(step, logits);
  }

  void tree(PagedKvCache& cache) {
    const SeqId first[] = {0};
    const Index nodes[] = {in_.tree_ids.size()};
    forward(cache, {{Group::tree, -1}, "batch_verify", "tree"}, first, nodes, to_ids(in_.tree_ids.values()),
            to_indices(in_.tree_parents.values()));
    if (!in_.tree_leaf) return;
    const Index leaf[] = {*in_.tree_leaf};
    cache.commit_accepted_token_tree_nodes(first, leaf);
    const Index one[] = {1};
    for (Index k = 0; k < in_.after_commit_ids.size(); ++k) {
      const Ids token = to_ids(in_.after_commit_ids.values().subspan(static_cast<std::size_t>(k), 1));
      forward(cache, numbered(Group::after_commit, "decode", k), first, one, token);
    }
  }

  const ref::Reference& reference_;
  const golden::HfGolden& golden_;
  const golden::Inputs& in_;
  RunListener& listener_;
};

}  // namespace

void run_golden(const ref::Reference& reference, const golden::HfGolden& golden, RunListener& listener) {
  GoldenRun run(reference, golden, listener);
  run.story_one();
  run.story_two();
  run.chunked();
}

}  // namespace mlbench::harness
