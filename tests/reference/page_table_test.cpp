// Pages, slots and errors of the cache's bookkeeping (specification methods.md, sections 4 to 6).
#include "reference/page_table.h"

#include <algorithm>

#include <gmock/gmock.h>

#include "tests/support/expect_error.h"

namespace mlbench::ref {
namespace {

using test::code_of;
using ::testing::ElementsAre;

class Pages : public ::testing::Test {
 protected:
  static KvLimits limits(bool window = false) {
    return {.max_batch_size = 4,
            .max_total_seq_len = 40,
            .prefill_chunk_size = 20,
            .page_size = 4,
            .support_sliding_window = window};
  }
  static void append(PageTable& table, SeqId id, Index count) {
    const SeqId ids[] = {id};
    const Index lengths[] = {count};
    (void)table.begin_forward(ids, lengths, std::nullopt);
    table.end_forward();
  }
  static void append_tree(PageTable& table, SeqId id, const std::vector<Index>& parents) {
    const SeqId ids[] = {id};
    const Index lengths[] = {static_cast<Index>(parents.size())};
    (void)table.begin_forward(ids, lengths, parents);
    table.end_forward();
  }
  static std::vector<SlotMove> commit(PageTable& table, SeqId id, Index leaf) {
    const SeqId ids[] = {id};
    const Index leaves[] = {leaf};
    return table.commit_trees(ids, leaves);
  }

