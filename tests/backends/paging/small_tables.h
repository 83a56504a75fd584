// Small page tables and short ways to fill them.
#pragma once

#include <optional>
#include <vector>

#include "tests/backends/paging/random_operations.h"

namespace mlbench::paging {

inline void append(PageTable& table, SeqId id, Index count, const Parents& parents = std::nullopt) {
  const SeqId ids[] = {id};
  const Index lengths[] = {count};
  (void)table.begin_forward(ids, lengths, parents);
  table.end_forward();
}

inline void append_tree(PageTable& table, SeqId id, const std::vector<Index>& parents) {
  append(table, id, static_cast<Index>(parents.size()), parents);
}

inline std::vector<SlotCopy> commit(PageTable& table, SeqId id, Index leaf) {
  const SeqId ids[] = {id};
  const Index leaves[] = {leaf};
  return table.commit_trees(ids, leaves);
}

// Pages of 4 slots: 11 of them, with windows 19.
inline KvLimits small_limits(bool windows = false) {
  return {.max_batch_size = 4,
          .max_total_seq_len = 40,
          .prefill_chunk_size = 20,
          .page_size = 4,
          .support_sliding_window = windows};
}

inline PageTable table_with(Index length) {
  PageTable table(small_limits(), true);
  table.add_sequence(0);
  append(table, 0, length);
  return table;
}

inline PageTable window_table_with(Index length) {
  PageTable table(small_limits(true), false);
  table.add_sequence(0);
  append(table, 0, length);
  return table;
}

}  // namespace mlbench::paging
