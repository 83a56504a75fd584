#include "backends/parallel/disaggregated_cache.h"

#include <algorithm>
#include <numeric>
#include <set>

#include <fmt/format.h>

#include "core/error.h"

namespace mlbench::parallel {
namespace {

using backends::Method;

Index sum(std::span<const Index> values) { return std::accumulate(values.begin(), values.end(), Index{0}); }

Error bad_argument(const std::string& message) { return request_error("kv.bad_argument", message); }
Error wrong_time(const std::string& message) { return request_error("kv.state", message); }

KvLimits transferable(const KvLimits& limits) {
  if (!limits.support_sliding_window) return limits;
  throw request_error("kv.unsupported",
                      "support_sliding_window: prefill and decode apart: a window moves entries, which are then not "
                      "where they were sent");
}

// A sequence may leave its last page partly empty where the other instance's is full.
KvLimits of_prefill(KvLimits limits) {
  limits.max_total_seq_len += limits.max_batch_size * limits.page_size;
  return limits;
}

}  // namespace

DisaggregatedCache::DisaggregatedCache(std::shared_ptr<backends::Session> prefill,
                                       std::shared_ptr<backends::Session> decode, Index receiver_offset,
                                       ModelConfig config, const KvLimits& limits)
    : prefill_session_(std::move(prefill)),
      decode_session_(std::move(decode)),
      prefill_(prefill_session_->create_paged_kv_cache(of_prefill(transferable(limits)))),
      decode_(decode_session_->create_paged_kv_cache(limits)),
      receiver_offset_(receiver_offset),
      config_(std::move(config)),
      limits_(limits) {}

const DisaggregatedCache::Sequence& DisaggregatedCache::find(SeqId id) const {
  if (const auto it = sequences_.find(id); it != sequences_.end()) return it->second;
  throw request_error("kv.unknown_seq", fmt::format("there is no sequence {}", id));
}
DisaggregatedCache::Sequence& DisaggregatedCache::find(SeqId id) {
  return const_cast<Sequence&>(std::as_const(*this).find(id));  // what *this owns is not const here
}

void DisaggregatedCache::require_idle(const char* operation) const {
  if (call_) throw wrong_time(fmt::format("{}: not between begin_forward and end_forward", operation));
}

// ---- sequences: what the decode instance refuses is refused before the other hears of it ----

void DisaggregatedCache::add_sequence(SeqId id) {
  require_idle("add_sequence");
  decode_->add_sequence(id);
  prefill_->add_sequence(id);
  sequences_[id] = {};
}

void DisaggregatedCache::remove_sequence(SeqId id) {
  require_idle("remove_sequence");
  decode_->remove_sequence(id);
  prefill_->remove_sequence(id);
  sequences_.erase(id);
}

void DisaggregatedCache::fork_sequence(SeqId parent, SeqId child, Index pos) {
  require_idle("fork_sequence");
  decode_->fork_sequence(parent, child, pos);
  const Sequence& from = find(parent);
  const Index length = pos < 0 ? from.committed() : pos;
  Sequence fork{.at_prefill = std::min(length, from.at_prefill), .owed = {}, .parents = {}, .nodes = {}};
  fork.owed.assign(from.owed.begin(), from.owed.begin() + (length - fork.at_prefill));
  if (fork.at_prefill > 0) {
    prefill_->fork_sequence(parent, child, fork.at_prefill);
  } else {
    prefill_->add_sequence(child);
  }
  sequences_[child] = std::move(fork);
}

void DisaggregatedCache::popn(SeqId id, Index count) {
  require_idle("popn");
  decode_->popn(id, count);
  Sequence& sequence = find(id);
  // The youngest go first.
  const auto drop = [&count](auto& from) {
    const auto some = std::min<std::size_t>(from.size(), static_cast<std::size_t>(count));
    from.resize(from.size() - some);
    count -= static_cast<Index>(some);
  };
  drop(sequence.nodes);
  sequence.parents.resize(sequence.nodes.size());
  drop(sequence.owed);
  if (count > 0) prefill_->popn(id, count);
  sequence.at_prefill -= count;
}

void DisaggregatedCache::enable_sliding_window_for_seq(SeqId id, Index window, Index sink) {
  decode_->enable_sliding_window_for_seq(id, window, sink);  // refuses it: the cache was made without
}

void DisaggregatedCache::commit_accepted_token_tree_nodes(std::span<const SeqId> ids, std::span<const Index> leaves) {
  require_idle("commit_accepted_token_tree_nodes");
  decode_->commit_accepted_token_tree_nodes(ids, leaves);
  for (std::size_t s = 0; s < ids.size(); ++s) {
    Sequence& sequence = find(ids[s]);
    const auto first = static_cast<std::ptrdiff_t>(sequence.owed.size());
    for (Index node = leaves[s]; node >= 0; node = sequence.parents[static_cast<std::size_t>(node)])
      sequence.owed.push_back(sequence.nodes[static_cast<std::size_t>(node)]);
    std::reverse(sequence.owed.begin() + first, sequence.owed.end());
    sequence.parents.clear();
    sequence.nodes.clear();
  }
}

void DisaggregatedCache::clear() {
  decode_->clear();
  prefill_->clear();
  sequences_.clear();
  call_.reset();
}

// ---- calls ----

// What begin_forward of the decode instance would say, which hears of each row in its turn.
void DisaggregatedCache::require_prompts(std::span<const SeqId> ids, std::span<const Index> lengths) const {
  if (ids.size() != lengths.size()) {
    throw bad_argument(fmt::format("begin_forward: {} sequences and {} lengths: as many of each, at least one",
                                   ids.size(), lengths.size()));
  }
  if (std::set<SeqId>(ids.begin(), ids.end()).size() != ids.size())
    throw bad_argument("begin_forward: a sequence is named twice");
  if (sum(lengths) > limits_.prefill_chunk_size) {
    throw request_error("kv.chunk_too_large", fmt::format("begin_forward: more than {} rows, prefill_chunk_size",
                                                          limits_.prefill_chunk_size));
  }
  const auto pages_for = [&](Index entries) { return (entries + limits_.page_size - 1) / limits_.page_size; };
  Index pages = 0;
  for (std::size_t s = 0; s < ids.size(); ++s) {
    if (lengths[s] < 1) throw bad_argument(fmt::format("begin_forward: length {}: must be >= 1", lengths[s]));
    const Sequence& sequence = find(ids[s]);
    if (!sequence.nodes.empty()) {
      throw request_error("kv.uncommitted_tree",
                          fmt::format("begin_forward: sequence {} has a token tree: commit it first", ids[s]));
    }
    pages += pages_for(sequence.committed() + lengths[s]) - pages_for(sequence.committed());
  }
  if (const Index free = decode_->num_available_pages(); pages > free)
    throw request_error("kv.full", fmt::format("begin_forward: {} pages are needed, {} are free", pages, free));
}

void DisaggregatedCache::begin_forward(std::span<const SeqId> ids, std::span<const Index> lengths,
                                       const std::optional<std::vector<Index>>& tree_parents) {
  require_idle("begin_forward");
  const bool decoding = tree_parents.has_value() || std::ranges::none_of(lengths, [](Index n) { return n > 1; });
  if (decoding) {
    decode_->begin_forward(ids, lengths, tree_parents);
  } else {
    require_prompts(ids, lengths);
  }
  Call call;
  call.ids.assign(ids.begin(), ids.end());
  call.lengths.assign(lengths.begin(), lengths.end());
  call.parents = tree_parents;
  call.decoding = call.at_decode = decoding;
  call_ = std::move(call);
}

Index DisaggregatedCache::rows() const {
  if (!call_) throw wrong_time("there is no forward between begin_forward and end_forward");
  return sum(call_->lengths);
}

bool DisaggregatedCache::is_decoding() const {
  (void)rows();
  return call_->decoding;
}

std::vector<std::int32_t> DisaggregatedCache::get_query_positions() const {
  if (is_decoding()) return decode_->get_query_positions();
  std::vector<std::int32_t> out;
  for (std::size_t s = 0; s < call_->ids.size(); ++s) {
    // Those of the prefill instance count already once it was told.
    const Index told = call_->shared ? call_->lengths[s] - rows_at_decode(s) : 0;
    const Index begin = find(call_->ids[s]).committed() - told;
    for (Index i = 0; i < call_->lengths[s]; ++i) out.push_back(static_cast<std::int32_t>(begin + i));
  }
  return out;
}

Index DisaggregatedCache::rows_at_decode(std::size_t sequence) const {
  const Index length = call_->lengths[sequence];
  if (call_->decoding) return length;
  return length == 1 || call_->last == LastRow::decode ? 1 : 0;
}

const SharedRows& DisaggregatedCache::share_out(LastRow last) {
  if (call_->shared) return *call_->shared;
  call_->last = last;
  SharedRows shared;
  std::vector<SeqId> ids;
  std::vector<Index> counts;
  Index row = 0;
  for (std::size_t s = 0; s < call_->ids.size(); ++s) {
    const Index count = call_->lengths[s] - rows_at_decode(s);
    for (Index i = 0; i < call_->lengths[s]; ++i, ++row) (i < count ? shared.prefill : shared.decode).push_back(row);
    if (count == 0) continue;
    ids.push_back(call_->ids[s]);
    counts.push_back(count);
    bring_up(ids.back());
    Sequence& sequence = find(ids.back());
    const SlotRuns slots = decode_->disagg_prepare_recv(ids.back(), count);
    prefill_->disagg_mark_send(ids.back(), sequence.at_prefill, slots, receiver_offset_);
    sequence.at_prefill += count;
  }
  prefill_->begin_forward(ids, counts, std::nullopt);
  call_->at_prefill = true;
  call_->shared = std::move(shared);
  // The prefill instance's part by part, these rows wait for none of its entries: they are of other sequences.
  if (last == LastRow::prefill) begin_decode();
  return *call_->shared;
}

void DisaggregatedCache::end_prefill() {
  prefill_->end_forward();
  call_->at_prefill = false;
}

void DisaggregatedCache::begin_decode() {
  std::vector<SeqId> ids;
  for (std::size_t s = 0; s < call_->ids.size(); ++s) {
    if (rows_at_decode(s) > 0) ids.push_back(call_->ids[s]);
  }
  if (ids.empty()) return;
  decode_->begin_forward(ids, std::vector<Index>(ids.size(), 1), std::nullopt);
  call_->at_decode = true;
}

void DisaggregatedCache::keep_rows(const HostTensor& x) {
  const Index width = x.shape().back();
  const std::size_t bytes = static_cast<std::size_t>(width) * size_bytes(x.dtype());
  for (std::size_t first = 0; first < x.bytes().size(); first += bytes) {
    HostTensor row(x.dtype(), {1, width});
    std::ranges::copy(x.bytes().subspan(first, bytes), row.bytes().begin());
    call_->rows.push_back(std::make_shared<const HostTensor>(std::move(row)));
  }
}

void DisaggregatedCache::end_forward() {
  if (!call_) throw wrong_time("end_forward: there was no begin_forward");
  if (!call_->decoding && !call_->shared)
    throw wrong_time("end_forward: a prompt was announced and not computed: a forward comes first");
  if (call_->at_prefill) end_prefill();
  if (call_->at_decode) decode_->end_forward();
  const Call done = std::move(*call_);
  call_.reset();
  std::size_t next = 0;
  for (std::size_t s = 0; s < done.ids.size(); ++s) {
    Sequence& sequence = find(done.ids[s]);
    const bool alone = done.lengths[s] == 1;
    const Index kept = done.decoding ? done.lengths[s] : alone || done.last == LastRow::decode ? 1 : 0;
    std::vector<Row>& to = done.parents ? sequence.nodes : sequence.owed;
    for (Index i = 0; i < kept; ++i, ++next) {
      to.push_back(next < done.rows.size() ? done.rows[next] : nullptr);
      if (done.parents) sequence.parents.push_back((*done.parents)[next]);
    }
    if (kept == 0) decode_->popn(done.ids[s], 0);  // waits for what was sent
  }
}

// ---- the prefill instance's part ----

void DisaggregatedCache::bring_up(SeqId id) {
  Sequence& sequence = find(id);
  const Index begin = sequence.at_prefill, end = sequence.committed();
  const auto owed = std::span<const Row>(sequence.owed);
  for (std::size_t first = 0; first < owed.size(); first += static_cast<std::size_t>(limits_.prefill_chunk_size)) {
    const std::size_t count = std::min(owed.size() - first, static_cast<std::size_t>(limits_.prefill_chunk_size));
    compute_owed(id, owed.subspan(first, count));
  }
  if (std::ranges::any_of(owed, [](const Row& row) { return row == nullptr; })) copy_from_decode(id, begin, end);
  sequence.owed.clear();
  sequence.at_prefill = end;
}

void DisaggregatedCache::compute_owed(SeqId id, std::span<const Row> rows) {
  const auto count = static_cast<Index>(rows.size());
  HostTensor x(prefill_session_->arithmetic().activations, {1, count, config_.hidden_size});
  const std::size_t bytes = x.bytes().size() / rows.size();
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (rows[i] != nullptr) std::ranges::copy(rows[i]->bytes(), x.bytes().subspan(i * bytes, bytes).begin());
  }
  HostTensor out(x.dtype(), x.shape());
  const SeqId ids[] = {id};
  const Index lengths[] = {count};
  prefill_->begin_forward(ids, lengths, std::nullopt);
  prefill_session_->forward(Method::prefill_to_last_hidden_states, x.view(), {}, *prefill_, out.view(), nullptr);
  prefill_session_->synchronize();
  prefill_->end_forward();
}

void DisaggregatedCache::copy_from_decode(SeqId id, Index begin, Index end) {
  const DType type = decode_session_->arithmetic().kv_cache;
  HostTensor keys(type, {config_.num_layers, end - begin, config_.num_kv_heads, config_.head_dim}), values = keys;
  decode_->debug_get_kv(id, begin, end, keys.view(), values.view());
  prefill_->debug_set_kv(id, begin, keys.view(), values.view());
}

void DisaggregatedCache::debug_get_kv(SeqId id, Index begin, Index end, const TensorView& keys,
                                      const TensorView& values) const {
  require_idle("debug_get_kv");
  decode_->debug_get_kv(id, begin, end, keys, values);
}

void DisaggregatedCache::debug_set_kv(SeqId id, Index begin, const ConstTensorView& keys,
                                      const ConstTensorView& values) {
  require_idle("debug_set_kv");
  if (!find(id).nodes.empty()) {
    throw request_error("kv.uncommitted_tree",
                        fmt::format("debug_set_kv: sequence {} has a token tree, which is one instance's", id));
  }
  decode_->debug_set_kv(id, begin, keys, values);
  bring_up(id);
  prefill_->debug_set_kv(id, begin, keys, values);
}

}  // namespace mlbench::parallel
