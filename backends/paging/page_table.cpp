#include "backends/paging/page_table.h"

#include <algorithm>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "core/error.h"

namespace mlbench::paging {
namespace {

constexpr std::size_t kMaxTreeNodes = 256;

Error bad_argument(const std::string& message) { return request_error("kv.bad_argument", message); }

void require_limit(const char* what, Index value) {
  constexpr Index kLargest = std::numeric_limits<std::int32_t>::max();
  if (value >= 1 && value <= kLargest) return;
  throw bad_argument(fmt::format("{} = {}: must lie within 1..{}", what, value, kLargest));
}

// Spec methods.md, section 4.
Index pages_of(const KvLimits& limits) {
  require_limit("max_batch_size", limits.max_batch_size);
  require_limit("max_total_seq_len", limits.max_total_seq_len);
  require_limit("prefill_chunk_size", limits.prefill_chunk_size);
  require_limit("page_size", limits.page_size);
  const Index full = (limits.max_total_seq_len + limits.page_size - 1) / limits.page_size;
  return full + 1 + (limits.support_sliding_window ? 2 * limits.max_batch_size : 0);
}

// From the root to `node`, itself last; empty for -1.
std::vector<Index> path_to(Index node, std::span<const Index> parents) {
  std::vector<Index> path;
  for (; node >= 0; node = parents[static_cast<std::size_t>(node)]) path.push_back(node);
  std::reverse(path.begin(), path.end());
  return path;
}

bool names_one_twice(std::span<const SeqId> ids) {
  // Copied: made from the iterators, GCC 14 takes its memory for freed in the middle (-Wfree-nonheap-object).
  std::vector<SeqId> sorted(ids.size());
  std::copy(ids.begin(), ids.end(), sorted.begin());
  std::sort(sorted.begin(), sorted.end());
  return std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end();
}

}  // namespace

PageTable::PageTable(const KvLimits& limits, bool trees_allowed)
    : limits_(limits), trees_allowed_(trees_allowed && !limits.support_sliding_window), num_pages_(pages_of(limits)) {}

// ---- what must hold before anything changes ----

void PageTable::require_idle(const char* operation) const {
  if (!in_forward_) return;
  throw request_error("kv.state", fmt::format("{}: not between begin_forward and end_forward", operation));
}

void PageTable::require_addable(SeqId id) const {
  if (id < 0) throw bad_argument(fmt::format("sequence id {}: must be >= 0", id));
  if (sequences_.contains(id)) {
    throw request_error("kv.duplicate_seq", fmt::format("sequence {} exists already", id));
  }
  if (static_cast<Index>(sequences_.size()) >= limits_.max_batch_size) {
    throw bad_argument(
        fmt::format("sequence {}: {} sequences are live already, max_batch_size", id, limits_.max_batch_size));
  }
}

void PageTable::require_pages(Index count) const {
  const Index available = num_available_pages();
  if (count <= available) return;
  throw request_error("kv.full",
                      fmt::format("{} more pages are needed, {} of {} are free", count, available, num_pages_));
}

const PageTable::Sequence& PageTable::find(SeqId id) const {
  const auto it = sequences_.find(id);
  if (it == sequences_.end()) throw request_error("kv.unknown_seq", fmt::format("there is no sequence {}", id));
  return it->second;
}

PageTable::Sequence& PageTable::find(SeqId id) {
  return const_cast<Sequence&>(std::as_const(*this).find(id));  // what *this owns is not const here
}

void PageTable::require_committed(SeqId id, const Sequence& sequence) {
  if (!sequence.tree) return;
  throw request_error("kv.uncommitted_tree", fmt::format("sequence {} has a token tree to commit first", id));
}

// ---- pages ----

Index PageTable::pages_to_append(const Sequence& sequence, Index count) const {
  return pages_for(sequence.length + sequence.gap + count) - static_cast<Index>(sequence.pages.size());
}

// One must be available.
void PageTable::add_page(Sequence& sequence) {
  auto taken = static_cast<Index>(pages_.size());
  if (released_pages_.empty()) {
    pages_.emplace_back();
  } else {
    taken = released_pages_.back();
    released_pages_.pop_back();
  }
  const Index place = static_cast<Index>(sequence.pages.size()) * limits_.page_size;
  page(taken) = {.users = 1, .starts_block = place == sequence.shared};
  sequence.pages.push_back(taken);
}

void PageTable::release_page(Index index) {
  if (--page(index).users == 0) released_pages_.push_back(index);
}

void PageTable::cut_pages(Sequence& sequence, Index keep) {
  while (static_cast<Index>(sequence.pages.size()) > keep) {
    release_page(sequence.pages.back());
    sequence.pages.pop_back();
  }
}

// The next page of `to` is one of its own that begins like `from`, which others need too.
PageCopy PageTable::copy_front(Index from, Sequence& to, Index count) {
  add_page(to);
  return {from, to.pages.back(), count};
}

// Of the block that holds `entry`, an entry of a page that the sequence has.
Index PageTable::block_start(const Sequence& sequence, Index entry) const {
  const auto starts = [&](Index place) {
    const Index index = sequence.pages[static_cast<std::size_t>(place)];
    return pages_[static_cast<std::size_t>(index)].starts_block;
  };
  Index place = entry / limits_.page_size;
  while (!starts(place)) --place;
  return place * limits_.page_size;
}

// ---- sequences ----

void PageTable::add_sequence(SeqId id) {
  require_idle("add_sequence");
  require_addable(id);
  sequences_.try_emplace(id);
}

void PageTable::remove_sequence(SeqId id) {
  require_idle("remove_sequence");
  cut_pages(find(id), 0);
  sequences_.erase(id);
}

std::optional<PageCopy> PageTable::fork_sequence(SeqId parent, SeqId child, Index pos) {
  require_idle("fork_sequence");
  Sequence& from = ready(parent);
  if (pos < -1 || pos > from.length) {
    throw bad_argument(fmt::format("fork of sequence {} at {}: must lie within -1..{}", parent, pos, from.length));
  }
  require_committed(parent, from);
  const Index at = pos == -1 ? from.length : pos;
  if (from.window && at > from.window->sink) {
    throw bad_argument(fmt::format("fork of sequence {} at {}: its sliding window allows at most {}, its sink", parent,
                                   at, from.window->sink));
  }
  require_addable(child);
  const Index whole = at / limits_.page_size;  // pages that both keep
  const Index rest = at % limits_.page_size;
  if (rest > 0) require_pages(1);

  Sequence& to = sequences_[child];
  if (at == 0) return std::nullopt;
  if (at == from.length && rest == 0 && from.shared < at) {
    cut_pages(from, whole);  // both go on behind `at`, also where a window that slid had begun a page there
    from.gap = 0;
  }
  from.shared = std::max(from.shared, at - rest);
  to.length = at;
  to.shared = at - rest;
  to.pages.assign(from.pages.begin(), from.pages.begin() + static_cast<std::ptrdiff_t>(whole));
  for (const Index shared : to.pages) ++page(shared).users;
  if (whole == static_cast<Index>(from.pages.size())) return std::nullopt;
  const Index split = from.pages[static_cast<std::size_t>(whole)];
  page(split).starts_block = true;
  if (rest == 0) return std::nullopt;
  return copy_front(split, to, rest);
}

std::optional<PageCopy> PageTable::popn(SeqId id, Index count) {
  require_idle("popn");
  Sequence& sequence = ready(id);
  if (count < 0 || count > sequence.length) {
    throw bad_argument(fmt::format("popn of {} from sequence {}: must lie within 0..{}", count, id, sequence.length));
  }
  if (count == 0) return std::nullopt;
  if (sequence.slid) {
    throw request_error("kv.unsupported", fmt::format("popn: the window of sequence {} has slid", id));
  }
  const Index left = sequence.length - count;
  const Index whole = left / limits_.page_size;
  const Index rest = left % limits_.page_size;
  const Index border = sequence.pages[static_cast<std::size_t>(whole)];  // the page of the first entry to go
  const bool others_need_it = page(border).users > 1;
  // Pages of its own that lie behind are free by then.
  if (others_need_it && rest > 0 && page(sequence.pages.back()).users > 1) require_pages(1);

  if (left < sequence.shared) sequence.shared = others_need_it ? left - rest : block_start(sequence, left);
  if (sequence.tree) {  // the youngest nodes go first; what is left of them is still a tree
    const Index nodes = left - sequence.tree->base;
    if (nodes > 0) sequence.tree->parents.resize(static_cast<std::size_t>(nodes));
    if (nodes <= 0) sequence.tree.reset();
  }
  if (sequence.mark) sequence.mark->next = std::max(sequence.mark->begin, std::min(sequence.mark->next, left));
  sequence.length = left;
  cut_pages(sequence, others_need_it ? whole : pages_for(left));
  if (!others_need_it) return std::nullopt;
  page(border).starts_block = true;
  if (rest == 0) return std::nullopt;
  return copy_front(border, sequence, rest);
}

void PageTable::enable_sliding_window(SeqId id, Index window, Index sink) {
  require_idle("enable_sliding_window_for_seq");
  Sequence& sequence = find(id);
  if (!limits_.support_sliding_window) {
    throw request_error("kv.unsupported",
                        "enable_sliding_window_for_seq: the cache was made without support_sliding_window");
  }
  if (window <= 0 || sink < 0 || sink >= window) {
    throw bad_argument(fmt::format("window {} with sink {}: 0 <= sink < window must hold", window, sink));
  }
  if (sequence.window) throw bad_argument(fmt::format("sequence {} has a sliding window already", id));
  sequence.window = Window{.size = window, .sink = std::max(sink, sequence.shared)};
}

// ---- forwards ----

Index PageTable::checked_rows(std::span<const SeqId> ids, std::span<const Index> lengths) const {
  if (ids.empty() || ids.size() != lengths.size()) {
    throw bad_argument(fmt::format("begin_forward: {} sequences and {} lengths: as many of each, at least one",
                                   ids.size(), lengths.size()));
  }
  if (names_one_twice(ids)) throw bad_argument("begin_forward: a sequence is named twice");
  Index rows = 0;
  for (const Index length : lengths) {
    if (length < 1) throw bad_argument(fmt::format("begin_forward: length {}: must be >= 1", length));
    if (length > limits_.prefill_chunk_size - rows) {
      throw request_error("kv.chunk_too_large", fmt::format("begin_forward: more than {} rows, prefill_chunk_size",
                                                            limits_.prefill_chunk_size));
    }
    rows += length;
  }
  return rows;
}

void PageTable::require_tree(const Sequence& sequence, std::span<const Index> parents) {
  std::size_t nodes = sequence.tree ? sequence.tree->parents.size() : 0;
  if (nodes + parents.size() > kMaxTreeNodes) {
    throw bad_argument(fmt::format("a token tree of {} nodes: at most {}", nodes + parents.size(), kMaxTreeNodes));
  }
  for (const Index parent : parents) {
    if (parent < -1 || parent >= static_cast<Index>(nodes)) {
      throw bad_argument(fmt::format("parent {} of tree node {}: must lie before it, or be -1", parent, nodes));
    }
    ++nodes;
  }
}

void PageTable::grow_tree(Sequence& sequence, std::span<const Index> parents) {
  if (!sequence.tree) sequence.tree = Tree{.base = sequence.length, .parents = {}, .forwards = 0};
  sequence.tree->parents.insert(sequence.tree->parents.end(), parents.begin(), parents.end());
  ++sequence.tree->forwards;
}

void PageTable::append(Sequence& sequence, Index count) {
  for (Index pages = pages_to_append(sequence, count); pages > 0; --pages) add_page(sequence);
  sequence.length += count;
}

ForwardPlan PageTable::begin_forward(std::span<const SeqId> ids, std::span<const Index> lengths,
                                     const std::optional<std::vector<Index>>& tree_parents) {
  require_idle("begin_forward");
  const Index rows = checked_rows(ids, lengths);
  if (tree_parents && !trees_allowed_) {
    throw request_error("kv.unsupported", "token trees: not with sliding windows or rope mode INLINE");
  }
  if (tree_parents && static_cast<Index>(tree_parents->size()) != rows) {
    throw bad_argument(fmt::format("begin_forward: {} tree parents for {} rows", tree_parents->size(), rows));
  }
  const auto parents_of = [&](Index row, Index count) {
    return std::span(*tree_parents).subspan(static_cast<std::size_t>(row), static_cast<std::size_t>(count));
  };
  Index pages = 0;
  Index row = 0;
  for (std::size_t s = 0; s < ids.size(); ++s) {
    const Sequence& sequence = ready(ids[s]);
    if (tree_parents) {
      require_tree(sequence, parents_of(row, lengths[s]));
    } else {
      require_committed(ids[s], sequence);
    }
    require_listed(ids[s], sequence, lengths[s], tree_parents.has_value());
    pages += pages_to_append(sequence, lengths[s]);
    require_pages(pages);
    row += lengths[s];
  }

  ForwardPlan plan;
  plan.sequences.reserve(ids.size());
  plan.rows.reserve(static_cast<std::size_t>(rows));
  for (std::size_t s = 0; s < ids.size(); ++s) {
    Sequence& sequence = find(ids[s]);
    if (tree_parents) grow_tree(sequence, parents_of(static_cast<Index>(plan.rows.size()), lengths[s]));
    append(sequence, lengths[s]);
    plan.sequences.push_back({ids[s], sequence.length, layout_of(sequence)});
    plan_rows(sequence, lengths[s], plan);
    plan_send(sequence, plan);
  }
  last_ids_.assign(ids.begin(), ids.end());
  in_forward_ = true;
  return plan;
}

// The last `count` entries of the plan's last sequence.
void PageTable::plan_rows(const Sequence& sequence, Index count, ForwardPlan& plan) {
  for (Index entry = sequence.length - count; entry < sequence.length; ++entry) {
    PlannedRow& row = plan.rows.emplace_back();
    row.sequence = static_cast<Index>(plan.sequences.size()) - 1;
    row.entry = entry;
    row.position = entry;
    row.prefix = entry + 1;
    if (!sequence.tree) continue;
    const Tree& tree = *sequence.tree;
    row.path = path_to(entry - tree.base, tree.parents);
    for (Index& node : row.path) node += tree.base;
    row.position = tree.base + static_cast<Index>(row.path.size()) - 1;
    row.prefix = tree.base;
  }
}

void PageTable::end_forward() {
  if (!in_forward_) throw request_error("kv.state", "end_forward: there was no begin_forward");
  for (const SeqId id : last_ids_) {
    slide(find(id));
    advance_mark(find(id));
  }
  in_forward_ = false;
}

// Entries [sink, sink + length - size) go, but no more than there are: a shared prefix may fill the window alone.
void PageTable::slide(Sequence& sequence) {
  if (!sequence.window) return;
  const auto [size, sink] = *sequence.window;
  const Index drop = sequence.length - std::max(size, sink);
  if (drop <= 0) return;
  sequence.length -= drop;
  sequence.gap += drop;
  sequence.slid = true;
  // Whole pages between the last of the sink and the first of the window hold nothing any more.
  const Index kept = pages_for(sink);
  const Index emptied = (sink + sequence.gap) / limits_.page_size - kept;
  if (emptied <= 0) return;
  const auto first = sequence.pages.begin() + static_cast<std::ptrdiff_t>(kept);
  const auto last = first + static_cast<std::ptrdiff_t>(emptied);
  std::for_each(first, last, [this](Index index) { release_page(index); });
  sequence.pages.erase(first, last);
  sequence.gap -= emptied * limits_.page_size;
}

// ---- trees ----

void PageTable::require_committable(SeqId id, Index leaf) const {
  const Sequence& sequence = find(id);
  if (!sequence.tree) throw bad_argument(fmt::format("commit: sequence {} has no uncommitted token tree", id));
  if (sequence.tree->forwards > 1) {
    throw request_error("kv.unsupported", fmt::format("commit: the tree of sequence {} took {} forwards, not one", id,
                                                      sequence.tree->forwards));
  }
  const auto nodes = static_cast<Index>(sequence.tree->parents.size());
  if (leaf < -1 || leaf >= nodes) {
    throw bad_argument(fmt::format("commit: leaf {} of sequence {}: must lie within -1..{}", leaf, id, nodes - 1));
  }
}

std::vector<SlotCopy> PageTable::commit_trees(std::span<const SeqId> ids, std::span<const Index> leaves) {
  require_idle("commit_accepted_token_tree_nodes");
  if (ids.size() != leaves.size() || !std::equal(ids.begin(), ids.end(), last_ids_.begin(), last_ids_.end())) {
    throw bad_argument("commit: needs the sequences of the last begin_forward in the same order, and a leaf for each");
  }
  for (std::size_t s = 0; s < ids.size(); ++s) require_committable(ids[s], leaves[s]);
  std::vector<SlotCopy> copies;
  for (std::size_t s = 0; s < ids.size(); ++s) commit(find(ids[s]), leaves[s], copies);
  return copies;
}

// A path's nodes ascend, so that in its order no entry is overwritten before it was copied.
void PageTable::commit(Sequence& sequence, Index leaf, std::vector<SlotCopy>& copies) {
  const Tree& tree = *sequence.tree;
  const Layout layout = layout_of(sequence);
  Index length = tree.base;
  for (const Index node : path_to(leaf, tree.parents)) {
    if (tree.base + node != length) copies.push_back({layout.slot(tree.base + node), layout.slot(length)});
    ++length;
  }
  sequence.length = length;
  cut_pages(sequence, pages_for(length));
  sequence.tree.reset();
}

void PageTable::clear() { *this = PageTable(limits_, trees_allowed_); }

// ---- questions ----

Index PageTable::num_available_pages() const {
  return num_pages_ - static_cast<Index>(pages_.size()) + static_cast<Index>(released_pages_.size());
}

Index PageTable::total_sequence_length() const {
  Index total = 0;
  for (const auto& [id, sequence] : sequences_) total += sequence.length;
  return total;
}

Index PageTable::sequence_length(SeqId id) const { return find(id).length; }

Layout PageTable::layout_of(const Sequence& sequence) const {
  return {.pages = sequence.pages,
          .page_size = limits_.page_size,
          .sink = sequence.window ? sequence.window->sink : 0,
          .gap = sequence.gap};
}

Layout PageTable::layout(SeqId id) const { return layout_of(find(id)); }

ForwardPlan rows_of(const ForwardPlan& plan, Index first, Index count) {
  ForwardPlan out;
  Index taken_from = -1;
  for (Index r = first; r < first + count; ++r) {
    PlannedRow row = plan.rows[static_cast<std::size_t>(r)];
    if (row.sequence != taken_from) {
      taken_from = row.sequence;
      out.sequences.push_back(plan.sequences[static_cast<std::size_t>(row.sequence)]);
    }
    row.sequence = static_cast<Index>(out.sequences.size()) - 1;
    out.sequences.back().total = row.entry + 1;
    out.rows.push_back(std::move(row));
  }
  return out;
}

}  // namespace mlbench::paging
