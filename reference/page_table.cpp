#include "reference/page_table.h"

#include <algorithm>
#include <limits>
#include <set>

#include <fmt/format.h>

namespace mlbench::ref {
namespace {

constexpr Index kMaxTreeNodes = 256;

Error bad_argument(const std::string& message) { return request_error("kv.bad_argument", message); }

Index ceil_div(Index a, Index b) { return (a + b - 1) / b; }

Index checked_num_pages(const KvLimits& limits) {
  const auto positive = [](Index value, const char* what) {
    constexpr Index kLargest = std::numeric_limits<std::int32_t>::max();
    if (value < 1 || value > kLargest)
      throw bad_argument(fmt::format("{} = {}: must lie within 1..{}", what, value, kLargest));
  };
  positive(limits.max_batch_size, "max_batch_size");
  positive(limits.max_total_seq_len, "max_total_seq_len");
  positive(limits.prefill_chunk_size, "prefill_chunk_size");
  positive(limits.page_size, "page_size");
  // One page more than the entries fill; a sliding sequence may hold up to two partly filled ones besides.
  return ceil_div(limits.max_total_seq_len, limits.page_size) + 1 +
         (limits.support_sliding_window ? 2 * limits.max_batch_size : 0);
}

}  // namespace

PageTable::PageTable(const KvLimits& limits, bool trees_allowed)
    : limits_(limits), trees_allowed_(trees_allowed), num_pages_(checked_num_pages(limits)) {}

// ---- small pieces ----

void PageTable::require_idle(const char* operation) const {
  if (in_forward_) {
    throw request_error("kv.state", fmt::format("{}: not between begin_forward and end_forward", operation));
  }
}

template <class AnyState>
auto& PageTable::find(AnyState& state, SeqId id) {
  const auto it = state.sequences.find(id);
  if (it == state.sequences.end()) throw request_error("kv.unknown_seq", fmt::format("there is no sequence {}", id));
  return it->second;
}

Index PageTable::take_block(State& state, Index parent) {
  auto block = static_cast<Index>(state.blocks.size());
  if (!state.free_blocks.empty()) {
    block = state.free_blocks.back();
    state.free_blocks.pop_back();
    state.blocks[static_cast<std::size_t>(block)] = Block{};
  } else {
    state.blocks.emplace_back();
  }
  state.blocks[static_cast<std::size_t>(block)].parent = parent;
  return block;
}

Index PageTable::take_page(State& state) const {
  if (!state.released_pages.empty()) {
    const Index page = state.released_pages.back();
    state.released_pages.pop_back();
    return page;
  }
  if (state.fresh_pages == num_pages_)
    throw request_error("kv.full", fmt::format("all {} pages are in use", num_pages_));
  return state.fresh_pages++;
}

// A block that is dropped whole gives its pages back front to back, one that is cut short from its end.
void PageTable::drop_pages(State& state, Block& block) {
  state.released_pages.insert(state.released_pages.end(), block.pages.begin(), block.pages.end());
  block.pages.clear();
}

void PageTable::cut_pages(State& state, Block& block, Index keep) {
  while (static_cast<Index>(block.pages.size()) > keep) {
    state.released_pages.push_back(block.pages.back());
    block.pages.pop_back();
  }
}

void PageTable::add(State& state, SeqId id) const {
  if (id < 0) throw bad_argument(fmt::format("sequence id {}: must be >= 0", id));
  if (state.sequences.contains(id))
    throw request_error("kv.duplicate_seq", fmt::format("there is a sequence {} already", id));
  if (static_cast<Index>(state.sequences.size()) >= limits_.max_batch_size) {
    throw bad_argument(fmt::format("sequence {}: there are {} already, max_batch_size", id, limits_.max_batch_size));
  }
  const Index block = take_block(state, -1);
  state.blocks[static_cast<std::size_t>(block)].users = 1;
  state.sequences.emplace(id, Sequence{.last_block = block});
}

PageTable::Sequence& PageTable::find_ready(State& state, SeqId id) {
  Sequence& sequence = find(state, id);
  if (sequence.missing.empty()) return sequence;
  throw request_error("kv.state", fmt::format("sequence {} waits for {} of the {} entries that disagg_prepare_recv "
                                              "announced",
                                              id, sequence.missing.size(), sequence.announced.size()));
}

void PageTable::require_committed(SeqId id, const Sequence& sequence) {
  if (!sequence.tree) return;
  throw request_error("kv.uncommitted_tree", fmt::format("sequence {} has a token tree to commit first", id));
}

// Takes one user from `block`; blocks that are left without users release their pages.
void PageTable::drop_chain(State& state, Index block) {
  while (block >= 0) {
    Block& b = state.blocks[static_cast<std::size_t>(block)];
    if (--b.users > 0) return;
    const Index parent = b.parent;
    drop_pages(state, b);
    state.free_blocks.push_back(block);
    block = parent;
  }
}

std::vector<Index> PageTable::chain(const State& state, const Sequence& sequence) const {
  std::vector<Index> blocks;
  for (Index b = sequence.last_block; b >= 0; b = state.blocks[static_cast<std::size_t>(b)].parent) blocks.push_back(b);
  std::reverse(blocks.begin(), blocks.end());
  return blocks;
}

std::vector<Index> PageTable::slots_of(const State& state, const Sequence& sequence) const {
  std::vector<Index> slots;
  slots.reserve(static_cast<std::size_t>(sequence.length));
  for (const Index index : chain(state, sequence)) {
    const Block& block = state.blocks[static_cast<std::size_t>(index)];
    for (Index entry = 0; entry < block.length; ++entry) {
      const Index place = entry < block.sink ? entry : block.window_offset + entry - block.sink;
      slots.push_back(block.pages[static_cast<std::size_t>(place / limits_.page_size)] * limits_.page_size +
                      place % limits_.page_size);
    }
  }
  return slots;
}

// ---- operations ----

void PageTable::add_sequence(SeqId id) {
  require_idle("add_sequence");
  State next = state_;
  add(next, id);
  state_ = std::move(next);
}

void PageTable::remove_sequence(SeqId id) {
  require_idle("remove_sequence");
  State next = state_;
  drop_chain(next, find(next, id).last_block);
  next.sequences.erase(id);
  state_ = std::move(next);
}

std::optional<PageCopy> PageTable::fork_sequence(SeqId parent, SeqId child, Index pos) {
  require_idle("fork_sequence");
  State next = state_;
  const Sequence& from = find_ready(next, parent);
  if (pos < -1 || pos > from.length) {
    throw bad_argument(fmt::format("fork of sequence {} at {}: must lie within -1..{}", parent, pos, from.length));
  }
  require_committed(parent, from);
  const Index at = pos == -1 ? from.length : pos;
  if (from.window && at > from.window->sink) {
    throw bad_argument(fmt::format("fork of sequence {} at {}: it has a sliding window, so at most {}, its sink",
                                   parent, at, from.window->sink));
  }
  add(next, child);
  std::optional<PageCopy> copy;
  if (at > 0) copy = fork(next, parent, child, at);
  state_ = std::move(next);
  return copy;
}

// `child` was just added and is empty; 0 < pos <= length of the parent.
std::optional<PageCopy> PageTable::fork(State& state, SeqId parent, SeqId child, Index pos) const {
  Sequence& from = find(state, parent);
  Sequence& to = find(state, child);
  const auto block = [&](Index index) -> Block& { return state.blocks[static_cast<std::size_t>(index)]; };
  if (pos == from.length && pos % limits_.page_size == 0 && block(from.last_block).length > 0) {
    // Both go on in blocks of their own; the parent's last one becomes shared. If a window slid in it, all that is left
    // lies in the sink (no fork reaches behind it), and the pages behind are nobody's.
    Block& shared = block(from.last_block);
    cut_pages(state, shared, ceil_div(shared.length, limits_.page_size));
    shared.sink = 0;
    shared.window_offset = 0;
    from.last_block = take_block(state, from.last_block);
    block(from.last_block).users = 1;
  }
  Index split = from.last_block;
  Index offset = pos;  // inside the block that holds pos
  for (const Index index : chain(state, from)) {
    if (index == from.last_block || offset < block(index).length) {
      split = index;
      break;
    }
    offset -= block(index).length;
  }
  const Index rest = offset % limits_.page_size;
  const Index moved = offset - rest;
  if (moved > 0) {
    // The pages before pos become a block of their own, shared by both.
    const Index shared = take_block(state, block(split).parent);
    Block& front = block(shared);
    Block& back = block(split);
    const auto pages = static_cast<std::ptrdiff_t>(moved / limits_.page_size);
    front.pages.assign(back.pages.begin(), back.pages.begin() + pages);
    back.pages.erase(back.pages.begin(), back.pages.begin() + pages);
    front.length = moved;
    front.users = 1;
    back.length -= moved;
    back.parent = shared;
    if (back.window_offset > 0) {  // what moved lies in the sink, which does not slide
      back.sink -= moved;
      back.window_offset -= moved;
    }
  }
  Block& own = block(to.last_block);
  own.parent = block(split).parent;
  if (own.parent >= 0) ++block(own.parent).users;
  to.length = pos;
  if (rest == 0) return std::nullopt;
  own.length = rest;
  own.pages.push_back(take_page(state));
  return PageCopy{block(split).pages.front(), own.pages.front(), rest};
}

std::optional<PageCopy> PageTable::popn(SeqId id, Index count) {
  require_idle("popn");
  State next = state_;
  const auto copy = pop(next, id, count);
  state_ = std::move(next);
  return copy;
}

std::optional<PageCopy> PageTable::pop(State& state, SeqId id, Index count) const {
  {
    Sequence& sequence = find_ready(state, id);
    if (count < 0 || count > sequence.length) {
      throw bad_argument(fmt::format("popn of {} from sequence {}: must lie within 0..{}", count, id, sequence.length));
    }
    if (count == 0) return std::nullopt;
    if (sequence.slid)
      throw request_error("kv.unsupported", fmt::format("popn: the window of sequence {} has slid", id));
    if (sequence.tree) {  // the youngest nodes go first; what is left of them is still a tree
      const Index left = static_cast<Index>(sequence.tree->parents.size()) - count;
      if (left > 0) sequence.tree->parents.resize(static_cast<std::size_t>(left));
      if (left <= 0) sequence.tree.reset();
    }
    if (sequence.mark) {  // what comes in place of entries that had gone goes too
      Mark& mark = *sequence.mark;
      mark.sent = std::min(mark.sent, std::max<Index>(0, sequence.length - count - mark.begin));
    }
    while (count > 0) {  // blocks of the sequence's own
      Block& block = state.blocks[static_cast<std::size_t>(sequence.last_block)];
      if (block.users > 1) break;
      const Index cut = std::min(count, block.length);
      if (count > block.length && block.parent >= 0) {
        drop_pages(state, block);
        state.free_blocks.push_back(sequence.last_block);
        sequence.last_block = block.parent;
      } else {
        block.length -= cut;
        cut_pages(state, block, ceil_div(block.length, limits_.page_size));
      }
      sequence.length -= cut;
      count -= cut;
    }
    if (count == 0) return std::nullopt;
  }
  // The rest lies in a prefix that others use: go on as a fork of it.
  constexpr SeqId kAside = -1;
  auto aside = state.sequences.extract(id);
  aside.key() = kAside;
  Sequence& old = state.sequences.insert(std::move(aside)).position->second;
  const Index left = old.length - count;
  const auto window = old.window;
  const auto mark = old.mark;
  const Index block = take_block(state, -1);
  state.blocks[static_cast<std::size_t>(block)].users = 1;
  state.sequences.emplace(id, Sequence{.last_block = block});
  std::optional<PageCopy> copy;
  if (left > 0) copy = fork(state, kAside, id, left);
  find(state, id).window = window;
  find(state, id).mark = mark;
  drop_chain(state, find(state, kAside).last_block);
  state.sequences.erase(kAside);
  return copy;
}

void PageTable::enable_sliding_window(SeqId id, Index window, Index sink) {
  require_idle("enable_sliding_window_for_seq");
  State next = state_;
  Sequence& sequence = find(next, id);
  if (!limits_.support_sliding_window) {
    throw request_error("kv.unsupported",
                        "enable_sliding_window_for_seq: the cache was made without support_sliding_window");
  }
  if (window <= 0 || sink < 0 || sink >= window) {
    throw bad_argument(fmt::format("window {} with sink {}: 0 <= sink < window must hold", window, sink));
  }
  if (sequence.window) throw bad_argument(fmt::format("sequence {} has a sliding window already", id));
  const Index prefix = sequence.length - next.blocks[static_cast<std::size_t>(sequence.last_block)].length;
  sequence.window = Window{window, std::max(sink, prefix)};
  state_ = std::move(next);
}

void PageTable::append(State& state, Sequence& sequence, Index count) const {
  Block& block = state.blocks[static_cast<std::size_t>(sequence.last_block)];
  block.length += count;
  const Index end = block.window_offset + block.length - block.sink;  // of the last entry, in the block's pages
  while (static_cast<Index>(block.pages.size()) < ceil_div(end, limits_.page_size))
    block.pages.push_back(take_page(state));
  sequence.length += count;
}

void PageTable::grow_tree(Sequence& sequence, std::span<const Index> parents) const {
  if (!sequence.tree) sequence.tree = Tree{.base = sequence.length, .parents = {}, .forwards = 0};
  Tree& tree = *sequence.tree;
  for (const Index parent : parents) {
    const auto node = static_cast<Index>(tree.parents.size());
    if (parent < -1 || parent >= node) {
      throw bad_argument(fmt::format("parent {} of tree node {}: must lie within -1..{}", parent, node, node - 1));
    }
    tree.parents.push_back(parent);
  }
  if (static_cast<Index>(tree.parents.size()) > kMaxTreeNodes) {
    throw bad_argument(fmt::format("a token tree of {} nodes: at most {}", tree.parents.size(), kMaxTreeNodes));
  }
  ++tree.forwards;
}

ForwardPlan PageTable::begin_forward(std::span<const SeqId> ids, std::span<const Index> lengths,
                                     const std::optional<std::vector<Index>>& parents) {
  require_idle("begin_forward");
  if (ids.empty() || ids.size() != lengths.size()) {
    throw bad_argument(fmt::format("begin_forward: {} sequences and {} lengths: as many of each, at least one",
                                   ids.size(), lengths.size()));
  }
  if (std::set<SeqId>(ids.begin(), ids.end()).size() != ids.size())
    throw bad_argument("begin_forward: a sequence is named twice");
  Index rows = 0;
  for (const Index length : lengths) {
    if (length < 1) throw bad_argument(fmt::format("begin_forward: length {}: must be >= 1", length));
    if (length > limits_.prefill_chunk_size || (rows += length) > limits_.prefill_chunk_size) {
      throw request_error("kv.chunk_too_large", fmt::format("begin_forward: more than {} rows, prefill_chunk_size",
                                                            limits_.prefill_chunk_size));
    }
  }
  if (parents && !trees_allowed_) {
    throw request_error("kv.unsupported", "token trees: not with sliding windows or rope mode INLINE");
  }
  if (parents && static_cast<Index>(parents->size()) != rows) {
    throw bad_argument(fmt::format("begin_forward: {} tree parents for {} rows", parents->size(), rows));
  }

  State next = state_;
  ForwardPlan plan;
  std::size_t first_row = 0;
  for (std::size_t s = 0; s < ids.size(); ++s) {
    Sequence& sequence = find_ready(next, ids[s]);
    const Index before = sequence.length;
    const auto count = static_cast<std::size_t>(lengths[s]);
    if (parents) {
      grow_tree(sequence, std::span(*parents).subspan(first_row, count));
    } else {
      require_committed(ids[s], sequence);
    }
    require_listed(ids[s], sequence, lengths[s], parents.has_value());
    append(next, sequence, lengths[s]);
    plan.sequences.push_back({ids[s], sequence.length, slots_of(next, sequence)});
    plan_send(sequence, plan.sequences.back().slots, plan);
    for (Index entry = before; entry < sequence.length; ++entry) {
      PlannedRow row{
          .sequence = static_cast<Index>(s), .entry = entry, .position = entry, .prefix = entry + 1, .path = {}};
      if (sequence.tree) {
        const Tree& tree = *sequence.tree;
        for (Index node = entry - tree.base; node >= 0; node = tree.parents[static_cast<std::size_t>(node)]) {
          row.path.push_back(tree.base + node);
        }
        std::reverse(row.path.begin(), row.path.end());
        row.prefix = tree.base;
        row.position = tree.base + static_cast<Index>(row.path.size()) - 1;
      }
      plan.rows.push_back(std::move(row));
    }
    first_row += count;
  }
  state_ = std::move(next);
  last_ids_.assign(ids.begin(), ids.end());
  in_forward_ = true;
  return plan;
}

void PageTable::end_forward() {
  if (!in_forward_) throw request_error("kv.state", "end_forward: there was no begin_forward");
  for (const SeqId id : last_ids_) {
    slide(state_, find(state_, id));
    advance_mark(find(state_, id));
  }
  in_forward_ = false;
}

// Drops entries [sink, sink + length - window) of the sequence; all lie in its last block, which the shared prefix,
// being part of the sink, is not.
void PageTable::slide(State& state, Sequence& sequence) const {
  if (!sequence.window || sequence.length <= sequence.window->size) return;
  Block& block = state.blocks[static_cast<std::size_t>(sequence.last_block)];
  const Index prefix = sequence.length - block.length;
  const Index drop =
      std::min(sequence.length - sequence.window->size, std::max<Index>(0, sequence.length - sequence.window->sink));
  if (drop == 0) return;  // the shared prefix alone fills the window
  if (block.window_offset == 0) {
    block.sink = std::max<Index>(0, sequence.window->sink - prefix);
    block.window_offset = block.sink;
  }
  block.window_offset += drop;
  block.length -= drop;
  sequence.length -= drop;
  sequence.slid = true;
  // Pages between the sink's last and the window's first hold nothing any more.
  const Index sink_pages = ceil_div(block.sink, limits_.page_size);
  while (block.window_offset / limits_.page_size > sink_pages) {
    const auto page = block.pages.begin() + sink_pages;
    state.released_pages.push_back(*page);
    block.pages.erase(page);
    block.window_offset -= limits_.page_size;
  }
}

std::vector<SlotMove> PageTable::commit_trees(std::span<const SeqId> ids, std::span<const Index> leaves) {
  require_idle("commit_accepted_token_tree_nodes");
  if (ids.size() != leaves.size() || !std::equal(ids.begin(), ids.end(), last_ids_.begin(), last_ids_.end())) {
    throw bad_argument("commit: needs the sequences of the last begin_forward in the same order, and a leaf for each");
  }
  State next = state_;
  std::vector<SlotMove> moves;
  for (std::size_t s = 0; s < ids.size(); ++s) {
    Sequence& sequence = find(next, ids[s]);
    if (!sequence.tree) throw bad_argument(fmt::format("commit: sequence {} has no uncommitted token tree", ids[s]));
    if (sequence.tree->forwards > 1) {
      throw request_error("kv.unsupported",
                          fmt::format("commit: the tree of sequence {} took more than one forward", ids[s]));
    }
    const Tree tree = *sequence.tree;
    const auto nodes = static_cast<Index>(tree.parents.size());
    if (leaves[s] < -1 || leaves[s] >= nodes) {
      throw bad_argument(
          fmt::format("commit: leaf {} of sequence {}: must lie within -1..{}", leaves[s], ids[s], nodes - 1));
    }
    std::vector<Index> path;
    for (Index node = leaves[s]; node >= 0; node = tree.parents[static_cast<std::size_t>(node)]) path.push_back(node);
    std::reverse(path.begin(), path.end());
    const std::vector<Index> slots = slots_of(next, sequence);
    for (std::size_t i = 0; i < path.size(); ++i) {
      // In this order no entry is overwritten before it has moved: a path's nodes ascend.
      const Index from = slots[static_cast<std::size_t>(tree.base + path[i])];
      const Index to = slots[static_cast<std::size_t>(tree.base) + i];
      if (from != to) moves.push_back({from, to});
    }
    sequence.tree.reset();
    (void)pop(next, ids[s],
              nodes - static_cast<Index>(path.size()));  // all in the sequence's own block: nothing to copy
  }
  state_ = std::move(next);
  return moves;
}

void PageTable::clear() {
  state_ = State{};
  in_forward_ = false;
  last_ids_.clear();
}

// ---- questions ----

Index PageTable::num_available_pages() const {
  return num_pages_ - state_.fresh_pages + static_cast<Index>(state_.released_pages.size());
}

Index PageTable::total_sequence_length() const {
  Index total = 0;
  for (const auto& [id, sequence] : state_.sequences) total += sequence.length;
  return total;
}

Index PageTable::sequence_length(SeqId id) const { return find(state_, id).length; }

std::vector<Index> PageTable::slots(SeqId id) const { return slots_of(state_, find(state_, id)); }

}  // namespace mlbench::ref
