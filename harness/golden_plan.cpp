// The story that a golden tells, as a plan.
#include <algorithm>
#include <numeric>

#include "harness/plan.h"

namespace mlbench::harness {
namespace {

using backends::Method;
using golden::Group;
using golden::StepId;
using Ids = std::vector<std::int32_t>;
using Kind = CacheOperation::Kind;

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

class GoldenPlan {
 public:
  GoldenPlan(const golden::HfGolden& golden, const ModelConfig& config)
      : golden_(golden), in_(golden.inputs), config_(config) {}

  [[nodiscard]] Plan make() {
    batch_of_equals();
    ragged_batch();
    chunked();
    return std::move(plan_);
  }

 private:
  void batch_of_equals() {
    if (!has(Group::prefill) && !has(Group::decode)) return;
    const Index batch = in_.prompt_ids.dim(0), prompt = in_.prompt_ids.dim(1), steps = step_count(Group::decode);
    const std::vector<SeqId> ids = start("prefill and decode", batch);
    const std::vector<Index> lengths(ids.size(), prompt), ones(ids.size(), 1);
    call({{Group::prefill, -1}, 0, false, "prefill"}, Method::batch_verify, ids, lengths,
         to_ids(in_.prompt_ids.values()));
    for (Index k = 0; k < steps; ++k) {
      Ids tokens;
      for (Index b = 0; b < batch; ++b)
        tokens.push_back(static_cast<std::int32_t>(in_.decode_ids.row(b)[static_cast<std::size_t>(k)]));
      call({{Group::decode, k}, 0, false, "decode"}, Method::batch_decode, ids, ones, tokens);
    }
    finish();
  }

  void ragged_batch() {
    // Inputs that no result needs were not checked either.
    if (golden_.batch_prefill_logits == nullptr && !has(Group::batch_prefill) && !has(Group::batch_decode) &&
        !has(Group::tree) && !has(Group::after_commit))
      return;
    const std::vector<Index> lengths = to_indices(in_.ragged_lengths.values());
    const std::vector<SeqId> ids = start("ragged batch", in_.ragged_lengths.size());
    const std::vector<Index> ones(ids.size(), 1);
    Call& prefill = call({{Group::batch_prefill, -1}, 0, false, "batch_prefill"}, Method::batch_verify, ids, lengths,
                         to_ids(in_.ragged_ids.values()));
    if (golden_.batch_prefill_logits != nullptr) {
      prefill.golden->also_selected = true;
      prefill.logit_positions = to_ids(in_.logit_positions.values());
    }
    for (Index k = 0; k < step_count(Group::batch_decode); ++k) {
      call({{Group::batch_decode, k}, 0, false, "batch_decode"}, Method::batch_decode, ids, ones,
           to_ids(in_.batch_decode_ids.row(k)));
    }
    if (has(Group::tree) || has(Group::after_commit)) tree();
    finish();
  }

  void tree() {
    call({{Group::tree, -1}, 0, false, "batch_verify"}, Method::batch_verify, {0}, {in_.tree_ids.size()},
         to_ids(in_.tree_ids.values()))
        .tree_parents = to_indices(in_.tree_parents.values());
    if (!in_.tree_leaf) return;
    before_.push_back({Kind::commit, 0, 0, *in_.tree_leaf});
    for (Index k = 0; k < in_.after_commit_ids.size(); ++k) {
      call({{Group::after_commit, k}, 0, false, "decode"}, Method::decode, {0}, {1},
           to_ids(in_.after_commit_ids.values().subspan(static_cast<std::size_t>(k), 1)));
    }
  }

  // The longest ragged prompt in pieces into an empty cache: the same rows as in the ragged batch. Scaling kinds whose
  // frequencies follow the length of each call make no such promise.
  void chunked() {
    const RopeKind rope = config_.rope.kind;
    if (in_.chunks.size() == 0 || !has(Group::batch_prefill) || rope == RopeKind::dynamic || rope == RopeKind::longrope)
      return;
    const auto lengths = in_.ragged_lengths.values();
    const auto longest = std::ranges::max_element(lengths);
    Index row = std::accumulate(lengths.begin(), longest, Index{0});
    const std::vector<SeqId> ids = start("chunked", 1);
    for (Index k = 0; k < in_.chunks.size(); ++k) {
      const Index length = in_.chunks.values()[static_cast<std::size_t>(k)];
      const auto tokens =
          in_.ragged_ids.values().subspan(static_cast<std::size_t>(row), static_cast<std::size_t>(length));
      Call& piece =
          call({{Group::batch_prefill, -1}, row, true, "prefill"}, Method::batch_verify, ids, {length}, to_ids(tokens));
      piece.label = "chunked/" + std::to_string(k);
      row += length;
    }
    finish();
  }

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

  std::vector<SeqId> start(const char* name, Index sequences) {
    plan_.push_back({name, {}, {}});
    const std::vector<SeqId> ids = count_up(sequences);
    for (const SeqId id : ids) before_.push_back({Kind::add, id, 0, 0});
    plan_.back().limits.max_batch_size = sequences;
    plan_.back().limits.page_size = kPageSize;
    return ids;
  }

  Call& call(GoldenRows rows, Method method, std::vector<SeqId> ids, std::vector<Index> lengths, Ids tokens) {
    Call call;
    call.label = golden::to_string(rows.step);
    call.before = std::move(before_);
    call.method = method;
    call.ids = std::move(ids);
    call.lengths = std::move(lengths);
    call.tokens = std::move(tokens);
    call.golden = std::move(rows);
    before_.clear();
    plan_.back().calls.push_back(std::move(call));
    return plan_.back().calls.back();
  }

  void finish() {
    Story& story = plan_.back();
    story.limits.prefill_chunk_size = std::max<Index>(1, largest_call({story}));
    // Every sequence may leave its last page partly empty.
    story.limits.max_total_seq_len = total_rows({story}) + story.limits.max_batch_size * kPageSize;
    before_.clear();
  }

  const golden::HfGolden& golden_;
  const golden::Inputs& in_;
  const ModelConfig& config_;
  Plan plan_;
  std::vector<CacheOperation> before_;
};

}  // namespace

Plan plan_of(const golden::HfGolden& golden, const ModelConfig& config) { return GoldenPlan(golden, config).make(); }

}  // namespace mlbench::harness
