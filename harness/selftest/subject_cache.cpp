#include "harness/selftest/subject_cache.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/error.h"

namespace mlbench::selftest {

SubjectCache::SubjectCache(const ModelConfig& config, DType type, const KvLimits& limits, Planted planted)
    : layers_(config.num_layers),
      heads_(config.num_kv_heads),
      width_(config.head_dim),
      type_(type),
      limits_(limits),
      in_line_(limits.support_sliding_window && config.rope.kind != RopeKind::none),
      planted_(std::move(planted)),
      table_(limits, !in_line_) {}

// ---- sequences ----

void SubjectCache::remove_sequence(SeqId id) {
  const Index before = table_.num_available_pages();
  table_.remove_sequence(id);
  const Index freed = table_.num_available_pages() - before;
  if (freed > 0 && planted_.at(Mistake::remove_leaks_pages)) leaked_ += freed;
}

void SubjectCache::fork_sequence(SeqId parent, SeqId child, Index pos) {
  std::optional<paging::PageCopy> page = table_.fork_sequence(parent, child, pos);
  if (!page || planted_.at(Mistake::fork_not_copied)) return;
  if (planted_.at(Mistake::fork_copies_one_less)) --page->count;
  if (planted_.at(Mistake::fork_shares_page)) {
    shared_[page->to] = page->from;
    return;
  }
  copy(page);
}

void SubjectCache::popn(SeqId id, Index count) {
  if (count > 0 && planted_.at(Mistake::popn_ignored)) return;
  if (count > 1 && planted_.at(Mistake::popn_keeps_one)) --count;
  copy(table_.popn(id, count));
}

void SubjectCache::enable_sliding_window_for_seq(SeqId id, Index window, Index sink) {
  if (planted_.at(Mistake::window_ignored)) return;
  if (planted_.at(Mistake::window_one_longer)) ++window;
  if (sink > 0 && planted_.at(Mistake::window_no_sink)) sink = 0;
  table_.enable_sliding_window(id, window, sink);
}

void SubjectCache::begin_forward(std::span<const SeqId> ids, std::span<const Index> lengths,
                                 const std::optional<std::vector<Index>>& tree_parents) {
  plan_ = table_.begin_forward(ids, lengths, tree_parents);
}

void SubjectCache::end_forward() {
  table_.end_forward();
  plan_.reset();
}

void SubjectCache::commit_accepted_token_tree_nodes(std::span<const SeqId> ids, std::span<const Index> leaves) {
  std::vector<Index> kept(leaves.begin(), leaves.end());
  for (Index& leaf : kept) {
    if (leaf > 0 && planted_.at(Mistake::commit_of_other_leaf)) --leaf;
  }
  for (const auto& [from, to] : table_.commit_trees(ids, kept)) {
    if (!planted_.at(Mistake::commit_keeps_first)) copy(from, to, 1);
  }
}

void SubjectCache::clear() {
  const Index used = table_.num_pages() - table_.num_available_pages();
  if (used > 0 && planted_.at(Mistake::clear_leaks_pages)) ++leaked_;
  table_.clear();
  shared_.clear();
  plan_.reset();
}

// ---- questions ----

const paging::ForwardPlan& SubjectCache::plan() const {
  if (!plan_) throw request_error("kv.state", "there is no forward between begin_forward and end_forward");
  return *plan_;
}

std::vector<std::int32_t> SubjectCache::get_query_positions() const {
  std::vector<std::int32_t> out;
  for (const paging::PlannedRow& row : plan().rows) {
    const bool late = row.position > 0 && planted_.at(Mistake::positions_reported_late);
    out.push_back(static_cast<std::int32_t>(late ? row.position - 1 : row.position));
  }
  return out;
}

Index SubjectCache::total_sequence_length() const {
  const Index total = table_.total_sequence_length();
  return total > 0 && planted_.at(Mistake::length_one_more) ? total + 1 : total;
}

Index SubjectCache::sequence_length(SeqId id) const {
  const Index length = table_.sequence_length(id);
  return length > 0 && planted_.at(Mistake::length_one_more) ? length + 1 : length;
}

// ---- values ----

Index SubjectCache::offset(Index layer, Kind kind, Index slot, Index head) const {
  return (((layer * 2 + kind) * heads_ + head) * limits_.page_size + slot % limits_.page_size) * width_;
}

float* SubjectCache::at(Index layer, Kind kind, Index slot, Index head) {
  Index page = slot / limits_.page_size;
  if (const auto it = shared_.find(page); it != shared_.end()) page = it->second;
  Page& values = pages_[page];
  values.resize(static_cast<std::size_t>(layers_ * 2 * heads_ * limits_.page_size * width_));
  return values.data() + offset(layer, kind, slot, head);
}

const float* SubjectCache::in_slot(Index layer, Kind kind, Index slot, Index head) const {
  // Reading makes a page too: memory that nobody wrote is 0.
  return const_cast<SubjectCache*>(this)->at(layer, kind, slot, head);
}

Index SubjectCache::room(Index sequence) const {
  const paging::PlannedSequence& planned = plan().sequences[static_cast<std::size_t>(sequence)];
  return static_cast<Index>(planned.layout.pages.size()) * limits_.page_size - planned.layout.gap;
}

const float* SubjectCache::read(Index layer, Kind kind, Index sequence, Index entry, Index head) const {
  const paging::ForwardPlan& plan = this->plan();
  const paging::PlannedSequence* planned = &plan.sequences[static_cast<std::size_t>(sequence)];
  if (sequence > 0 && entry == 0 && planted_.at(Mistake::cache_of_other_sequence)) planned = &plan.sequences[0];
  if (entry >= limits_.page_size && planted_.at(Mistake::cache_page_stale)) entry -= limits_.page_size;
  if (entry > 0 && entry % limits_.page_size == 0 && planted_.at(Mistake::cache_page_border)) --entry;
  return in_slot(layer, kind, planned->layout.slot(entry), head);
}

// `count` slots that follow each other in a page, in all layers.
void SubjectCache::copy(Index from_slot, Index to_slot, Index count) {
  for (Index layer = 0; layer < layers_; ++layer) {
    for (const Kind kind : {kKey, kValue}) {
      for (Index head = 0; head < heads_; ++head) {
        std::copy_n(in_slot(layer, kind, from_slot, head), count * width_, at(layer, kind, to_slot, head));
      }
    }
  }
}

void SubjectCache::copy(const std::optional<paging::PageCopy>& copy) {
  if (copy) this->copy(copy->from * limits_.page_size, copy->to * limits_.page_size, copy->count);
}

// ---- debugging ----

void SubjectCache::check_entries(const char* operation, SeqId id, Index begin, Index end, const ConstTensorView& keys,
                                 const ConstTensorView& values) const {
  if (plan_) throw request_error("kv.state", fmt::format("{}: not between begin_forward and end_forward", operation));
  const Index length = table_.sequence_length(id);
  if (begin < 0 || end <= begin || end > length) {
    throw request_error("kv.bad_argument", fmt::format("{}: entries [{}, {}) of sequence {}, which has {}", operation,
                                                       begin, end, id, length));
  }
  const Shape expected = {layers_, end - begin, heads_, width_};
  for (const ConstTensorView* view : {&keys, &values}) {
    if (view->shape == expected && view->dtype == type_) continue;
    throw request_error("input.shape",
                        fmt::format("{}: expected {} {}, got {} {}", operation, mlbench::name(type_),
                                    to_string(expected), mlbench::name(view->dtype), to_string(view->shape)));
  }
}

// visit(layer, slot, head, row): rows count through [L, end - begin, Hkv].
template <class Visit>
void SubjectCache::visit(SeqId id, Index begin, Index end, Visit visit) const {
  const paging::Layout layout = table_.layout(id);
  Index row = 0;
  for (Index layer = 0; layer < layers_; ++layer) {
    for (Index entry = begin; entry < end; ++entry) {
      for (Index head = 0; head < heads_; ++head) visit(layer, layout.slot(entry), head, row++);
    }
  }
}

void SubjectCache::debug_get_kv(SeqId id, Index begin, Index end, const TensorView& keys,
                                const TensorView& values) const {
  check_entries("debug_get_kv", id, begin, end, keys, values);
  for (const Kind kind : {kKey, kValue}) {
    Rows out({layers_ * (end - begin) * heads_, width_});
    visit(id, begin, end, [&](Index layer, Index slot, Index head, Index row) {
      std::copy_n(in_slot(layer, kind, slot, head), width_, out.row(row).begin());
    });
    copy_to(out, kind == kKey ? keys : values);
  }
}

void SubjectCache::debug_set_kv(SeqId id, Index begin, const ConstTensorView& keys, const ConstTensorView& values) {
  const Index end = begin + (keys.shape.size() == 4 ? keys.shape[1] : 0);
  check_entries("debug_set_kv", id, begin, end, keys, values);
  for (const Kind kind : {kKey, kValue}) {
    const Rows in = rows_of(kind == kKey ? keys : values, layers_ * (end - begin) * heads_);
    visit(id, begin, end, [&](Index layer, Index slot, Index head, Index row) {
      std::ranges::copy(in.row(row), at(layer, kind, slot, head));
    });
  }
}

}  // namespace mlbench::selftest
