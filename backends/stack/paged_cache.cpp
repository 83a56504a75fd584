#include "backends/stack/paged_cache.h"

#include <fmt/format.h>

#include "core/error.h"

namespace mlbench::stack {

KvShape kv_shape(const ModelConfig& config, DType dtype) {
  return {.layers = config.num_layers, .heads = config.num_kv_heads, .width = config.head_dim, .dtype = dtype};
}

PagedCache::PagedCache(const KvShape& shape, const KvLimits& limits)
    : shape_(shape), page_size_(limits.page_size), table_(limits, true) {}

void PagedCache::add_sequence(SeqId id) { table_.add_sequence(id); }
void PagedCache::remove_sequence(SeqId id) { table_.remove_sequence(id); }

void PagedCache::fork_sequence(SeqId parent, SeqId child, Index pos) {
  await(parent);
  copy(table_.fork_sequence(parent, child, pos));
}

void PagedCache::popn(SeqId id, Index count) {
  await(id);
  copy(table_.popn(id, count));
}

void PagedCache::enable_sliding_window_for_seq(SeqId id, Index window, Index sink) {
  table_.enable_sliding_window(id, window, sink);
}

void PagedCache::begin_forward(std::span<const SeqId> ids, std::span<const Index> lengths,
                               const std::optional<std::vector<Index>>& tree_parents) {
  for (const SeqId id : ids) await(id);
  plan_ = table_.begin_forward(ids, lengths, tree_parents);
  looked_at_.reset();
  for (const paging::PlannedSequence& sequence : plan_->sequences) make_pages(sequence.layout.pages);
}

void PagedCache::end_forward() {
  if (plan_) {
    for (const paging::PlannedSend& planned : plan_->sends) send(planned);
  }
  table_.end_forward();
  plan_.reset();
  looked_at_.reset();
}

void PagedCache::commit_accepted_token_tree_nodes(std::span<const SeqId> ids, std::span<const Index> leaves) {
  std::vector<SlotRun> runs;
  for (const auto& [from, to] : table_.commit_trees(ids, leaves)) runs.push_back({from, to, 1});
  if (!runs.empty()) copy_slots(runs);
}

void PagedCache::look_at(Index first, Index count) {
  const paging::ForwardPlan& whole = whole_plan();
  if (first == 0 && count == static_cast<Index>(whole.rows.size())) return looked_at_.reset();
  looked_at_ = paging::rows_of(whole, first, count);
}

const paging::ForwardPlan& PagedCache::plan() const { return looked_at_ ? *looked_at_ : whole_plan(); }

const paging::ForwardPlan& PagedCache::whole_plan() const {
  if (!plan_) throw request_error("kv.state", "there is no forward between begin_forward and end_forward");
  return *plan_;
}

Index PagedCache::slot(Index row) const {
  const paging::PlannedRow& planned = plan().rows[static_cast<std::size_t>(row)];
  return plan().sequences[static_cast<std::size_t>(planned.sequence)].layout.slot(planned.entry);
}

std::vector<std::int32_t> PagedCache::get_query_positions() const {
  std::vector<std::int32_t> positions;
  for (const paging::PlannedRow& row : whole_plan().rows) positions.push_back(static_cast<std::int32_t>(row.position));
  return positions;
}

void PagedCache::clear() {
  table_.clear();
  plan_.reset();
  looked_at_.reset();
}

void PagedCache::copy(const std::optional<paging::PageCopy>& copy) {
  if (!copy) return;
  const Index to[] = {copy->to};
  make_pages(to);
  const SlotRun run[] = {{copy->from * page_size_, copy->to * page_size_, copy->count}};
  copy_slots(run);
}

std::vector<Index> PagedCache::slots_of(SeqId id, Index begin, Index end) const {
  const paging::Layout layout = table_.layout(id);
  std::vector<Index> slots;
  for (Index entry = begin; entry < end; ++entry) slots.push_back(layout.slot(entry));
  return slots;
}

void PagedCache::check_entries(const char* operation, SeqId id, Index begin, Index end, const ConstTensorView& keys,
                               const ConstTensorView& values) const {
  if (plan_) {
    throw request_error("kv.state", fmt::format("{}: not between begin_forward and end_forward", operation));
  }
  const Index length = table_.sequence_length(id);
  if (table_.waits(id)) {
    throw request_error("kv.state", fmt::format("{}: entries of sequence {} are still to come from another cache: "
                                                "begin_forward waits for them",
                                                operation, id));
  }
  if (begin < 0 || end <= begin || end > length) {
    throw request_error("kv.bad_argument", fmt::format("{}: entries [{}, {}) of sequence {}, which has {}", operation,
                                                       begin, end, id, length));
  }
  const Shape expected = {shape_.layers, end - begin, shape_.heads, shape_.width};
  for (const ConstTensorView* view : {&keys, &values}) {
    if (view->shape == expected && view->dtype == shape_.dtype) continue;
    throw request_error("input.shape", fmt::format("{}: expected {} {}, got {} {}", operation, name(shape_.dtype),
                                                   to_string(expected), name(view->dtype), to_string(view->shape)));
  }
}

void PagedCache::debug_get_kv(SeqId id, Index begin, Index end, const TensorView& keys,
                              const TensorView& values) const {
  check_entries("debug_get_kv", id, begin, end, keys, values);
  read_entries(slots_of(id, begin, end), keys.data, values.data);
}

void PagedCache::debug_set_kv(SeqId id, Index begin, const ConstTensorView& keys, const ConstTensorView& values) {
  const Index count = keys.shape.size() == 4 ? keys.shape[1] : 0;
  check_entries("debug_set_kv", id, begin, begin + count, keys, values);
  write_entries(slots_of(id, begin, begin + count), keys.data, values.data);
}

}  // namespace mlbench::stack
