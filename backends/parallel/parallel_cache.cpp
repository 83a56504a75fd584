#include "backends/parallel/parallel_cache.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/error.h"

namespace mlbench::parallel {
namespace {

using KvCache = backends::KvCache;

// Entries [L, n, Hkv, d] of the whole, and the layers and heads of them that a worker has.
class Piece {
 public:
  Piece(const Team& team, Index worker, const Shape& whole, DType dtype)
      : layers_(team.layers(team.stage_of(worker))),
        heads_(whole[2] / team.split().tensor_parallel),
        first_head_(team.shard_of(worker) * heads_),
        whole_(whole),
        row_bytes_(static_cast<std::size_t>(heads_ * whole[3]) * size_bytes(dtype)),
        whole_row_bytes_(static_cast<std::size_t>(whole[2] * whole[3]) * size_bytes(dtype)),
        offset_(static_cast<std::size_t>(first_head_ * whole[3]) * size_bytes(dtype)) {}

  [[nodiscard]] Shape shape() const { return {layers_.count, whole_[1], heads_, whole_[3]}; }

  void take_from(const std::byte* whole, std::byte* part) const {
    each_row(
        [&](std::size_t of_whole, std::size_t of_part) { std::copy_n(whole + of_whole, row_bytes_, part + of_part); });
  }
  void put_into(std::byte* whole, const std::byte* part) const {
    each_row(
        [&](std::size_t of_whole, std::size_t of_part) { std::copy_n(part + of_part, row_bytes_, whole + of_whole); });
  }

 private:
  template <class Visit>
  void each_row(const Visit& visit) const {
    const Index rows = layers_.count * whole_[1], before = layers_.first * whole_[1];
    for (Index row = 0; row < rows; ++row) {
      visit(static_cast<std::size_t>(before + row) * whole_row_bytes_ + offset_,
            static_cast<std::size_t>(row) * row_bytes_);
    }
  }