  PageTable table_{limits(), true};
};

TEST_F(Pages, AreAsManyAsTheFormulaSays) {
  EXPECT_EQ(table_.num_pages(), 11);  // ceil(40 / 4) + 1
  EXPECT_EQ(PageTable(limits(true), false).num_pages(), 11 + 2 * 4);
  EXPECT_EQ(PageTable({.max_batch_size = 1, .max_total_seq_len = 41, .prefill_chunk_size = 1, .page_size = 4}, true)
                .num_pages(),
            12);
}

TEST_F(Pages, ComeInOrderAndAreReusedLastInFirstOut) {
  for (const SeqId id : {0, 1}) table_.add_sequence(id);
  append(table_, 0, 5);
  append(table_, 1, 6);
  EXPECT_THAT(table_.slots(0), ElementsAre(0, 1, 2, 3, 4));
  EXPECT_THAT(table_.slots(1), ElementsAre(8, 9, 10, 11, 12, 13));
  EXPECT_EQ(table_.num_available_pages(), 7);
  table_.remove_sequence(0);  // releases page 0, then page 1
  EXPECT_EQ(table_.num_available_pages(), 9);
  table_.add_sequence(2);
  append(table_, 2, 9);
  EXPECT_THAT(table_.slots(2), ElementsAre(4, 5, 6, 7, 0, 1, 2, 3, 16));
}

TEST_F(Pages, AForkInsideAPageCopiesItsFirstSlots) {
  table_.add_sequence(0);
  append(table_, 0, 10);  // pages 0, 1, 2
  const auto copy = table_.fork_sequence(0, 1, 6);
  ASSERT_TRUE(copy);
  EXPECT_EQ(copy->from, 1);
  EXPECT_EQ(copy->to, 3);
  EXPECT_EQ(copy->count, 2);
  EXPECT_THAT(table_.slots(1), ElementsAre(0, 1, 2, 3, 12, 13));
  EXPECT_EQ(table_.slots(0).size(), 10U);
  EXPECT_EQ(table_.num_available_pages(), 11 - 4);
  EXPECT_EQ(table_.total_sequence_length(), 16);  // the shared prefix counts for both
}

TEST_F(Pages, AForkOnAPageBorderSharesWholePagesAndCopiesNone) {
  table_.add_sequence(0);
  append(table_, 0, 10);
  EXPECT_FALSE(table_.fork_sequence(0, 1, 8));
  EXPECT_EQ(table_.num_available_pages(), 8);
  append(table_, 1, 1);
  append(table_, 0, 3);
  EXPECT_THAT(table_.slots(1), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 12));
  EXPECT_EQ(table_.slots(0).back(), 16);
}

TEST_F(Pages, AForkAtTheEndOfFullPagesGivesBothABlockOfTheirOwn) {
  table_.add_sequence(0);
  append(table_, 0, 8);
  EXPECT_FALSE(table_.fork_sequence(0, 1, -1));
  EXPECT_FALSE(table_.fork_sequence(0, 2, 8));  // the parent's last block is empty now
  append(table_, 0, 1);
  append(table_, 1, 1);
  append(table_, 2, 1);
  EXPECT_EQ(table_.slots(0).back(), 8);
  EXPECT_EQ(table_.slots(1).back(), 12);
  EXPECT_EQ(table_.slots(2).back(), 16);
  table_.remove_sequence(0);
  table_.remove_sequence(1);
  EXPECT_EQ(table_.num_available_pages(), 11 - 3);
  table_.remove_sequence(2);
  EXPECT_EQ(table_.num_available_pages(), 11);
}

TEST_F(Pages, AForkAtNoTokensIsANewSequence) {
  table_.add_sequence(0);
  append(table_, 0, 5);
  EXPECT_FALSE(table_.fork_sequence(0, 1, 0));
  EXPECT_EQ(table_.sequence_length(1), 0);
}

TEST_F(Pages, PopnReleasesPagesThatNothingUsesAnyMore) {
  table_.add_sequence(0);
  append(table_, 0, 9);
  EXPECT_FALSE(table_.popn(0, 0));
  EXPECT_FALSE(table_.popn(0, 1));
  EXPECT_EQ(table_.num_available_pages(), 9);
  EXPECT_FALSE(table_.popn(0, 8));
  EXPECT_EQ(table_.num_available_pages(), 11);
  EXPECT_EQ(table_.sequence_length(0), 0);
  append(table_, 0, 1);
}

TEST_F(Pages, PopnGivesPagesBackFromTheEndAlsoWhenNoneIsLeft) {
  table_.add_sequence(0);
  append(table_, 0, 12);
  (void)table_.popn(0, 12);
  append(table_, 0, 4);
  EXPECT_THAT(table_.slots(0), ElementsAre(0, 1, 2, 3));  // page 0 was released last
}

TEST_F(Pages, PopnIntoASharedPrefixLeavesTheOthersTheirs) {
  table_.add_sequence(0);
  append(table_, 0, 8);
  (void)table_.fork_sequence(0, 1, 8);
  append(table_, 1, 3);
  const auto copy = table_.popn(1, 5);  // its own 3, and 2 of the prefix
  ASSERT_TRUE(copy);
  EXPECT_EQ(copy->count, 2);
  EXPECT_EQ(copy->from, 1);
  EXPECT_EQ(table_.sequence_length(1), 6);
  EXPECT_THAT(table_.slots(0), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
  EXPECT_EQ(table_.slots(1).at(3), 3);
  EXPECT_NE(table_.slots(1).at(4), 4);
  table_.remove_sequence(0);
  table_.remove_sequence(1);
  EXPECT_EQ(table_.num_available_pages(), 11);
}

TEST_F(Pages, PopnThroughSeveralGenerationsOfForksCountsRight) {
  table_.add_sequence(0);
  append(table_, 0, 8);
  (void)table_.fork_sequence(0, 1, 8);
  append(table_, 1, 4);
  (void)table_.fork_sequence(1, 2, 12);
  append(table_, 2, 2);
  (void)table_.popn(2, 13);
  EXPECT_EQ(table_.sequence_length(2), 1);
  EXPECT_EQ(table_.sequence_length(1), 12);
  append(table_, 2, 4);
  for (const SeqId id : {2, 0, 1}) table_.remove_sequence(id);
  EXPECT_EQ(table_.num_available_pages(), 11);
}

TEST_F(Pages, CommitMovesThePathForwardAndReleasesTheRest) {
  table_.add_sequence(0);
  append(table_, 0, 3);
  append_tree(table_, 0, {-1, -1, 1, 0, 2});  // path 1 2 4 at entries 4, 5, 7
  EXPECT_EQ(table_.sequence_length(0), 8);
  const auto moves = commit(table_, 0, 4);
  ASSERT_EQ(moves.size(), 3U);
  EXPECT_EQ(moves[0].from, 4);
  EXPECT_EQ(moves[0].to, 3);
  EXPECT_EQ(moves[2].from, 7);
  EXPECT_EQ(moves[2].to, 5);
  EXPECT_EQ(table_.sequence_length(0), 6);
  append_tree(table_, 0, {-1, 0, 1, 2});
  EXPECT_TRUE(commit(table_, 0, -1).empty());
  EXPECT_EQ(table_.sequence_length(0), 6);
  EXPECT_EQ(table_.num_available_pages(), 9);
}

TEST_F(Pages, TreesGrowOverForwardsButAreNotCommittedThen) {
  table_.add_sequence(0);
  append(table_, 0, 2);
  append_tree(table_, 0, {-1, 0});
  const SeqId ids[] = {0};
  const Index lengths[] = {2};
  const ForwardPlan plan = table_.begin_forward(ids, lengths, std::vector<Index>{0, 1});
  table_.end_forward();
  EXPECT_EQ(plan.rows[0].position, 3);  // node 2, child of node 0
  EXPECT_THAT(plan.rows[0].path, ElementsAre(2, 4));
  EXPECT_EQ(plan.rows[1].position, 4);  // node 3, child of node 1
  EXPECT_THAT(plan.rows[1].path, ElementsAre(2, 3, 5));
  EXPECT_EQ(code_of([&] { commit(table_, 0, 3); }), "kv.unsupported");
  (void)table_.popn(0, 4);
  append(table_, 0, 1);  // no tree is left
}

TEST_F(Pages, FailedOperationsChangeNothing) {
  table_.add_sequence(0);
  append(table_, 0, 18);
  (void)table_.fork_sequence(0, 1, 18);
  append(table_, 1, 18);
  table_.add_sequence(2);
  const Index pages = table_.num_available_pages();
  const auto slots = table_.slots(1);
  const SeqId both[] = {2, 1};
  const Index fill[] = {3, 12};
  ASSERT_LT(pages * 4, 15);
  EXPECT_EQ(code_of([&] { (void)table_.begin_forward(both, fill, std::nullopt); }), "kv.full");
  EXPECT_FALSE(table_.in_forward());
  EXPECT_EQ(table_.num_available_pages(), pages);
  EXPECT_EQ(table_.sequence_length(2), 0);
  EXPECT_EQ(table_.slots(1), slots);
  EXPECT_EQ(code_of([&] { (void)table_.popn(1, 37); }), "kv.bad_argument");
  EXPECT_EQ(table_.slots(1), slots);
}

TEST_F(Pages, AForkOrPopnThatNeedsAPageReportsAFullCache) {
  PageTable table({.max_batch_size = 4, .max_total_seq_len = 8, .prefill_chunk_size = 20, .page_size = 4},
                  true);  // 3 pages
  table.add_sequence(0);
  append(table, 0, 8);
  (void)table.fork_sequence(0, 1, 8);
  append(table, 1, 4);
  EXPECT_EQ(code_of([&] { (void)table.fork_sequence(0, 2, 6); }), "kv.full");
  EXPECT_EQ(code_of([&] { (void)table.sequence_length(2); }), "kv.unknown_seq");
  table.remove_sequence(1);
  (void)table.fork_sequence(0, 1, 8);
  table.add_sequence(2);
  append(table, 2, 1);
  EXPECT_EQ(code_of([&] { (void)table.popn(1, 2); }), "kv.full");
  EXPECT_EQ(table.sequence_length(1), 8);
}

TEST_F(Pages, ArgumentsOutsideTheirRangeAreRefusedByCode) {
  table_.add_sequence(0);
  append(table_, 0, 6);
  const auto begin = [&](std::vector<SeqId> ids, std::vector<Index> lengths,
                         std::optional<std::vector<Index>> parents = std::nullopt) {
    return code_of([&] { (void)table_.begin_forward(ids, lengths, parents); });
  };
  EXPECT_EQ(code_of([&] { table_.add_sequence(0); }), "kv.duplicate_seq");
  EXPECT_EQ(code_of([&] { table_.add_sequence(-1); }), "kv.bad_argument");
  EXPECT_EQ(code_of([&] { table_.remove_sequence(9); }), "kv.unknown_seq");
  EXPECT_EQ(code_of([&] { (void)table_.fork_sequence(9, 1, 0); }), "kv.unknown_seq");
  EXPECT_EQ(code_of([&] { (void)table_.fork_sequence(0, 0, 0); }), "kv.duplicate_seq");
  EXPECT_EQ(code_of([&] { (void)table_.fork_sequence(0, 1, -2); }), "kv.bad_argument");
  EXPECT_EQ(code_of([&] { (void)table_.fork_sequence(0, 1, 7); }), "kv.bad_argument");
  EXPECT_EQ(code_of([&] { (void)table_.popn(9, 1); }), "kv.unknown_seq");
  EXPECT_EQ(code_of([&] { (void)table_.popn(0, -1); }), "kv.bad_argument");
  EXPECT_EQ(code_of([&] { (void)table_.popn(0, 7); }), "kv.bad_argument");
  EXPECT_EQ(begin({}, {}), "kv.bad_argument");
  EXPECT_EQ(begin({0}, {1, 1}), "kv.bad_argument");
  EXPECT_EQ(begin({0}, {0}), "kv.bad_argument");
  EXPECT_EQ(begin({0, 0}, {1, 1}), "kv.bad_argument");
  EXPECT_EQ(begin({9}, {1}), "kv.unknown_seq");
  EXPECT_EQ(begin({0}, {21}), "kv.chunk_too_large");
  EXPECT_EQ(begin({0}, {2}, std::vector<Index>{-1}), "kv.bad_argument");
  EXPECT_EQ(begin({0}, {2}, std::vector<Index>{-1, 1}), "kv.bad_argument");
  EXPECT_EQ(begin({0}, {2}, std::vector<Index>{-2, 0}), "kv.bad_argument");
  EXPECT_EQ(code_of([&] { table_.enable_sliding_window(0, 4, 1); }), "kv.unsupported");
  EXPECT_EQ(code_of([&] { table_.end_forward(); }), "kv.state");
  EXPECT_EQ(code_of([&] { commit(table_, 0, -1); }), "kv.bad_argument");  // no tree
  append_tree(table_, 0, {-1, 0});
  EXPECT_EQ(begin({0}, {1}), "kv.uncommitted_tree");
  EXPECT_EQ(code_of([&] { (void)table_.fork_sequence(0, 1, 1); }), "kv.uncommitted_tree");
  EXPECT_EQ(code_of([&] { commit(table_, 0, 2); }), "kv.bad_argument");
  EXPECT_EQ(code_of([&] { commit(table_, 0, -2); }), "kv.bad_argument");
  EXPECT_EQ(code_of([&] { commit(table_, 1, 0); }), "kv.bad_argument");  // not the last forward's
  for (const SeqId id : {1, 2, 3}) table_.add_sequence(id);
  EXPECT_EQ(code_of([&] { table_.add_sequence(4); }), "kv.bad_argument");  // max_batch_size
  EXPECT_EQ(code_of([] { PageTable({.max_batch_size = 1, .max_total_seq_len = 0, .prefill_chunk_size = 1}, true); }),
            "kv.bad_argument");
}

TEST_F(Pages, ATreeHasAtMost256Nodes) {
  PageTable table({.max_batch_size = 1, .max_total_seq_len = 1000, .prefill_chunk_size = 1000}, true);
  table.add_sequence(0);
  append_tree(table, 0, std::vector<Index>(256, -1));
  EXPECT_EQ(code_of([&] { append_tree(table, 0, {-1}); }), "kv.bad_argument");
  (void)commit(table, 0, -1);
  EXPECT_EQ(code_of([&] { append_tree(table, 0, std::vector<Index>(257, -1)); }), "kv.bad_argument");
}

TEST_F(Pages, NothingElseIsPossibleDuringAForward) {
  table_.add_sequence(0);
  const SeqId ids[] = {0};
  const Index lengths[] = {1};
  (void)table_.begin_forward(ids, lengths, std::nullopt);
  EXPECT_EQ(code_of([&] { table_.add_sequence(1); }), "kv.state");
  EXPECT_EQ(code_of([&] { (void)table_.popn(0, 1); }), "kv.state");
  EXPECT_EQ(code_of([&] { (void)table_.begin_forward(ids, lengths, std::nullopt); }), "kv.state");
  table_.clear();
  EXPECT_TRUE(table_.empty());
  EXPECT_FALSE(table_.in_forward());
  EXPECT_EQ(table_.num_available_pages(), 11);
}

TEST_F(Pages, RandomOperationsNeverLoseAPage) {
  PageTable table({.max_batch_size = 6, .max_total_seq_len = 200, .prefill_chunk_size = 50, .page_size = 4}, true);
  std::uint32_t state = 5;
  const auto draw = [&](Index below) {
    state = state * 1664525U + 1013904223U;
    return static_cast<Index>((state >> 8U) % static_cast<std::uint32_t>(below));
  };
  for (int i = 0; i < 5000; ++i) {
    const SeqId a = draw(6), b = draw(6);
    switch (draw(6)) {
      case 0: (void)code_of([&] { table.add_sequence(a); }); break;
      case 1: (void)code_of([&] { (void)table.fork_sequence(a, b, draw(30) - 1); }); break;
      case 2: (void)code_of([&] { (void)table.popn(a, draw(20)); }); break;
      case 3:
        if (draw(4) == 0) (void)code_of([&] { table.remove_sequence(a); });
        break;
      default: (void)code_of([&] { append(table, a, 1 + draw(9)); }); break;
    }
    // No two sequences share a slot beyond a common prefix.
    for (SeqId x = 0; x < 6; ++x) {
      for (SeqId y = 0; y < x; ++y) {
        std::vector<Index> sx, sy;
        if (!code_of([&] {
               sx = table.slots(x);
               sy = table.slots(y);
             }).empty())
          continue;
        std::size_t common = 0;
        while (common < std::min(sx.size(), sy.size()) && sx[common] == sy[common]) ++common;
        for (std::size_t k = common; k < sx.size(); ++k) {
          ASSERT_EQ(std::count(sy.begin() + static_cast<std::ptrdiff_t>(common), sy.end(), sx[k]), 0) << "after " << i;
        }
      }
    }
  }
  for (SeqId id = 0; id < 6; ++id) (void)code_of([&] { table.remove_sequence(id); });
  EXPECT_EQ(table.num_available_pages(), table.num_pages());
}

}  // namespace
}  // namespace mlbench::ref
