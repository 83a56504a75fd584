// The bookkeeping of the backends' caches: pages, forks, popn and forwards, property by property.
#include <limits>
#include <optional>
#include <vector>

#include <gmock/gmock.h>

#include "tests/backends/paging/small_tables.h"
#include "tests/support/expect_error.h"

namespace mlbench::paging {
namespace {

using test::code_of;
using ::testing::ElementsAre;

// ---- pages ----

TEST(PageTable, HasAsManyPagesAsTheFormulaSays) {
  EXPECT_EQ(PageTable(small_limits(), true).num_pages(), 11);  // ceil(40 / 4) + 1
  EXPECT_EQ(PageTable(small_limits(true), false).num_pages(), 11 + 2 * 4);
  KvLimits limits = small_limits();
  limits.max_total_seq_len = 41;
  EXPECT_EQ(PageTable(limits, true).num_pages(), 12);
}

TEST(PageTable, RefusesLimitsBelowOneAndBeyondAnInt) {
  for (Index KvLimits::*const limit :
       {&KvLimits::max_batch_size, &KvLimits::max_total_seq_len, &KvLimits::prefill_chunk_size, &KvLimits::page_size}) {
    for (const Index value : {Index{0}, Index{-1}, Index{1} << 31U}) {
      KvLimits limits = small_limits();
      limits.*limit = value;
      EXPECT_EQ(code_of([&] { PageTable(limits, true); }), "kv.bad_argument") << value;
    }
  }
}

TEST(PageTable, TheLargestLimitsTakeNoMemoryBeforehand) {
  constexpr Index kLargest = (Index{1} << 31U) - 1;
  const KvLimits limits{.max_batch_size = kLargest,
                        .max_total_seq_len = kLargest,
                        .prefill_chunk_size = kLargest,
                        .page_size = 1,
                        .support_sliding_window = true};
  PageTable table(limits, false);
  table.add_sequence(0);
  append(table, 0, 3);
  EXPECT_EQ(table.num_available_pages(), kLargest + 1 + 2 * kLargest - 3);
}

TEST(PageTable, FreshPagesComeInOrderAndReleasedOnesLastInFirstOut) {
  PageTable table = table_with(5);
  table.add_sequence(1);
  append(table, 1, 6);
  EXPECT_THAT(slots_of(table, 0), ElementsAre(0, 1, 2, 3, 4));
  EXPECT_THAT(slots_of(table, 1), ElementsAre(8, 9, 10, 11, 12, 13));
  EXPECT_EQ(table.num_available_pages(), 7);
  (void)table.popn(1, 2);  // page 3
  (void)table.popn(0, 1);  // page 1
  EXPECT_EQ(table.num_available_pages(), 9);
  append(table, 1, 5);
  EXPECT_THAT(slots_of(table, 1), ElementsAre(8, 9, 10, 11, 4, 5, 6, 7, 12));
}

TEST(PageTable, ClearGivesEveryPageBackAlsoInsideAForward) {
  PageTable table = table_with(9);
  const SeqId ids[] = {0};
  const Index lengths[] = {1};
  (void)table.begin_forward(ids, lengths, std::nullopt);
  table.clear();
  EXPECT_TRUE(table.empty());
  EXPECT_FALSE(table.in_forward());
  EXPECT_EQ(table.num_available_pages(), 11);
  EXPECT_EQ(code_of([&] { commit(table, 0, -1); }), "kv.bad_argument");  // there is no last forward any more
  table.add_sequence(0);
  append(table, 0, 1);
  EXPECT_THAT(slots_of(table, 0), ElementsAre(0));
}

// ---- forks ----

TEST(PageTable, ForkInsideAPageCopiesItsFirstSlots) {
  PageTable table = table_with(10);  // pages 0, 1, 2
  const auto copy = table.fork_sequence(0, 1, 6);
  ASSERT_TRUE(copy);
  EXPECT_EQ(copy->from, 1);
  EXPECT_EQ(copy->to, 3);
  EXPECT_EQ(copy->count, 2);
  EXPECT_THAT(slots_of(table, 1), ElementsAre(0, 1, 2, 3, 12, 13));
  EXPECT_THAT(slots_of(table, 0), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9));
  EXPECT_EQ(table.num_available_pages(), 11 - 4);
  EXPECT_EQ(table.total_sequence_length(), 16);  // the shared prefix counts for both
}

TEST(PageTable, ForkAtAPageBorderCopiesNothing) {
  PageTable table = table_with(10);
  EXPECT_FALSE(table.fork_sequence(0, 1, 8));
  EXPECT_EQ(table.num_available_pages(), 8);
  append(table, 1, 1);
  append(table, 0, 3);
  EXPECT_THAT(slots_of(table, 1), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 12));
  EXPECT_EQ(slots_of(table, 0).back(), 16);
}

