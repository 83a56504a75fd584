#include "backends/cpu/kv_cache.h"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "backends/cpu/convert.h"
#include "core/error.h"

namespace mlbench::cpu {
namespace {

constexpr Index kExtent = 1024;  // entries, at least a page, at most the cache

}  // namespace

PagedKvCache::PagedKvCache(const KvShape& shape, const KvLimits& limits)
    : shape_(shape),
      page_size_(limits.page_size),
      row_bytes_(static_cast<std::size_t>(shape.width) * size_bytes(shape.dtype)),
      table_(limits, true),
      slots_(std::clamp(kExtent / page_size_, Index{1}, table_.num_pages()) * page_size_) {}

void PagedKvCache::add_sequence(SeqId id) { table_.add_sequence(id); }
void PagedKvCache::remove_sequence(SeqId id) { table_.remove_sequence(id); }

void PagedKvCache::fork_sequence(SeqId parent, SeqId child, Index pos) {
  copy(table_.fork_sequence(parent, child, pos));
}

void PagedKvCache::popn(SeqId id, Index count) { copy(table_.popn(id, count)); }

void PagedKvCache::enable_sliding_window_for_seq(SeqId id, Index window, Index sink) {
  table_.enable_sliding_window(id, window, sink);
}

void PagedKvCache::begin_forward(std::span<const SeqId> ids, std::span<const Index> lengths,
                                 const std::optional<std::vector<Index>>& tree_parents) {
  plan_ = table_.begin_forward(ids, lengths, tree_parents);
  for (const paging::PlannedSequence& sequence : plan_->sequences) {
    for (const Index index : sequence.layout.pages) make_page(index);
  }
}

void PagedKvCache::end_forward() {
  table_.end_forward();
  plan_.reset();
}

void PagedKvCache::commit_accepted_token_tree_nodes(std::span<const SeqId> ids, std::span<const Index> leaves) {
  for (const auto& [from, to] : table_.commit_trees(ids, leaves)) copy(from, to, 1);
}

const paging::ForwardPlan& PagedKvCache::plan() const {
  if (!plan_) throw request_error("kv.state", "there is no forward between begin_forward and end_forward");
  return *plan_;
}

Index PagedKvCache::slot(Index row) const {
  const paging::PlannedRow& planned = plan().rows[static_cast<std::size_t>(row)];
  return plan().sequences[static_cast<std::size_t>(planned.sequence)].layout.slot(planned.entry);
}

void PagedKvCache::append(Index layer, const Heads& keys, const Heads& values) {
  for (Index row = 0; row < keys.rows; ++row) {
    const Index slot = this->slot(row);
    for (Index head = 0; head < shape_.heads; ++head) {
      narrow(shape_.dtype, keys.at(row, head), at(layer, kKey, slot, head), shape_.width);
      narrow(shape_.dtype, values.at(row, head), at(layer, kValue, slot, head), shape_.width);
    }
  }
}

std::vector<std::int32_t> PagedKvCache::get_query_positions() const {
  std::vector<std::int32_t> positions;
  for (const paging::PlannedRow& row : plan().rows) positions.push_back(static_cast<std::int32_t>(row.position));
  return positions;
}

void PagedKvCache::clear() {
  table_.clear();
  plan_.reset();
}

void PagedKvCache::make_page(Index index) {
  const auto i = static_cast<std::size_t>(index * page_size_ / slots_);
  if (extents_.size() <= i) extents_.resize(i + 1);
  const Index rows = shape_.layers * 2 * shape_.heads * slots_;
  extents_[i].reserve(static_cast<std::size_t>(rows) * row_bytes_);
}

// `count` slots that follow each other in a page, in all layers.
void PagedKvCache::copy(Index from_slot, Index to_slot, Index count) {
  for (Index layer = 0; layer < shape_.layers; ++layer) {
    for (const Kind kind : {kKey, kValue}) {
      for (Index head = 0; head < shape_.heads; ++head) {
        std::memcpy(at(layer, kind, to_slot, head), at(layer, kind, from_slot, head),
                    static_cast<std::size_t>(count) * row_bytes_);
      }
    }
  }
}

void PagedKvCache::copy(const std::optional<paging::PageCopy>& copy) {
  if (!copy) return;
  make_page(copy->to);
  this->copy(copy->from * page_size_, copy->to * page_size_, copy->count);
}

void PagedKvCache::check_entries(const char* operation, SeqId id, Index begin, Index end, const ConstTensorView& keys,
                                 const ConstTensorView& values) const {
  if (plan_) {
    throw request_error("kv.state", fmt::format("{}: not between begin_forward and end_forward", operation));
  }
  const Index length = table_.sequence_length(id);
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

// Calls visit(layer, kind, slot, head, offset in bytes into a view of the entries).
template <class Visit>
void PagedKvCache::visit_entries(SeqId id, Index begin, Index end, Visit visit) const {
  const paging::Layout layout = table_.layout(id);
  std::size_t offset = 0;
  for (Index layer = 0; layer < shape_.layers; ++layer) {
    for (Index entry = begin; entry < end; ++entry) {
      for (Index head = 0; head < shape_.heads; ++head, offset += row_bytes_) {
        for (const Kind kind : {kKey, kValue}) visit(layer, kind, layout.slot(entry), head, offset);
      }
    }
  }
}

void PagedKvCache::debug_get_kv(SeqId id, Index begin, Index end, const TensorView& keys,
                                const TensorView& values) const {
  check_entries("debug_get_kv", id, begin, end, keys, values);
  visit_entries(id, begin, end, [&](Index layer, Kind kind, Index slot, Index head, std::size_t offset) {
    std::byte* out = kind == kKey ? keys.data : values.data;
    std::memcpy(out + offset, at(layer, kind, slot, head), row_bytes_);
  });
}

void PagedKvCache::debug_set_kv(SeqId id, Index begin, const ConstTensorView& keys, const ConstTensorView& values) {
  const Index count = keys.shape.size() == 4 ? keys.shape[1] : 0;
  check_entries("debug_set_kv", id, begin, begin + count, keys, values);
  visit_entries(id, begin, begin + count, [&](Index layer, Kind kind, Index slot, Index head, std::size_t offset) {
    const std::byte* in = kind == kKey ? keys.data : values.data;
    std::memcpy(at(layer, kind, slot, head), in + offset, row_bytes_);
  });
}

}  // namespace mlbench::cpu