  LayerRange layers_;
  Index heads_, first_head_;
  Shape whole_;
  std::size_t row_bytes_, whole_row_bytes_, offset_;
};

}  // namespace

ParallelCache::ParallelCache(std::shared_ptr<Team> team, const KvLimits& limits)
    : team_(std::move(team)), caches_(static_cast<std::size_t>(team_->workers())) {
  team_->all("create_paged_kv_cache", [&](Index worker) {
    caches_[static_cast<std::size_t>(worker)] = team_->session(worker).create_paged_kv_cache(limits);
  });
}

// On the threads that use them.
ParallelCache::~ParallelCache() {
  try {
    team_->all("destroy_cache", [this](Index worker) { caches_[static_cast<std::size_t>(worker)].reset(); });
  } catch (const std::exception&) {  // the next call will tell
  }
}

template <class Change>
void ParallelCache::change(std::string_view doing, const Change& change) {
  team_->all(doing, [&](Index worker) { change(of(worker)); });
}

template <class Ask>
auto ParallelCache::answer(std::string_view doing, const Ask& ask) const {
  using Answer = decltype(ask(*caches_[0]));
  std::vector<std::optional<Answer>> answers(caches_.size());
  team_->all(doing, [&](Index worker) {
    const auto at = static_cast<std::size_t>(worker);
    answers[at] = ask(*caches_[at]);
  });
  for (std::size_t worker = 1; worker < answers.size(); ++worker) {
    if (*answers[worker] != *answers[0])
      team_->differ(doing, 0, static_cast<Index>(worker), "what they answer: must be the same");
  }
  return *answers[0];
}

void ParallelCache::add_sequence(SeqId id) {
  change("add_sequence", [&](KvCache& cache) { cache.add_sequence(id); });
}
void ParallelCache::remove_sequence(SeqId id) {
  change("remove_sequence", [&](KvCache& cache) { cache.remove_sequence(id); });
}
void ParallelCache::fork_sequence(SeqId parent, SeqId child, Index pos) {
  change("fork_sequence", [&](KvCache& cache) { cache.fork_sequence(parent, child, pos); });
}
void ParallelCache::popn(SeqId id, Index count) {
  change("popn", [&](KvCache& cache) { cache.popn(id, count); });
}
void ParallelCache::enable_sliding_window_for_seq(SeqId id, Index window, Index sink) {
  change("enable_sliding_window_for_seq",
         [&](KvCache& cache) { cache.enable_sliding_window_for_seq(id, window, sink); });
}
void ParallelCache::begin_forward(std::span<const SeqId> ids, std::span<const Index> lengths,
                                  const std::optional<std::vector<Index>>& tree_parents) {
  change("begin_forward", [&](KvCache& cache) { cache.begin_forward(ids, lengths, tree_parents); });
}
void ParallelCache::end_forward() {
  change("end_forward", [](KvCache& cache) { cache.end_forward(); });
}
void ParallelCache::commit_accepted_token_tree_nodes(std::span<const SeqId> ids, std::span<const Index> leaves) {
  change("commit_accepted_token_tree_nodes",
         [&](KvCache& cache) { cache.commit_accepted_token_tree_nodes(ids, leaves); });
}
std::vector<std::int32_t> ParallelCache::get_query_positions() const {
  return answer("get_query_positions", [](const KvCache& cache) { return cache.get_query_positions(); });
}

void ParallelCache::clear() {
  change("clear", [](KvCache& cache) { cache.clear(); });
}
bool ParallelCache::empty() const {
  return answer("empty", [](const KvCache& cache) { return cache.empty(); });
}
Index ParallelCache::num_available_pages() const {
  return answer("num_available_pages", [](const KvCache& cache) { return cache.num_available_pages(); });
}
Index ParallelCache::total_sequence_length() const {
  return answer("total_sequence_length", [](const KvCache& cache) { return cache.total_sequence_length(); });
}
Index ParallelCache::sequence_length(SeqId id) const {
  return answer("sequence_length", [&](const KvCache& cache) { return cache.sequence_length(id); });
}

// What the workers check of it they see in pieces of their own.
void ParallelCache::require_entries(const char* doing, const ConstTensorView& keys,
                                    const ConstTensorView& values) const {
  const ModelConfig& config = team_->config();
  for (const ConstTensorView* view : {&keys, &values}) {
    const Index count = view->shape.size() == 4 ? view->shape[1] : 0;
    const Shape expected = {config.num_layers, count, config.num_kv_heads, config.head_dim};
    if (view->shape == expected && view->shape == keys.shape && view->dtype == keys.dtype) continue;
    throw request_error("input.shape",
                        fmt::format("{}: expected {}, got {}", doing, to_string(expected), to_string(view->shape)));
  }
}

void ParallelCache::debug_get_kv(SeqId id, Index begin, Index end, const TensorView& keys,
                                 const TensorView& values) const {
  require_entries("debug_get_kv", keys, values);
  std::vector<HostTensor> all_keys(caches_.size()), all_values(caches_.size());
  team_->all("debug_get_kv", [&](Index worker) {
    const auto at = static_cast<std::size_t>(worker);
    const Piece piece(*team_, worker, keys.shape, keys.dtype);
    all_keys[at] = HostTensor(keys.dtype, piece.shape());
    all_values[at] = HostTensor(values.dtype, piece.shape());
    caches_[at]->debug_get_kv(id, begin, end, all_keys[at].view(), all_values[at].view());
    if (team_->replica_of(worker) > 0) return;
    piece.put_into(keys.data, all_keys[at].bytes().data());
    piece.put_into(values.data, all_values[at].bytes().data());
  });
  const Index of_replica = team_->split().workers();
  for (Index worker = of_replica; worker < team_->workers(); ++worker) {
    const auto at = static_cast<std::size_t>(worker), first = static_cast<std::size_t>(worker % of_replica);
    team_->require_same("debug_get_kv", "their keys", worker % of_replica, all_keys[first].bytes(), worker,
                        all_keys[at].bytes());
    team_->require_same("debug_get_kv", "their values", worker % of_replica, all_values[first].bytes(), worker,
                        all_values[at].bytes());
  }
}

void ParallelCache::debug_set_kv(SeqId id, Index begin, const ConstTensorView& keys, const ConstTensorView& values) {
  require_entries("debug_set_kv", keys, values);
  team_->all("debug_set_kv", [&](Index worker) {
    const Piece piece(*team_, worker, keys.shape, keys.dtype);
    HostTensor own_keys(keys.dtype, piece.shape()), own_values(values.dtype, piece.shape());
    piece.take_from(keys.data, own_keys.bytes().data());
    piece.take_from(values.data, own_values.bytes().data());
    of(worker).debug_set_kv(id, begin, own_keys.view(), own_values.view());
  });
}

SlotRuns ParallelCache::disagg_prepare_recv(SeqId id, Index count) {
  return answer("disagg_prepare_recv", [&](KvCache& cache) { return cache.disagg_prepare_recv(id, count); });
}

void ParallelCache::disagg_mark_send(SeqId id, Index begin, const SlotRuns& slots, Index receiver_offset) {
  team_->all("disagg_mark_send", [&](Index worker) {
    const Index to = receiver_offset + team_->replica_of(worker) * team_->split().workers();
    of(worker).disagg_mark_send(id, begin, slots, to);
  });
}

}  // namespace mlbench::parallel