TEST(PageTable, ForkAtTheEndOfFullPagesGivesEachANextPageOfItsOwn) {
  PageTable table = table_with(8);
  EXPECT_FALSE(table.fork_sequence(0, 1, -1));
  EXPECT_FALSE(table.fork_sequence(0, 2, 8));
  for (const SeqId id : {0, 1, 2}) append(table, id, 1);
  EXPECT_EQ(slots_of(table, 0).back(), 8);
  EXPECT_EQ(slots_of(table, 1).back(), 12);
  EXPECT_EQ(slots_of(table, 2).back(), 16);
  table.remove_sequence(0);
  table.remove_sequence(1);
  EXPECT_EQ(table.num_available_pages(), 11 - 3);
  table.remove_sequence(2);
  EXPECT_EQ(table.num_available_pages(), 11);
}

TEST(PageTable, ForkAtNoTokensIsANewSequence) {
  PageTable table = table_with(5);
  EXPECT_FALSE(table.fork_sequence(0, 1, 0));
  EXPECT_EQ(table.sequence_length(1), 0);
  EXPECT_EQ(table.num_available_pages(), 9);
}

TEST(PageTable, ForkThatNeedsAPageReportsAFullCacheAndAddsNoSequence) {
  PageTable table = table_with(8);
  for (const SeqId id : {1, 2}) table.add_sequence(id);
  append(table, 1, 20);
  append(table, 2, 16);
  ASSERT_EQ(table.num_available_pages(), 0);
  EXPECT_EQ(code_of([&] { (void)table.fork_sequence(0, 3, 6); }), "kv.full");
  EXPECT_EQ(code_of([&] { (void)table.sequence_length(3); }), "kv.unknown_seq");
  EXPECT_FALSE(table.fork_sequence(0, 3, 4));  // on a page border none is needed
}

// ---- popn ----

TEST(PageTable, PopnReleasesPagesThatNobodyElseUses) {
  PageTable table = table_with(9);
  EXPECT_FALSE(table.popn(0, 0));
  EXPECT_EQ(table.num_available_pages(), 8);
  EXPECT_FALSE(table.popn(0, 1));
  EXPECT_EQ(table.num_available_pages(), 9);
  EXPECT_FALSE(table.popn(0, 8));
  EXPECT_EQ(table.num_available_pages(), 11);
  EXPECT_EQ(table.sequence_length(0), 0);
  append(table, 0, 1);
}

TEST(PageTable, PopnIntoASharedPageCopiesItAndLeavesTheOthersTheirs) {
  PageTable table = table_with(8);
  (void)table.fork_sequence(0, 1, 8);
  append(table, 1, 3);
  const auto copy = table.popn(1, 5);  // its own 3, and 2 of the prefix
  ASSERT_TRUE(copy);
  EXPECT_EQ(copy->from, 1);
  EXPECT_EQ(copy->count, 2);
  EXPECT_THAT(slots_of(table, 0), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
  EXPECT_THAT(slots_of(table, 1), ElementsAre(0, 1, 2, 3, copy->to * 4, copy->to * 4 + 1));
  EXPECT_EQ(table.num_available_pages(), 11 - 3);
}

TEST(PageTable, PopnToAPageBorderOfASharedPrefixCopiesNothing) {
  PageTable table = table_with(8);
  (void)table.fork_sequence(0, 1, 8);
  EXPECT_FALSE(table.popn(1, 4));
  append(table, 1, 1);
  append(table, 0, 1);
  EXPECT_THAT(slots_of(table, 0), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 12));
  EXPECT_THAT(slots_of(table, 1), ElementsAre(0, 1, 2, 3, 8));
}

TEST(PageTable, PopnIntoAPrefixThatNobodyElseUsesAnyMoreCopiesNothing) {
  PageTable table = table_with(8);
  (void)table.fork_sequence(0, 1, 8);
  table.remove_sequence(0);
  EXPECT_FALSE(table.popn(1, 2));
  EXPECT_THAT(slots_of(table, 1), ElementsAre(0, 1, 2, 3, 4, 5));
}

