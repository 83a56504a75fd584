// The bookkeeping of a backend's paged KV cache (spec methods.md, sections 4 to 7), shared by all backends of ours:
// which entry of which sequence stands in which slot. Integers only; the values are the backend's. Every operation
// succeeds whole or throws a request error with a kv.* code and changes nothing.
//
// A sequence is a list of pages. Whole pages of a common prefix are shared by sequences that were forked, counted by
// reference; the last, partly filled page of a sequence is its own. A slot is page * page_size + offset. How many pages
// are in use after an operation is what the specification's fork page rule gives.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <vector>

#include "models/kv_cache.h"
#include "models/kv_transfer.h"

namespace mlbench::paging {

// Slots [0, count) of page `from` are to be copied to page `to`, in all layers.
struct PageCopy {
  Index from, to, count;
};

// One entry is to be copied, in all layers. Lists of them are to be carried out in order.
struct SlotCopy {
  Index from, to;
};

// Where the entries of a sequence stand.
struct Layout {
  std::span<const Index> pages;
  Index page_size = 1;
  Index sink = 0;  // entries [0, sink) stand at their place; those behind them `gap` places further back,
  Index gap = 0;   // because a window slid over what was between

  [[nodiscard]] Index slot(Index entry) const {
    const Index place = entry < sink ? entry : entry + gap;
    return pages[static_cast<std::size_t>(place / page_size)] * page_size + place % page_size;
  }
};

// One sequence of the announced forward. Spans stay valid until the next operation on the table.
struct PlannedSequence {
  SeqId id = 0;
  Index total = 0;  // entries with the new ones
  Layout layout;
};

// One row of the announced forward sees entries [0, prefix) of its sequence, then those of `path`, itself last.
struct PlannedRow {
  Index sequence = 0;  // index into ForwardPlan::sequences
  Index entry = 0;     // index of the row's own entry in its sequence
  Index position = 0;  // for RoPE and position embeddings
  Index prefix = 0;
  std::vector<Index> path;  // empty but for trees

  // Entries of the path that go on where the prefix ends: taken as a part of it, a tree without branches is computed as
  // the same rows without a tree.
  [[nodiscard]] Index joined() const {
    Index count = 0;
    for (const Index at : path) {
      if (at != prefix + count) break;
      ++count;
    }
    return count;
  }
};

// When the forward ends, entries of these slots go to slots `to` of another cache, in this order.
struct PlannedSend {
  Index receiver_offset = 0;
  std::vector<Index> from;
  SlotRuns to;
};

struct ForwardPlan {
  std::vector<PlannedSequence> sequences;
  std::vector<PlannedRow> rows;
  std::vector<PlannedSend> sends;
};

// Rows [first, first + count) of a plan, of at least one, as if the rows that follow them had not been announced: none
// of those is visible to them, as a node of a tree comes after its parent.
[[nodiscard]] ForwardPlan rows_of(const ForwardPlan& plan, Index first, Index count);

class PageTable {
 public:
  // `trees_allowed`: false where keys are kept unrotated (spec methods.md 6.2). Throws kv.bad_argument for limits < 1.
  PageTable(const KvLimits& limits, bool trees_allowed);

  void add_sequence(SeqId id);
  void remove_sequence(SeqId id);
  // The child gets the first `pos` entries of the parent; -1: all.
  std::optional<PageCopy> fork_sequence(SeqId parent, SeqId child, Index pos);
  std::optional<PageCopy> popn(SeqId id, Index count);
  void enable_sliding_window(SeqId id, Index window, Index sink);
  ForwardPlan begin_forward(std::span<const SeqId> ids, std::span<const Index> lengths,
                            const std::optional<std::vector<Index>>& tree_parents);
  void end_forward();  // windows slide here
  std::vector<SlotCopy> commit_trees(std::span<const SeqId> ids, std::span<const Index> leaves);

  // Transfer between two caches (spec methods.md, section 10; what of it callers rely on stands at backends::KvCache).
  // A sequence that waits for entries can only be asked about, or removed.
  SlotRuns disagg_prepare_recv(SeqId id, Index count);
  void disagg_mark_send(SeqId id, Index begin, const SlotRuns& slots, Index receiver_offset);
  // Entries came for these slots; also within a forward. False, and nothing changed, where they are not all of one
  // sequence that waits: its receiver was given up.
  bool receive(const SlotRuns& slots);

  void clear();

