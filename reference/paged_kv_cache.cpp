#include "reference/paged_kv_cache.h"

#include <algorithm>
#include <limits>

#include <fmt/format.h>

#include "reference/kv_exchange.h"

namespace mlbench::ref {
namespace {

KvShape with_effective_mode(KvShape shape, const KvLimits& limits) {
  if (limits.support_sliding_window && shape.rope_mode == RopeMode::normal) shape.rope_mode = RopeMode::in_line;
  return shape;
}

}  // namespace

PagedKvCache::PagedKvCache(const KvShape& shape, const KvLimits& limits)
    : shape_(with_effective_mode(shape, limits)),
      limits_(limits),
      table_(limits, !limits.support_sliding_window && shape_.rope_mode != RopeMode::in_line) {}

void PagedKvCache::add_sequence(SeqId id) { table_.add_sequence(id); }
void PagedKvCache::remove_sequence(SeqId id) { table_.remove_sequence(id); }

// Where values are concerned too, the table changes last: whatever fails before that, memory for a page included, has
// changed nothing that a sequence can see.

void PagedKvCache::fork_sequence(SeqId parent, SeqId child, Index pos) {
  PageTable next = table_;
  if (const auto shared_page = next.fork_sequence(parent, child, pos)) copy(*shared_page);
  table_ = std::move(next);
}

void PagedKvCache::popn(SeqId id, Index count) {
  PageTable next = table_;
  if (const auto shared_page = next.popn(id, count)) copy(*shared_page);
  table_ = std::move(next);
}

void PagedKvCache::enable_sliding_window_for_seq(SeqId id, Index window, Index sink) {
  table_.enable_sliding_window(id, window, sink);
}

void PagedKvCache::begin_forward(std::span<const SeqId> ids, std::span<const Index> lengths,
                                 const std::optional<std::vector<Index>>& tree_parents) {
  PageTable next = table_;
  ForwardPlan plan = next.begin_forward(ids, lengths, tree_parents);
  for (const PlannedSequence& sequence : plan.sequences) {
    for (const Index slot : sequence.slots) make_page(slot / limits_.page_size);
  }
  table_ = std::move(next);
  plan_ = std::move(plan);
}

void PagedKvCache::end_forward() {
  if (plan_) {
    for (const PlannedSend& send : plan_->sends)
      exchange_->receiver_of(*this, send.receiver_offset).take(*this, send.entries);
  }
  table_.end_forward();
  plan_.reset();
}

void PagedKvCache::commit_accepted_token_tree_nodes(std::span<const SeqId> ids, std::span<const Index> leaves) {
  for (const SlotMove& m : table_.commit_trees(ids, leaves)) move(m);
}

std::vector<std::int32_t> PagedKvCache::get_query_positions() const {
  std::vector<std::int32_t> positions;
  for (const PlannedRow& row : plan().rows) positions.push_back(static_cast<std::int32_t>(row.position));
  return positions;
}

SlotRuns PagedKvCache::disagg_prepare_recv(SeqId id, Index count) {
  PageTable next = table_;
  SlotRuns slots = next.disagg_prepare_recv(id, count);
  for (const Index slot : slots.slots()) make_page(slot / limits_.page_size);
  table_ = std::move(next);
  return slots;
}

void PagedKvCache::disagg_mark_send(SeqId id, Index begin, const SlotRuns& slots, Index receiver_offset) {
  if (exchange_ == nullptr) throw request_error("kv.state", "disagg_mark_send: the cache has joined no exchange");
  const PagedKvCache& receiver = exchange_->receiver_of(*this, receiver_offset);
  const Index there = receiver.table_.num_pages() * limits_.page_size;
  if (slots.largest() >= there) {
    throw request_error("kv.bad_argument", fmt::format("disagg_mark_send: slot {}: the receiver has slots 0..{}",
                                                       slots.largest(), there - 1));
  }
  table_.disagg_mark_send(id, begin, slots, receiver_offset);
}

void PagedKvCache::take(const PagedKvCache& sender, std::span<const SlotSend> entries) {
  std::vector<Index> slots;
  for (const SlotSend& entry : entries) slots.push_back(entry.to);
  if (!table_.receive(slots)) return;
  for (const SlotSend& entry : entries) {
    for (Index layer = 0; layer < shape_.num_layers; ++layer) {
      for (Index head = 0; head < shape_.num_kv_heads; ++head)
        store(layer, entry.to, head, sender.key(layer, entry.from, head), sender.value(layer, entry.from, head));
    }
  }
}

void PagedKvCache::clear() {
  table_.clear();
  plan_.reset();
}

const ForwardPlan& PagedKvCache::plan() const {
  if (!plan_) throw request_error("kv.state", "a forward is possible only between begin_forward and end_forward");
  return *plan_;
}

std::vector<Index> PagedKvCache::slots_of(const char* operation, SeqId id, Index begin, Index end) const {
  if (table_.in_forward()) {
    throw request_error("kv.state", fmt::format("{}: not between begin_forward and end_forward", operation));
  }
  const std::vector<Index> slots = table_.slots(id);
  if (table_.waits(id))
    throw request_error("kv.state", fmt::format("{}: sequence {} waits for entries from another cache", operation, id));
  if (begin < 0 || begin >= end || end > static_cast<Index>(slots.size())) {
    throw request_error("kv.bad_argument",
                        fmt::format("{}: entries [{}, {}) of sequence {}: 0 <= begin < end <= {} must hold", operation,
                                    begin, end, id, slots.size()));
  }
  return {slots.begin() + begin, slots.begin() + end};
}

PagedKvCache::Entries PagedKvCache::debug_get_kv(SeqId id, Index begin, Index end) const {
  const std::vector<Index> slots = slots_of("debug_get_kv", id, begin, end);
  const Shape shape{shape_.num_layers, end - begin, shape_.num_kv_heads, shape_.head_dim};
  Entries entries{Tensor(shape), Tensor(shape)};
  Index row = 0;
  for (Index layer = 0; layer < shape_.num_layers; ++layer) {
    for (const Index slot : slots) {
      for (Index head = 0; head < shape_.num_kv_heads; ++head, ++row) {
        std::ranges::copy(key(layer, slot, head), entries.keys.row(row).begin());
        std::ranges::copy(value(layer, slot, head), entries.values.row(row).begin());
      }
    }
  }
  return entries;
}

void PagedKvCache::debug_set_kv(SeqId id, Index begin, const Entries& entries) {
  const Index count = entries.keys.shape().size() == 4 ? entries.keys.dim(1) : 0;
  const Shape shape{shape_.num_layers, count, shape_.num_kv_heads, shape_.head_dim};
  if (entries.keys.shape() != shape || entries.values.shape() != shape) {
    throw request_error(
        "input.shape",
        fmt::format("debug_set_kv: expected keys and values [{}, n, {}, {}], got {} and {}", shape[0], shape[2],
                    shape[3], to_string(entries.keys.shape()), to_string(entries.values.shape())));
  }
  const std::vector<Index> slots = slots_of("debug_set_kv", id, begin, begin + count);
  Index row = 0;
  for (Index layer = 0; layer < shape_.num_layers; ++layer) {
    for (const Index slot : slots) {
      for (Index head = 0; head < shape_.num_kv_heads; ++head, ++row) {
        store(layer, slot, head, entries.keys.row(row), entries.values.row(row));
      }
    }
  }
}

Index PagedKvCache::offset(Index layer, Kind kind, Index slot, Index head) const {
  return (((layer * 2 + kind) * shape_.num_kv_heads + head) * limits_.page_size + slot % limits_.page_size) *
         shape_.head_dim;
}

double* PagedKvCache::at(Index layer, Kind kind, Index slot, Index head) const {
  return pages_[static_cast<std::size_t>(slot / limits_.page_size)].get() + offset(layer, kind, slot, head);
}

std::span<const double> PagedKvCache::key(Index layer, Index slot, Index head) const {
  return {at(layer, kKey, slot, head), static_cast<std::size_t>(shape_.head_dim)};
}

std::span<const double> PagedKvCache::value(Index layer, Index slot, Index head) const {
  return {at(layer, kValue, slot, head), static_cast<std::size_t>(shape_.head_dim)};
}

void PagedKvCache::store(Index layer, Index slot, Index head, std::span<const double> key,
                         std::span<const double> value) {
  std::ranges::copy(key, at(layer, kKey, slot, head));
  std::ranges::copy(value, at(layer, kValue, slot, head));
}

void PagedKvCache::make_page(Index index) {
  if (static_cast<Index>(pages_.size()) <= index) pages_.resize(static_cast<std::size_t>(index) + 1);
  Page& page = pages_[static_cast<std::size_t>(index)];
  if (page) return;
  const auto size =
      static_cast<std::size_t>(shape_.num_layers * 2 * shape_.num_kv_heads * limits_.page_size * shape_.head_dim);
  page = std::make_unique<double[]>(size);
  // A slot that is read before it was written shows.
  std::fill_n(page.get(), size, std::numeric_limits<double>::quiet_NaN());
}

void PagedKvCache::copy(const PageCopy& copy) {
  make_page(copy.to);
  for (Index i = 0; i < copy.count; ++i) {
    move({copy.from * limits_.page_size + i, copy.to * limits_.page_size + i});
  }
}

void PagedKvCache::move(const SlotMove& move) {
  for (Index layer = 0; layer < shape_.num_layers; ++layer) {
    for (Index head = 0; head < shape_.num_kv_heads; ++head) {
      store(layer, move.to, head, key(layer, move.from, head), value(layer, move.from, head));
    }
  }
}

}  // namespace mlbench::ref