TEST(PageTable, PopnThroughSeveralGenerationsOfForksLosesNoPage) {
  PageTable table = table_with(8);
  (void)table.fork_sequence(0, 1, 8);
  append(table, 1, 4);
  (void)table.fork_sequence(1, 2, 12);
  append(table, 2, 2);
  (void)table.popn(2, 13);
  EXPECT_EQ(table.sequence_length(2), 1);
  EXPECT_EQ(table.sequence_length(1), 12);
  EXPECT_EQ(table.num_available_pages(), 11 - 4);
  for (const SeqId id : {2, 0, 1}) table.remove_sequence(id);
  EXPECT_EQ(table.num_available_pages(), 11);
}

// 11 pages: a prefix of 2, and 9 elsewhere.
TEST(PageTable, PopnOfAFullCacheMayUseThePageThatItReleasesButNoOther) {
  PageTable table = table_with(8);
  (void)table.fork_sequence(0, 1, 8);
  append(table, 1, 1);
  table.add_sequence(2);
  append(table, 2, 20);
  append(table, 2, 12);
  ASSERT_EQ(table.num_available_pages(), 0);
  EXPECT_EQ(code_of([&] { (void)table.popn(0, 2); }), "kv.full");
  EXPECT_THAT(slots_of(table, 0), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
  const auto copy = table.popn(1, 3);  // its own page becomes the copy
  ASSERT_TRUE(copy);
  EXPECT_EQ(copy->to, 2);
  EXPECT_EQ(table.num_available_pages(), 0);
}

// ---- forwards ----

TEST(PageTable, RowsSeeTheirSequenceUpToThemselves) {
  PageTable table = table_with(3);
  table.add_sequence(7);
  const SeqId ids[] = {7, 0};
  const Index lengths[] = {1, 2};
  const ForwardPlan plan = table.begin_forward(ids, lengths, std::nullopt);
  ASSERT_EQ(plan.sequences.size(), 2U);
  EXPECT_EQ(plan.sequences[0].id, 7);
  EXPECT_EQ(plan.sequences[1].total, 5);
  EXPECT_THAT(slots_of(plan.sequences[1].layout, 5), ElementsAre(0, 1, 2, 3, 8));  // page 1 went to sequence 7
  ASSERT_EQ(plan.rows.size(), 3U);
  EXPECT_EQ(plan.rows[0].sequence, 0);
  EXPECT_EQ(plan.rows[0].position, 0);
  EXPECT_EQ(plan.rows[2].sequence, 1);
  EXPECT_EQ(plan.rows[2].entry, 4);
  EXPECT_EQ(plan.rows[2].position, 4);
  EXPECT_EQ(plan.rows[2].prefix, 5);
  EXPECT_TRUE(plan.rows[2].path.empty());
}

TEST(PageTable, ForwardThatDoesNotFitChangesNothing) {
  PageTable table = table_with(18);
  (void)table.fork_sequence(0, 1, 18);
  append(table, 1, 18);
  table.add_sequence(2);
  const Index pages = table.num_available_pages();
  ASSERT_EQ(pages, 1);
  const auto slots = slots_of(table, 1);
  const SeqId ids[] = {2, 1};
  const Index lengths[] = {3, 1};
  EXPECT_EQ(code_of([&] { (void)table.begin_forward(ids, lengths, std::nullopt); }), "kv.full");
  EXPECT_FALSE(table.in_forward());
  EXPECT_EQ(table.num_available_pages(), pages);
  EXPECT_EQ(table.sequence_length(2), 0);
  EXPECT_EQ(slots_of(table, 1), slots);
  append(table, 2, 4);  // each of them alone fits
}

TEST(PageTable, RefusesForwardsThatAreNotOne) {
  PageTable table = table_with(6);
  table.add_sequence(1);
  const auto begin = [&](const std::vector<SeqId>& ids, const std::vector<Index>& lengths,
                         const Parents& parents = std::nullopt) {
    return code_of([&] { (void)table.begin_forward(ids, lengths, parents); });
  };
  EXPECT_EQ(begin({}, {}), "kv.bad_argument");
  EXPECT_EQ(begin({0}, {1, 1}), "kv.bad_argument");
  EXPECT_EQ(begin({0}, {0}), "kv.bad_argument");
  EXPECT_EQ(begin({0, 1, 0}, {1, 1, 1}), "kv.bad_argument");
  EXPECT_EQ(begin({9}, {1}), "kv.unknown_seq");
  EXPECT_EQ(begin({0}, {21}), "kv.chunk_too_large");
  EXPECT_EQ(begin({0, 1}, {20, 1}), "kv.chunk_too_large");
  EXPECT_EQ(begin({0}, {std::numeric_limits<Index>::max()}), "kv.chunk_too_large");
  EXPECT_EQ(begin({0, 1}, {1, std::numeric_limits<Index>::max()}), "kv.chunk_too_large");
  EXPECT_EQ(begin({0}, {2}, std::vector<Index>{-1}), "kv.bad_argument");
  EXPECT_EQ(begin({0}, {2}, std::vector<Index>{-1, 1}), "kv.bad_argument");
  EXPECT_EQ(begin({0}, {2}, std::vector<Index>{-2, 0}), "kv.bad_argument");
  EXPECT_EQ(begin({0, 1}, {1, 1}, std::vector<Index>{-1, 0}), "kv.bad_argument");  // counted per sequence
  EXPECT_EQ(table.sequence_length(0), 6);
  EXPECT_FALSE(table.in_forward());
}

TEST(PageTable, RefusesArgumentsOutsideTheirRange) {
  PageTable table = table_with(6);
  EXPECT_EQ(code_of([&] { table.add_sequence(0); }), "kv.duplicate_seq");
  EXPECT_EQ(code_of([&] { table.add_sequence(-1); }), "kv.bad_argument");
  EXPECT_EQ(code_of([&] { table.remove_sequence(9); }), "kv.unknown_seq");
  EXPECT_EQ(code_of([&] { (void)table.fork_sequence(9, 1, 0); }), "kv.unknown_seq");
  EXPECT_EQ(code_of([&] { (void)table.fork_sequence(0, 0, 0); }), "kv.duplicate_seq");
  EXPECT_EQ(code_of([&] { (void)table.fork_sequence(0, 1, -2); }), "kv.bad_argument");
  EXPECT_EQ(code_of([&] { (void)table.fork_sequence(0, 1, 7); }), "kv.bad_argument");
  EXPECT_EQ(code_of([&] { (void)table.popn(9, 1); }), "kv.unknown_seq");
  EXPECT_EQ(code_of([&] { (void)table.popn(0, -1); }), "kv.bad_argument");
  EXPECT_EQ(code_of([&] { (void)table.popn(0, 7); }), "kv.bad_argument");
  EXPECT_EQ(code_of([&] { table.enable_sliding_window(0, 4, 1); }), "kv.unsupported");
  EXPECT_EQ(code_of([&] { table.end_forward(); }), "kv.state");
  EXPECT_EQ(code_of([&] { (void)table.layout(9); }), "kv.unknown_seq");
  for (const SeqId id : {1, 2, 3}) table.add_sequence(id);
  EXPECT_EQ(code_of([&] { table.add_sequence(4); }), "kv.bad_argument");  // max_batch_size
  EXPECT_EQ(code_of([&] { (void)table.fork_sequence(0, 4, 2); }), "kv.bad_argument");
}

TEST(PageTable, NothingElseIsPossibleDuringAForward) {
  PageTable table = table_with(6);
  const SeqId ids[] = {0};
  const Index lengths[] = {1};
  (void)table.begin_forward(ids, lengths, std::nullopt);
  EXPECT_EQ(code_of([&] { table.add_sequence(1); }), "kv.state");
  EXPECT_EQ(code_of([&] { table.remove_sequence(0); }), "kv.state");
  EXPECT_EQ(code_of([&] { (void)table.fork_sequence(0, 1, 1); }), "kv.state");
  EXPECT_EQ(code_of([&] { (void)table.popn(0, 1); }), "kv.state");
  EXPECT_EQ(code_of([&] { table.enable_sliding_window(0, 4, 1); }), "kv.state");
  EXPECT_EQ(code_of([&] { (void)table.begin_forward(ids, lengths, std::nullopt); }), "kv.state");
  EXPECT_EQ(code_of([&] { commit(table, 0, -1); }), "kv.state");
  table.end_forward();
  EXPECT_EQ(code_of([&] { table.end_forward(); }), "kv.state");
  EXPECT_EQ(table.sequence_length(0), 7);
}

}  // namespace
}  // namespace mlbench::paging
