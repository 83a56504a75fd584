// What a verification or a golden runs, as data: stories of calls, each on a cache of its own. Nothing here computes.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "backends/backend.h"
#include "golden/hf_layout.h"
#include "models/config.h"

namespace mlbench::harness {

// An operation on the cache between two calls.
struct CacheOperation {
  enum class Kind { add, remove, fork, popn, commit, window };
  Kind kind = Kind::add;
  SeqId id = 0;
  SeqId child = 0;   // fork
  Index number = 0;  // fork: position, -1 all; popn: how many; commit: the leaf; window: its size
  Index sink = 0;    // window
};

// The rows of a golden in Hugging Face's layout that a call computes: [first_row, first_row + N) of a step's.
struct GoldenRows {
  golden::StepId step;
  Index first_row = 0;
  bool part = false;           // a piece of a prompt that the golden holds whole
  std::string method;          // the method that the golden's group is about
  bool also_selected = false;  // logits of the rows `logit_positions` stand in a dataset of their own
};

struct Call {
  std::string label;                   // unique in its plan: "batch/2 batch_decode"
  std::vector<CacheOperation> before;  // in this order, ahead of the call
  backends::Method method = backends::Method::prefill;
  std::vector<SeqId> ids;      // the sequences of begin_forward, [b]
  std::vector<Index> lengths;  // and their new tokens, [b]
  std::vector<std::int32_t> tokens;
  std::optional<std::vector<Index>> tree_parents;
  std::vector<std::int32_t> logit_positions;  // batch_prefill
  Index padding = 0;                          // rows of x beyond N, of which nothing may be read; prefill shape only
  std::optional<GoldenRows> golden;

  [[nodiscard]] Index rows() const { return static_cast<Index>(tokens.size()); }  // N
  [[nodiscard]] Shape input_shape(Index hidden_size) const;                       // of x, with its padding
  [[nodiscard]] Shape result_shape(const ModelConfig& config) const;              // of what the method returns
  // Rows whose hidden values or logits the method returns, in this order.
  [[nodiscard]] std::vector<std::int32_t> result_rows() const;
  [[nodiscard]] std::vector<Index> row_sequences() const;  // [N]: index into ids
};

struct Story {
  std::string name;
  KvLimits limits;
  std::vector<Call> calls;
};

using Plan = std::vector<Story>;

// Applies an operation to the reference's cache or to a backend's: their operations have the same names.
template <class Cache>
void apply(const CacheOperation& operation, Cache& cache) {
  const SeqId ids[] = {operation.id};
  const Index leaves[] = {operation.number};
  switch (operation.kind) {
    case CacheOperation::Kind::add: cache.add_sequence(operation.id); break;
    case CacheOperation::Kind::remove: cache.remove_sequence(operation.id); break;
    case CacheOperation::Kind::fork: cache.fork_sequence(operation.id, operation.child, operation.number); break;
    case CacheOperation::Kind::popn: cache.popn(operation.id, operation.number); break;
    case CacheOperation::Kind::window:
      cache.enable_sliding_window_for_seq(operation.id, operation.number, operation.sink);
      break;
    case CacheOperation::Kind::commit: cache.commit_accepted_token_tree_nodes(ids, leaves); break;
  }
}

// How much a plan does. quick: prompts across a page border, decoding, a ragged batch, a fork, a token tree with its
// commit, chunks, and every method; sliding windows, page borders; some 160 rows. full: more, longer, and past the
// borders of RoPE scaling.
enum class Extent { quick, full };
// `prompts`: lengths in place of the plan's own; the first one is run alone, all of them as a ragged batch, the longest
// in pieces. Lengths beyond what the model has positions for are cut to it; a length given that is, is
// input.position_range.
[[nodiscard]] Plan make_plan(const ModelConfig& config, Extent extent, std::uint64_t seed,
                             const std::vector<Index>& prompts = {});

// What a golden holds results for: prefill and decode; the ragged batch, its decoding, the token tree, its commit and
// what follows; the longest prompt in chunks. Logits are asked for in every row.
[[nodiscard]] Plan plan_of(const golden::HfGolden& golden, const ModelConfig& config);

// The plan with the calls of these methods alone, and those before them in their stories, without which they would not
// mean the same. Throws method.not_in_plan for a method that no call has.
[[nodiscard]] Plan with_methods(const Plan& plan, std::span<const backends::Method> methods);

// The story up to the call of that label, alone: what it takes to run that call again. Throws plan.label.
[[nodiscard]] Plan up_to_call(const Plan& plan, const std::string& label);

// The most positions that a model has for one sequence.
[[nodiscard]] Index longest_sequence(const ModelConfig& config);

[[nodiscard]] Index total_calls(const Plan& plan);
[[nodiscard]] Index total_rows(const Plan& plan);
[[nodiscard]] Index largest_call(const Plan& plan);  // rows

}  // namespace mlbench::harness