  [[nodiscard]] bool in_forward() const { return in_forward_; }
  [[nodiscard]] bool empty() const { return sequences_.empty(); }
  [[nodiscard]] Index num_pages() const { return num_pages_; }
  [[nodiscard]] Index num_available_pages() const;
  [[nodiscard]] Index total_sequence_length() const;
  [[nodiscard]] Index sequence_length(SeqId id) const;
  [[nodiscard]] Layout layout(SeqId id) const;
  [[nodiscard]] bool waits(SeqId id) const;  // for entries; false where there is no such sequence

 private:
  struct Window {
    Index size = 0;
    Index sink = 0;  // entries that never slide
  };
  struct Tree {
    Index base = 0;              // committed entries
    std::vector<Index> parents;  // by node; -1: follows the last committed entry
    Index forwards = 0;          // calls it took to announce
  };
  struct Mark {
    Index begin = 0;
    SlotRuns slots;  // of entries [begin, begin + slots.size()) in the receiver's cache
    Index receiver_offset = 0;
    Index next = 0;  // the first entry that has not gone yet, >= begin

    [[nodiscard]] Index end() const { return begin + slots.size(); }
  };
  struct Receipt {
    SlotRuns slots;
    std::vector<bool> came;
    Index missing = 0;
  };
  struct Sequence {
    std::vector<Index> pages;  // as many as length + gap slots need
    Index length = 0;
    Index shared = 0;  // entries in the specification's blocks before the last: what a window may not slide over
    Index gap = 0;     // as in Layout; 0 until a window slides, and then length >= window->sink
    bool slid = false;
    std::optional<Window> window;
    std::optional<Tree> tree;        // all of it lies behind `shared`
    std::optional<Mark> mark;        // until its last entry has gone
    std::optional<Receipt> receipt;  // until its last entry has come
  };
  // The specification's blocks are runs of pages. Of a block nothing is needed but where it starts, and only once it is
  // not the last of a sequence any more: popn then finds what is shared. A block that a fork splits is split for all
  // who share it, so the mark is the page's.
  struct Page {
    Index users = 0;  // sequences that hold it; 0: free. Along a sequence it never grows
    bool starts_block = false;
  };

  void require_idle(const char* operation) const;
  void require_addable(SeqId id) const;
  void require_pages(Index count) const;
  [[nodiscard]] const Sequence& find(SeqId id) const;
  [[nodiscard]] Sequence& find(SeqId id);
  // The same, of a sequence that does not wait for entries.
  [[nodiscard]] const Sequence& ready(SeqId id) const;
  [[nodiscard]] Sequence& ready(SeqId id);
  static void require_committed(SeqId id, const Sequence& sequence);
  [[nodiscard]] Sequence& transferable(const char* operation, SeqId id);
  Page& page(Index index) { return pages_[static_cast<std::size_t>(index)]; }
  [[nodiscard]] Index pages_for(Index slots) const { return (slots + limits_.page_size - 1) / limits_.page_size; }
  [[nodiscard]] Index pages_to_append(const Sequence& sequence, Index count) const;
  void add_page(Sequence& sequence);
  void release_page(Index index);
  void cut_pages(Sequence& sequence, Index keep);
  PageCopy copy_front(Index from, Sequence& to, Index count);
  [[nodiscard]] Index block_start(const Sequence& sequence, Index entry) const;
  [[nodiscard]] Index checked_rows(std::span<const SeqId> ids, std::span<const Index> lengths) const;
  static void require_tree(const Sequence& sequence, std::span<const Index> parents);
  static void grow_tree(Sequence& sequence, std::span<const Index> parents);
  void append(Sequence& sequence, Index count);
  static void plan_rows(const Sequence& sequence, Index count, ForwardPlan& plan);
  static void require_listed(SeqId id, const Sequence& sequence, Index count, bool as_tree);
  void plan_send(const Sequence& sequence, ForwardPlan& plan) const;
  static void advance_mark(Sequence& sequence);
  [[nodiscard]] Layout layout_of(const Sequence& sequence) const;
  void slide(Sequence& sequence);
  void require_committable(SeqId id, Index leaf) const;
  void commit(Sequence& sequence, Index leaf, std::vector<SlotCopy>& copies);

  KvLimits limits_;
  bool trees_allowed_;
  Index num_pages_;
  std::map<SeqId, Sequence> sequences_;
  std::vector<Page> pages_;            // those that were ever used, of num_pages_
  std::vector<Index> released_pages_;  // reused last in, first out
  bool in_forward_ = false;
  std::vector<SeqId> last_ids_;  // of the last begin_forward
};

}  // namespace mlbench::paging
