// The bookkeeping of the backends' caches: entries that come from another cache, and entries that go to one.
#include <limits>
#include <numeric>
#include <vector>

#include <gmock/gmock.h>

#include "tests/backends/paging/small_tables.h"
#include "tests/support/expect_error.h"

namespace mlbench::paging {
namespace {

using test::code_of;
using ::testing::ElementsAre;
using ::testing::Pair;

using Slots = std::vector<Index>;

constexpr Index kTooLarge = Index{1} << 31U;

// Slots 100, 101, ... of a receiver.
SlotRuns slots_there(Index count) {
  Slots slots(static_cast<std::size_t>(count));
  std::iota(slots.begin(), slots.end(), Index{100});
  return SlotRuns(slots);
}

// What a forward of `count` rows sends, all of it.
Sent sent_by(PageTable& table, SeqId id, Index count) {
  const SeqId ids[] = {id};
  const Index lengths[] = {count};
  const ForwardPlan plan = table.begin_forward(ids, lengths, std::nullopt);
  table.end_forward();
  Sent sent;
  for (const PlannedSend& send : plan.sends) {
    const Sent entries = entries_of(send);
    sent.insert(sent.end(), entries.begin(), entries.end());
  }
  return sent;
}

void expect_unchanged(const PageTable& table, Index length, Index pages) {
  EXPECT_EQ(table.sequence_length(0), length);
  EXPECT_EQ(table.num_available_pages(), pages);
  EXPECT_FALSE(table.in_forward());
}

// ---- to receive ----

TEST(PageTableReceiver, ReservesTheSlotsThatAForwardWouldHave) {
  PageTable table = table_with(3);
  const SlotRuns slots = table.disagg_prepare_recv(0, 7);
  EXPECT_THAT(slots.encoded(), ElementsAre(1, 3, 7));
  EXPECT_EQ(table.sequence_length(0), 10);
  EXPECT_EQ(table.total_sequence_length(), 10);
  EXPECT_EQ(table.num_available_pages(), 11 - 3);
  EXPECT_TRUE(table.waits(0));
  PageTable computed = table_with(3);
  append(computed, 0, 7);
  EXPECT_EQ(slots_of(table, 0), slots_of(computed, 0));
}

TEST(PageTableReceiver, NamesPagesThatAreNoNeighboursAsRunsOfTheirOwn) {
  PageTable table = table_with(6);  // pages 0 and 1
  table.add_sequence(1);
  append(table, 1, 4);
  (void)table.popn(0, 3);                                                               // gives page 1 back
  EXPECT_THAT(table.disagg_prepare_recv(1, 6).encoded(), ElementsAre(2, 4, 4, 12, 2));  // and takes it again
}

TEST(PageTableReceiver, MayTakeMoreThanAForward) {
  PageTable table = table_with(1);
  EXPECT_EQ(table.disagg_prepare_recv(0, 30).size(), 30);
}

TEST(PageTableReceiver, WaitsUntilTheLastEntryHasComeInWhateverOrder) {
  PageTable table = table_with(3);
  const SlotRuns slots = table.disagg_prepare_recv(0, 7);
  EXPECT_TRUE(table.receive(slots.part(4, 3)));
  EXPECT_TRUE(table.receive(slots.part(0, 2)));
  EXPECT_TRUE(table.receive(slots.part(0, 2)));  // the sender took them back and computed them anew
  EXPECT_TRUE(table.waits(0));
  EXPECT_TRUE(table.receive(slots.part(2, 2)));
  EXPECT_FALSE(table.waits(0));
  append(table, 0, 1);
  EXPECT_EQ(table.sequence_length(0), 11);
}

TEST(PageTableReceiver, TakesEntriesWithinAForwardOfOthers) {
  PageTable table = table_with(3);
  table.add_sequence(1);
  const SlotRuns slots = table.disagg_prepare_recv(1, 2);
  const SeqId ids[] = {0};
  const Index lengths[] = {1};
  (void)table.begin_forward(ids, lengths, std::nullopt);
  EXPECT_TRUE(table.receive(slots));
  table.end_forward();
  EXPECT_FALSE(table.waits(1));
}

TEST(PageTableReceiver, CanOnlyBeAskedAboutOrRemovedWhileItWaits) {
  PageTable table = table_with(3);
  (void)table.disagg_prepare_recv(0, 7);
  EXPECT_EQ(code_of([&] { append(table, 0, 1); }), "kv.state");
  EXPECT_EQ(code_of([&] { append_tree(table, 0, {-1}); }), "kv.state");
  EXPECT_EQ(code_of([&] { (void)table.fork_sequence(0, 1, 2); }), "kv.state");
  EXPECT_EQ(code_of([&] { (void)table.popn(0, 1); }), "kv.state");
  EXPECT_EQ(code_of([&] { (void)table.disagg_prepare_recv(0, 1); }), "kv.state");
  EXPECT_EQ(code_of([&] { table.disagg_mark_send(0, 0, slots_there(20), 0); }), "kv.state");
  expect_unchanged(table, 10, 8);
  table.remove_sequence(0);
  EXPECT_EQ(table.num_available_pages(), 11);
}

TEST(PageTableReceiver, RefusesEntriesThatNobodyWaitsFor) {
  PageTable table = table_with(3);
  for (const SeqId id : {1, 2}) table.add_sequence(id);
  const SlotRuns first = table.disagg_prepare_recv(1, 4);
  const SlotRuns second = table.disagg_prepare_recv(2, 4);
  EXPECT_FALSE(table.receive(SlotRuns()));
  EXPECT_FALSE(table.receive(SlotRuns(Slots{0})));  // of sequence 0, which waits for nothing
  EXPECT_FALSE(table.receive(SlotRuns(Slots{first.at(0), 0})));
  EXPECT_FALSE(table.receive(SlotRuns(Slots{first.at(0), second.at(0)})));  // no sender has both
  table.remove_sequence(1);
  EXPECT_FALSE(table.receive(first));
  EXPECT_TRUE(table.receive(second));
  EXPECT_FALSE(table.receive(second)) << "they are there already";
}

TEST(PageTableReceiver, ForksAndShrinksWhenAllIsThere) {
  PageTable table = table_with(3);
  const SlotRuns slots = table.disagg_prepare_recv(0, 7);
  EXPECT_TRUE(table.receive(slots));
  EXPECT_FALSE(table.fork_sequence(0, 1, 8));
  (void)table.popn(0, 5);
  EXPECT_THAT(slots_of(table, 0), ElementsAre(0, 1, 2, 3, table.layout(0).slot(4)));
  EXPECT_THAT(slots_of(table, 1), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
}

TEST(PageTableReceiver, ThatDoesNotFitChangesNothing) {
  PageTable table = table_with(6);
  EXPECT_EQ(code_of([&] { (void)table.disagg_prepare_recv(0, 39); }), "kv.full");
  expect_unchanged(table, 6, 9);
  EXPECT_FALSE(table.waits(0));
  EXPECT_EQ(table.disagg_prepare_recv(0, 38).size(), 38);
}

TEST(PageTableReceiver, RefusesWhatCannotBe) {
  PageTable table = table_with(6);
  for (const Index count : {Index{0}, Index{-1}, kTooLarge, std::numeric_limits<Index>::max()}) {
    EXPECT_EQ(code_of([&] { (void)table.disagg_prepare_recv(0, count); }), "kv.bad_argument") << count;
  }
  EXPECT_EQ(code_of([&] { (void)table.disagg_prepare_recv(9, 1); }), "kv.unknown_seq");
  append_tree(table, 0, {-1, 0});
  EXPECT_EQ(code_of([&] { (void)table.disagg_prepare_recv(0, 1); }), "kv.uncommitted_tree");
  EXPECT_EQ(table.sequence_length(0), 8);
  PageTable windows = window_table_with(6);
  EXPECT_EQ(code_of([&] { (void)windows.disagg_prepare_recv(0, 1); }), "kv.unsupported");
  expect_unchanged(windows, 6, 19 - 2);
}

// ---- to send ----

TEST(PageTableSender, SendsEveryEntryWithTheForwardThatMakesIt) {
  PageTable table(small_limits(), true);
  table.add_sequence(0);
  table.disagg_mark_send(0, 0, slots_there(7), 3);
  const SeqId ids[] = {0};
  const Index lengths[] = {3};
  const ForwardPlan plan = table.begin_forward(ids, lengths, std::nullopt);
  table.end_forward();
  ASSERT_EQ(plan.sends.size(), 1U);
  EXPECT_EQ(plan.sends[0].receiver_offset, 3);
  EXPECT_THAT(entries_of(plan.sends[0]), ElementsAre(Pair(0, 100), Pair(1, 101), Pair(2, 102)));
  EXPECT_THAT(sent_by(table, 0, 1), ElementsAre(Pair(3, 103)));
  EXPECT_THAT(sent_by(table, 0, 3), ElementsAre(Pair(4, 104), Pair(5, 105), Pair(6, 106)));
}

TEST(PageTableSender, SendsWhatIsCachedWithTheNextForwardOfTheSequence) {
  PageTable table = table_with(6);
  table.add_sequence(1);
  table.disagg_mark_send(0, 4, slots_there(4), 0);
  EXPECT_TRUE(sent_by(table, 1, 2).empty());
  EXPECT_THAT(sent_by(table, 0, 1), ElementsAre(Pair(4, 100), Pair(5, 101), Pair(6, 102)));
  EXPECT_THAT(sent_by(table, 0, 1), ElementsAre(Pair(7, 103)));
}

TEST(PageTableSender, SendsNothingBeforeBegin) {
  PageTable table = table_with(2);
  table.disagg_mark_send(0, 5, slots_there(2), 0);
  EXPECT_TRUE(sent_by(table, 0, 3).empty());
  EXPECT_THAT(sent_by(table, 0, 2), ElementsAre(Pair(5, 100), Pair(6, 101)));
}

TEST(PageTableSender, IsDoneWithTheLastSlot) {
  PageTable table = table_with(2);
  table.disagg_mark_send(0, 1, slots_there(2), 0);
  EXPECT_EQ(code_of([&] { table.disagg_mark_send(0, 0, slots_there(9), 0); }), "kv.state");
  EXPECT_EQ(code_of([&] { (void)table.disagg_prepare_recv(0, 1); }), "kv.state");
  EXPECT_EQ(sent_by(table, 0, 1).size(), 2U);
  EXPECT_TRUE(sent_by(table, 0, 4).empty());
  table.disagg_mark_send(0, 0, slots_there(9), 0);  // to somebody else
  EXPECT_EQ(sent_by(table, 0, 2).size(), 9U);
}

TEST(PageTableSender, SendsAgainWhatPopnTookBack) {
  PageTable table = table_with(2);
  table.disagg_mark_send(0, 1, slots_there(8), 0);
  EXPECT_EQ(sent_by(table, 0, 4).size(), 5U);
  (void)table.popn(0, 2);
  EXPECT_THAT(sent_by(table, 0, 1), ElementsAre(Pair(4, 103)));
  (void)table.popn(0, 5);  // also what was before `begin`
  EXPECT_TRUE(sent_by(table, 0, 1).empty());
  EXPECT_THAT(sent_by(table, 0, 2), ElementsAre(Pair(1, 100), Pair(2, 101)));
}

TEST(PageTableSender, SendsAgainWhatPopnTookBackFromASharedPrefix) {
  PageTable table = table_with(4);
  table.disagg_mark_send(0, 1, slots_there(8), 0);
  EXPECT_EQ(sent_by(table, 0, 4).size(), 7U);
  (void)table.fork_sequence(0, 1, 8);
  (void)table.popn(0, 2);
  const auto sent = sent_by(table, 0, 3);
  ASSERT_EQ(sent.size(), 3U);
  EXPECT_EQ(sent[0].second, 105);
  EXPECT_EQ(sent[0].first, table.layout(0).slot(6));
}

TEST(PageTableSender, LeavesItsForksAlone) {
  PageTable table = table_with(2);
  table.disagg_mark_send(0, 0, slots_there(4), 0);
  (void)table.fork_sequence(0, 1, -1);
  EXPECT_TRUE(sent_by(table, 1, 9).empty());
  EXPECT_EQ(sent_by(table, 0, 1).size(), 3U);
}

TEST(PageTableSender, RefusesRowsBeyondTheSlots) {
  PageTable table = table_with(2);
  table.add_sequence(1);
  table.disagg_mark_send(0, 1, slots_there(4), 0);
  const SeqId ids[] = {1, 0};
  const Index lengths[] = {2, 4};
  EXPECT_EQ(code_of([&] { (void)table.begin_forward(ids, lengths, std::nullopt); }), "kv.bad_argument");
  expect_unchanged(table, 2, 10);
  EXPECT_EQ(table.sequence_length(1), 0);
  EXPECT_EQ(sent_by(table, 0, 3).size(), 4U);
}

TEST(PageTableSender, RefusesTokenTrees) {
  PageTable table = table_with(2);
  table.disagg_mark_send(0, 1, slots_there(4), 0);
  EXPECT_EQ(code_of([&] { append_tree(table, 0, {-1, 0}); }), "kv.unsupported");
  expect_unchanged(table, 2, 10);
  EXPECT_EQ(sent_by(table, 0, 1).size(), 2U);
}

TEST(PageTableSender, RefusesWhatCannotBe) {
  PageTable table = table_with(6);
  const auto mark = [&](SeqId id, Index begin, Index count, Index receiver_offset) {
    return code_of([&] { table.disagg_mark_send(id, begin, slots_there(count), receiver_offset); });
  };
  EXPECT_EQ(mark(9, 0, 8, 0), "kv.unknown_seq");
  EXPECT_EQ(mark(0, -1, 8, 0), "kv.bad_argument");
  EXPECT_EQ(mark(0, 0, 8, -1), "kv.bad_argument");
  EXPECT_EQ(mark(0, kTooLarge, 8, 0), "kv.bad_argument");
  EXPECT_EQ(mark(0, 0, 6, 0), "kv.bad_argument") << "nothing is left to compute";
  EXPECT_EQ(mark(0, 2, 4, 0), "kv.bad_argument");
  EXPECT_EQ(mark(0, 9, 0, 0), "kv.bad_argument");
  EXPECT_TRUE(sent_by(table, 0, 1).empty());
  append_tree(table, 0, {-1, 0});
  EXPECT_EQ(mark(0, 0, 20, 0), "kv.uncommitted_tree");
  PageTable windows = window_table_with(6);
  EXPECT_EQ(code_of([&] { windows.disagg_mark_send(0, 0, slots_there(8), 0); }), "kv.unsupported");
}

TEST(PageTableTransfer, IsArrangedOutsideOfForwards) {
  PageTable table = table_with(6);
  table.add_sequence(1);
  const SeqId ids[] = {0};
  const Index lengths[] = {1};
  (void)table.begin_forward(ids, lengths, std::nullopt);
  EXPECT_EQ(code_of([&] { (void)table.disagg_prepare_recv(1, 1); }), "kv.state");
  EXPECT_EQ(code_of([&] { table.disagg_mark_send(1, 0, slots_there(8), 0); }), "kv.state");
  table.end_forward();
  EXPECT_EQ(table.sequence_length(1), 0);
}

TEST(PageTableTransfer, IsForgottenWithTheSequence) {
  PageTable table = table_with(6);
  table.add_sequence(1);
  const SlotRuns slots = table.disagg_prepare_recv(1, 4);
  table.disagg_mark_send(0, 0, slots_there(8), 0);
  table.clear();
  for (const SeqId id : {0, 1}) table.add_sequence(id);
  EXPECT_FALSE(table.receive(slots));
  EXPECT_TRUE(sent_by(table, 0, 2).empty());
  EXPECT_TRUE(sent_by(table, 1, 2).empty());
}

}  // namespace
}  // namespace mlbench::paging
