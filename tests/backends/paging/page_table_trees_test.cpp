// The bookkeeping of the backends' caches: token trees and sliding windows, property by property.
#include <vector>

#include <gmock/gmock.h>

#include "tests/backends/paging/small_tables.h"
#include "tests/support/expect_error.h"

namespace mlbench::paging {
namespace {

using test::code_of;
using ::testing::ElementsAre;

// ---- trees ----

TEST(PageTableTrees, NodesSeeTheirAncestorsAndStandAtTheirDepth) {
  PageTable table = table_with(3);
  const SeqId ids[] = {0};
  const Index lengths[] = {5};
  const ForwardPlan plan = table.begin_forward(ids, lengths, std::vector<Index>{-1, -1, 1, 0, 2});
  EXPECT_EQ(plan.rows[1].position, 3);
  EXPECT_EQ(plan.rows[4].entry, 7);
  EXPECT_EQ(plan.rows[4].position, 5);
  EXPECT_EQ(plan.rows[4].prefix, 3);
  EXPECT_THAT(plan.rows[4].path, ElementsAre(4, 5, 7));
}

TEST(PageTableTrees, CommitMovesThePathForwardAndReleasesTheRest) {
  PageTable table = table_with(3);
  append_tree(table, 0, {-1, -1, 1, 0, 2, 4});  // path 1 2 4 at entries 4, 5, 7; page 2 holds node 5 alone
  EXPECT_EQ(table.num_available_pages(), 8);
  const auto moves = commit(table, 0, 4);
  ASSERT_EQ(moves.size(), 3U);
  EXPECT_EQ(moves[0].from, 4);
  EXPECT_EQ(moves[0].to, 3);
  EXPECT_EQ(moves[1].from, 5);
  EXPECT_EQ(moves[1].to, 4);
  EXPECT_EQ(moves[2].from, 7);
  EXPECT_EQ(moves[2].to, 5);
  EXPECT_EQ(table.sequence_length(0), 6);
  EXPECT_EQ(table.num_available_pages(), 9);
}

TEST(PageTableTrees, CommitOfAChainMovesNothingAndOfMinusOneDropsTheTree) {
  PageTable table = table_with(3);
  append_tree(table, 0, {-1, 0, 1});
  EXPECT_TRUE(commit(table, 0, 1).empty());
  EXPECT_EQ(table.sequence_length(0), 5);
  append_tree(table, 0, {-1, 0, 1, 2});
  EXPECT_TRUE(commit(table, 0, -1).empty());
  EXPECT_EQ(table.sequence_length(0), 5);
  EXPECT_EQ(table.num_available_pages(), 9);
}

TEST(PageTableTrees, AnUncommittedTreeStandsInTheWay) {
  PageTable table = table_with(3);
  append_tree(table, 0, {-1, 0});
  EXPECT_EQ(code_of([&] { append(table, 0, 1); }), "kv.uncommitted_tree");
  EXPECT_EQ(code_of([&] { (void)table.fork_sequence(0, 1, 1); }), "kv.uncommitted_tree");
  (void)commit(table, 0, 1);
  append(table, 0, 1);
  EXPECT_FALSE(table.fork_sequence(0, 1, 4));
}

TEST(PageTableTrees, GrowOverForwardsButAreNotCommittedThen) {
  PageTable table = table_with(2);
  append_tree(table, 0, {-1, 0});
  const SeqId ids[] = {0};
  const Index lengths[] = {2};
  const ForwardPlan plan = table.begin_forward(ids, lengths, std::vector<Index>{0, 1});
  table.end_forward();
  EXPECT_EQ(plan.rows[0].position, 3);  // node 2, child of node 0
  EXPECT_THAT(plan.rows[0].path, ElementsAre(2, 4));
  EXPECT_EQ(plan.rows[1].position, 4);  // node 3, child of node 1
  EXPECT_THAT(plan.rows[1].path, ElementsAre(2, 3, 5));
  EXPECT_EQ(code_of([&] { commit(table, 0, 3); }), "kv.unsupported");
  (void)table.popn(0, 2);  // what is left was announced first, but the tree took two forwards
  EXPECT_EQ(code_of([&] { commit(table, 0, 1); }), "kv.unsupported");
  (void)table.popn(0, 2);
  append(table, 0, 1);  // no tree is left
}

TEST(PageTableTrees, PopnTakesTheYoungestNodesFirst) {
  PageTable table = table_with(3);
  append_tree(table, 0, {-1, 0, 0, 1});
  EXPECT_FALSE(table.popn(0, 2));
  EXPECT_EQ(code_of([&] { append(table, 0, 1); }), "kv.uncommitted_tree");
  EXPECT_EQ(code_of([&] { commit(table, 0, 2); }), "kv.bad_argument");
  EXPECT_TRUE(commit(table, 0, 1).empty());
  EXPECT_EQ(table.sequence_length(0), 5);
  append_tree(table, 0, {-1, 0});
  (void)table.popn(0, 3);  // the tree and a committed entry
  append(table, 0, 1);
  EXPECT_EQ(table.sequence_length(0), 5);
}

TEST(PageTableTrees, CommitNamesTheSequencesOfTheLastForwardInTheirOrder) {
  PageTable table = table_with(3);
  table.add_sequence(1);
  const std::vector<SeqId> ids = {1, 0};
  const Index lengths[] = {2, 2};
  (void)table.begin_forward(ids, lengths, std::vector<Index>{-1, -1, -1, -1});
  table.end_forward();
  const auto commit_both = [&](const std::vector<SeqId>& named, const std::vector<Index>& leaves) {
    return code_of([&] { (void)table.commit_trees(named, leaves); });
  };
  EXPECT_EQ(commit_both({0, 1}, {1, 1}), "kv.bad_argument");
  EXPECT_EQ(commit_both({1}, {1}), "kv.bad_argument");
  EXPECT_EQ(commit_both({1, 0}, {1}), "kv.bad_argument");
  EXPECT_EQ(commit_both({1, 0}, {1, 2}), "kv.bad_argument");
  EXPECT_EQ(commit_both({1, 0}, {-2, 1}), "kv.bad_argument");
  EXPECT_EQ(table.total_sequence_length(), 7);  // the first one is not committed alone
  EXPECT_EQ(commit_both({1, 0}, {1, 1}), "");
  EXPECT_EQ(table.total_sequence_length(), 5);
  EXPECT_EQ(commit_both({1, 0}, {0, 0}), "kv.bad_argument");  // no tree is left
  table.remove_sequence(1);
  EXPECT_EQ(commit_both({1, 0}, {0, 0}), "kv.unknown_seq");
}

TEST(PageTableTrees, HaveAtMost256Nodes) {
  PageTable table({.max_batch_size = 1, .max_total_seq_len = 1000, .prefill_chunk_size = 1000}, true);
  table.add_sequence(0);
  append_tree(table, 0, std::vector<Index>(256, -1));
  EXPECT_EQ(code_of([&] { append_tree(table, 0, {-1}); }), "kv.bad_argument");
  (void)commit(table, 0, -1);
  EXPECT_EQ(code_of([&] { append_tree(table, 0, std::vector<Index>(257, -1)); }), "kv.bad_argument");
  EXPECT_EQ(table.sequence_length(0), 0);
}

TEST(PageTableTrees, AreRefusedWhereKeysAreKeptUnrotated) {
  PageTable in_line(small_limits(), false);
  in_line.add_sequence(0);
  EXPECT_EQ(code_of([&] { append_tree(in_line, 0, {-1}); }), "kv.unsupported");
  PageTable windowed(small_limits(true), true);
  windowed.add_sequence(0);
  EXPECT_EQ(code_of([&] { append_tree(windowed, 0, {-1}); }), "kv.unsupported");
}

// ---- windows ----

TEST(PageTableWindows, KeepTheSinkAndTheYoungest) {
  PageTable table = window_table_with(1);
  table.enable_sliding_window(0, 8, 2);
  append(table, 0, 9);  // the specification's example: tokens 0..9, of which 0, 1, 4..9 stay
  EXPECT_EQ(table.sequence_length(0), 8);
  EXPECT_THAT(slots_of(table, 0), ElementsAre(0, 1, 4, 5, 6, 7, 8, 9));
  const SeqId ids[] = {0};
  const Index lengths[] = {1};
  const ForwardPlan plan = table.begin_forward(ids, lengths, std::nullopt);
  EXPECT_EQ(plan.rows[0].position, 8);
  EXPECT_EQ(plan.rows[0].prefix, 9);  // all of the window and itself
  EXPECT_EQ(plan.sequences[0].total, 9);
  table.end_forward();
  EXPECT_THAT(slots_of(table, 0), ElementsAre(0, 1, 5, 6, 7, 8, 9, 10));
}

TEST(PageTableWindows, SlideAtTheEndOfAForwardNotWhenTheyAreEnabled) {
  PageTable table = window_table_with(10);
  table.enable_sliding_window(0, 4, 0);
  EXPECT_EQ(table.sequence_length(0), 10);
  append(table, 0, 1);
  EXPECT_EQ(table.sequence_length(0), 4);
  EXPECT_THAT(slots_of(table, 0), ElementsAre(7, 8, 9, 10));
}

TEST(PageTableWindows, ReleaseThePagesTheySlidOver) {
  PageTable table = window_table_with(1);
  table.enable_sliding_window(0, 8, 2);
  for (int i = 0; i < 100; ++i) append(table, 0, 3);
  EXPECT_EQ(table.sequence_length(0), 8);
  // The sink's page, and as many as 6 entries can touch.
  EXPECT_LE(table.num_pages() - table.num_available_pages(), 1 + 3);
  table.remove_sequence(0);
  EXPECT_EQ(table.num_available_pages(), table.num_pages());
}

TEST(PageTableWindows, NeverSlideOverASharedPrefix) {
  PageTable table = window_table_with(9);
  (void)table.fork_sequence(0, 1, 9);
  table.enable_sliding_window(1, 6, 1);  // the prefix of 8 alone is more than the window
  append(table, 1, 3);
  EXPECT_EQ(table.sequence_length(1), 8);
  EXPECT_THAT(slots_of(table, 1), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
  append(table, 1, 1);
  EXPECT_EQ(table.sequence_length(1), 8);
  EXPECT_EQ(table.sequence_length(0), 9);
}

TEST(PageTableWindows, CountAsSharedWhatAForkLeftInBlocksBeforeTheLast) {
  PageTable table = window_table_with(10);
  (void)table.fork_sequence(0, 1, 5);
  table.remove_sequence(1);              // nobody shares the first page any more, but it stays a block
  table.enable_sliding_window(0, 8, 1);  // sink: 4
  append(table, 0, 1);                   // entries 4, 5, 6 go
  EXPECT_THAT(slots_of(table, 0), ElementsAre(0, 1, 2, 3, 7, 8, 9, 10));
}

// 0 and 1 share 8 entries; that 2 was forked from 1 at 4 splits the block for 0, too.
TEST(PageTableWindows, CountAsSharedWhatAForkOfAnotherSequenceSplitOff) {
  PageTable table = window_table_with(8);
  (void)table.fork_sequence(0, 1, 8);
  (void)table.fork_sequence(1, 2, 4);
  for (const SeqId id : {1, 2}) table.remove_sequence(id);
  (void)table.popn(0, 1);
  append(table, 0, 4);
  table.enable_sliding_window(0, 6, 0);  // sink: 4
  append(table, 0, 1);
  EXPECT_THAT(slots_of(table, 0), ElementsAre(0, 1, 2, 3, 10, 11));
}

TEST(PageTableWindows, CountAsSharedNothingThatPopnMadeTheSequencesOwnAgain) {
  PageTable table = window_table_with(8);
  (void)table.fork_sequence(0, 1, 8);
  table.remove_sequence(1);
  (void)table.popn(0, 1);  // into the block that was shared: it is the last one now
  table.enable_sliding_window(0, 6, 1);
  append(table, 0, 1);
  EXPECT_THAT(slots_of(table, 0), ElementsAre(0, 3, 4, 5, 6, 7));
}

TEST(PageTableWindows, AllowForksUpToTheSinkWhoseChildHasNone) {
  PageTable table = window_table_with(5);
  table.enable_sliding_window(0, 8, 3);
  EXPECT_EQ(code_of([&] { (void)table.fork_sequence(0, 1, 4); }), "kv.bad_argument");
  EXPECT_EQ(code_of([&] { (void)table.fork_sequence(0, 1, -1); }), "kv.bad_argument");
  append(table, 0, 8);
  const auto copy = table.fork_sequence(0, 1, 3);  // also when it has slid
  ASSERT_TRUE(copy);
  EXPECT_EQ(copy->from, 0);
  EXPECT_EQ(copy->count, 3);
  append(table, 1, 10);
  EXPECT_EQ(table.sequence_length(1), 13);
  EXPECT_FALSE(table.popn(1, 12));
}

TEST(PageTableWindows, MayBePoppedUntilTheySlide) {
  PageTable table = window_table_with(5);
  table.enable_sliding_window(0, 8, 2);
  EXPECT_FALSE(table.popn(0, 1));
  append(table, 0, 5);
  EXPECT_EQ(table.sequence_length(0), 8);
  EXPECT_EQ(code_of([&] { (void)table.popn(0, 1); }), "kv.unsupported");
  EXPECT_FALSE(table.popn(0, 0));
  EXPECT_EQ(code_of([&] { (void)table.popn(0, 9); }), "kv.bad_argument");
}

TEST(PageTableWindows, AreSetOnceAndHoldTheirSink) {
  PageTable table = window_table_with(1);
  EXPECT_EQ(code_of([&] { table.enable_sliding_window(0, 0, 0); }), "kv.bad_argument");
  EXPECT_EQ(code_of([&] { table.enable_sliding_window(0, 4, -1); }), "kv.bad_argument");
  EXPECT_EQ(code_of([&] { table.enable_sliding_window(0, 4, 4); }), "kv.bad_argument");
  EXPECT_EQ(code_of([&] { table.enable_sliding_window(9, 4, 1); }), "kv.unknown_seq");
  table.enable_sliding_window(0, 4, 3);
  EXPECT_EQ(code_of([&] { table.enable_sliding_window(0, 4, 3); }), "kv.bad_argument");
}

// A window smaller than its shared prefix, which popn then cut: once it has slid, only the sink is left.
class PageTableSinkAlone : public ::testing::Test {
 protected:
  PageTableSinkAlone() {
    (void)table_.fork_sequence(0, 1, 16);
    table_.remove_sequence(1);
    table_.enable_sliding_window(0, 8, 2);  // sink: 16
    (void)table_.popn(0, 13);
    append(table_, 0, 15);  // 18, of which 16 stay; the last page holds nothing any more
    (void)table_.fork_sequence(0, 1, -1);
  }
  PageTable table_ = window_table_with(16);
};

TEST_F(PageTableSinkAlone, IsForkedWithoutTheWindowsLeavings) {
  EXPECT_EQ(table_.sequence_length(0), 16);
  EXPECT_EQ(slots_of(table_, 0), slots_of(table_, 1));
  EXPECT_EQ(table_.num_available_pages(), table_.num_pages() - 4);
  const SeqId ids[] = {0};
  const Index lengths[] = {1};
  const ForwardPlan plan = table_.begin_forward(ids, lengths, std::nullopt);
  EXPECT_EQ(plan.sequences[0].layout.slot(16) % 4, 0);  // it goes on at the start of a page
}

TEST_F(PageTableSinkAlone, LeavesTheChildWithoutAGap) {
  table_.remove_sequence(0);
  (void)table_.popn(1, 1);
  append(table_, 1, 5);
  EXPECT_EQ(table_.num_available_pages(), table_.num_pages() - 5);
  const std::vector<Index> all = slots_of(table_, 1);
  ASSERT_EQ(all.size(), 20U);
  table_.enable_sliding_window(1, 10, 2);
  append(table_, 1, 1);  // 21: entries 2..12 go
  std::vector<Index> kept = slots_of(table_, 1);
  ASSERT_EQ(kept.size(), 10U);
  kept.pop_back();  // the new one
  EXPECT_THAT(kept, ElementsAre(all[0], all[1], all[13], all[14], all[15], all[16], all[17], all[18], all[19]));
}

}  // namespace
}  // namespace mlbench::paging
