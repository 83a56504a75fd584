// What the two instances of a disaggregated run agree on (spec methods.md, section 10): the slots that the decode
// instance has reserved, and where in a prompt the prefill instance stops. The entries themselves are the caches'.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "core/tensor.h"

namespace mlbench {

// Slots in an order of their own, none of them twice, kept as runs of neighbours: a prompt's are a few.
class SlotRuns {
 public:
  SlotRuns() = default;
  // Throws kv.bad_argument for a slot outside 0..2^31 - 1, and for one that is named twice.
  explicit SlotRuns(std::span<const Index> slots);

  // How they travel: [k, start_1, count_1, ..., start_k, count_k]. Reading throws kv.bad_argument for a list that is
  // not like that, names a slot twice, or one outside 0..2^31 - 1.
  [[nodiscard]] static SlotRuns decoded(std::span<const Index> list);
  [[nodiscard]] std::vector<Index> encoded() const;

  [[nodiscard]] Index size() const { return runs_.empty() ? 0 : runs_.back().before + runs_.back().count; }
  [[nodiscard]] bool empty() const { return runs_.empty(); }
  [[nodiscard]] Index at(Index place) const;  // 0 <= place < size()
  // Where the slot stands in the list, if it does.
  [[nodiscard]] std::optional<Index> place_of(Index slot) const;
  // Slots [first, first + count) of the list.
  [[nodiscard]] SlotRuns part(Index first, Index count) const;
  [[nodiscard]] std::vector<Index> slots() const { return slots(0, size()); }
  [[nodiscard]] Index largest() const;  // -1 where there is none

  friend bool operator==(const SlotRuns&, const SlotRuns&) = default;

 private:
  struct Run {
    Index start = 0, count = 0;
    Index before = 0;  // slots of the runs before it
    friend bool operator==(const Run&, const Run&) = default;
  };

  [[nodiscard]] std::vector<Index> slots(Index first, Index count) const;
  void add(Index start, Index count);
  void sort();  // kv.bad_argument for a slot that is there twice

  std::vector<Run> runs_;      // as long as can be: lists of the same slots are equal
  std::vector<Run> by_start_;  // the same, ascending
};

// The end of positions [begin, end) of a prompt that are computed elsewhere; a negative `end` counts from the prompt's.
// Throws kv.bad_argument unless 0 <= begin < end < prompt_length: the last token is the decode instance's own.
inline constexpr Index kAllButTheLast = -1;
[[nodiscard]] Index transfer_end(Index begin, Index end, Index prompt_length);

}  // namespace mlbench
