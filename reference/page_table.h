// The bookkeeping of the paged KV cache: which sequence's entries stand in which slots of which pages. Integers only;
// the values are paged_kv_cache.h's. Every operation either succeeds whole or throws and changes nothing.
//
// A sequence is a chain of blocks, the last one its own; a block owns pages. Sequences that were forked share the
// blocks of their common prefix. All but the last block of a chain hold whole pages. A slot is page * page_size +
// offset.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "core/error.h"
#include "models/kv_cache.h"
#include "models/kv_transfer.h"

namespace mlbench::ref {

// Entries [0, count) of page `from` are to be copied to page `to`.
struct PageCopy {
  Index from, to, count;
};
struct SlotMove {
  Index from, to;
};

// What one row of the announced forward is, and what it sees: entries [0, prefix) of its sequence, then `path`, itself
// last.
struct PlannedRow {
  Index sequence;  // index into ForwardPlan::sequences
  Index entry;     // index of the row's own entry in its sequence
  Index position;  // for RoPE and position embeddings
  Index prefix;
  std::vector<Index> path;  // entries beyond the prefix that are visible, ancestors first; empty but for trees
};

struct PlannedSequence {
  SeqId id;
  Index total;               // entries with the new ones
  std::vector<Index> slots;  // of all of them, [total]
};

// One entry that goes to another cache when the forward ends: from this slot here to that slot there.
struct SlotSend {
  Index from, to;
};
struct PlannedSend {
  Index receiver_offset;
  std::vector<SlotSend> entries;  // in the order of the sequence
};

struct ForwardPlan {
  std::vector<PlannedSequence> sequences;
  std::vector<PlannedRow> rows;
  std::vector<PlannedSend> sends;
};

class PageTable {
 public:
  // `trees_allowed`: false where keys are kept unrotated (spec methods.md 6.2). Throws kv.bad_argument for limits < 1.
  PageTable(const KvLimits& limits, bool trees_allowed);

  void add_sequence(SeqId id);
  void remove_sequence(SeqId id);
  // The child gets the first `pos` entries of the parent; -1: all. A page that both need in part is to be copied.
  std::optional<PageCopy> fork_sequence(SeqId parent, SeqId child, Index pos);
  std::optional<PageCopy> popn(SeqId id, Index count);
  void enable_sliding_window(SeqId id, Index window, Index sink);
  ForwardPlan begin_forward(std::span<const SeqId> ids, std::span<const Index> lengths,
                            const std::optional<std::vector<Index>>& parents);
  void end_forward();  // windows slide here
  std::vector<SlotMove> commit_trees(std::span<const SeqId> ids, std::span<const Index> leaves);

  // ---- entries that come from another cache, or go to one (spec methods.md, section 10) ----

  // The sequence gets `count` entries, to be computed elsewhere, in these slots. Until all have come it can only be
  // asked about, or removed.
  SlotRuns disagg_prepare_recv(SeqId id, Index count);
  // Entry p >= begin goes to slot slots[p - begin] of the receiver, once, when the forward ends that made it, or, if it
  // is there already, the next forward of the sequence. With the last of the slots the mark is over.
  void disagg_mark_send(SeqId id, Index begin, const SlotRuns& slots, Index receiver_offset);
  // Entries came for these slots; also within a forward. False, and nothing changed, unless all are slots that one
  // sequence waits for: it was removed, and its sender not told.
  bool receive(std::span<const Index> slots);

  void clear();

  [[nodiscard]] bool in_forward() const { return in_forward_; }
  [[nodiscard]] bool empty() const { return state_.sequences.empty(); }
  [[nodiscard]] Index num_pages() const { return num_pages_; }
  [[nodiscard]] Index num_available_pages() const;
  [[nodiscard]] Index total_sequence_length() const;
  [[nodiscard]] Index sequence_length(SeqId id) const;
  [[nodiscard]] std::vector<Index> slots(SeqId id) const;  // of every entry, in order
  [[nodiscard]] bool waits(SeqId id) const;                // for entries

 private:
  struct Block {
    Index parent = -1;
    Index users = 0;   // child blocks, and the sequence that ends here
    Index length = 0;  // entries
    std::vector<Index> pages;
    Index sink = 0;           // after sliding: entries at the front that stay,
    Index window_offset = 0;  // and where, in the block's pages, those behind them begin
  };
  struct Window {
    Index size;
    Index sink;  // entries of the whole sequence that never slide: max(requested, shared prefix)
  };
  struct Tree {
    Index base;                  // committed entries
    std::vector<Index> parents;  // by node; -1: follows the last committed entry
    Index forwards;              // calls it took to announce
  };
  struct Mark {
    Index begin;
    SlotRuns slots;
    Index receiver_offset;
    Index sent;  // slots of the list that have their entry

    [[nodiscard]] Index end() const { return begin + slots.size(); }
  };
  struct Sequence {
    Index last_block;
    Index length = 0;
    std::optional<Window> window;
    bool slid = false;
    std::optional<Tree> tree;
    std::optional<Mark> mark;
    std::set<Index> announced, missing;  // slots of a transfer that comes; both empty once all are there
  };
  struct State {
    std::vector<Block> blocks;
    std::vector<Index> free_blocks;
    std::map<SeqId, Sequence> sequences;
    Index fresh_pages = 0;              // pages [fresh_pages, num_pages) were never used
    std::vector<Index> released_pages;  // reused last in, first out
  };

  void require_idle(const char* operation) const;
  template <class AnyState>  // State or const State
  static auto& find(AnyState& state, SeqId id);
  // The same, of a sequence that waits for no entries.
  static Sequence& find_ready(State& state, SeqId id);
  static void require_committed(SeqId id, const Sequence& sequence);
  Sequence& find_transferable(State& state, const char* operation, SeqId id) const;
  static Index take_block(State& state, Index parent);
  Index take_page(State& state) const;
  static void drop_pages(State& state, Block& block);
  static void cut_pages(State& state, Block& block, Index keep);
  void add(State& state, SeqId id) const;
  static void drop_chain(State& state, Index block);
  std::optional<PageCopy> fork(State& state, SeqId parent, SeqId child, Index pos) const;
  std::optional<PageCopy> pop(State& state, SeqId id, Index count) const;
  void append(State& state, Sequence& sequence, Index count) const;
  void slide(State& state, Sequence& sequence) const;
  [[nodiscard]] std::vector<Index> slots_of(const State& state, const Sequence& sequence) const;
  [[nodiscard]] std::vector<Index> chain(const State& state, const Sequence& sequence) const;
  void grow_tree(Sequence& sequence, std::span<const Index> parents) const;
  static void require_listed(SeqId id, const Sequence& sequence, Index count, bool as_tree);
  static void plan_send(const Sequence& sequence, std::span<const Index> slots, ForwardPlan& plan);
  static void advance_mark(Sequence& sequence);

  KvLimits limits_;
  bool trees_allowed_;
  Index num_pages_;
  State state_;
  bool in_forward_ = false;
  std::vector<SeqId> last_ids_;  // of the last begin_forward
};

}  // namespace mlbench::ref
