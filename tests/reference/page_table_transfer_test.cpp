// Transfers between caches, in the bookkeeping of the reference's (specification methods.md, section 10). What the
// backends' bookkeeping answers it answers too (backends/paging/page_table_reference_test.cpp); here stands what the
// specification says.
#include <vector>

#include <gmock/gmock.h>

#include "reference/page_table.h"
#include "tests/support/expect_error.h"

namespace mlbench::ref {
namespace {

using test::code_of;
using ::testing::ElementsAre;

using Slots = std::vector<Index>;

constexpr KvLimits kLimits{.max_batch_size = 4, .max_total_seq_len = 40, .prefill_chunk_size = 20, .page_size = 4};

void append(PageTable& table, SeqId id, Index count) {
  const SeqId ids[] = {id};
  const Index lengths[] = {count};
  (void)table.begin_forward(ids, lengths, std::nullopt);
  table.end_forward();
}

// Sequence 0 of `length` entries, and sequence 1, empty.
PageTable table_with(Index length) {
  PageTable table(kLimits, true);
  for (const SeqId id : {0, 1}) table.add_sequence(id);
  append(table, 0, length);
  return table;
}

// The slots to which a forward sends.
Slots sent_by(PageTable& table, SeqId id, Index count) {
  const SeqId ids[] = {id};
  const Index lengths[] = {count};
  const ForwardPlan plan = table.begin_forward(ids, lengths, std::nullopt);
  table.end_forward();
  Slots to;
  for (const PlannedSend& send : plan.sends) {
    for (const SlotSend& entry : send.entries) to.push_back(entry.to);
  }
  return to;
}

TEST(PagesThatReceive, AreReservedAtOnceBehindThePrefix) {
  PageTable table = table_with(6);
  append(table, 1, 2);
  EXPECT_THAT(table.disagg_prepare_recv(0, 5).encoded(), ElementsAre(2, 6, 2, 12, 3));
  EXPECT_EQ(table.sequence_length(0), 11);
  EXPECT_EQ(table.num_available_pages(), 11 - 4);
  EXPECT_EQ(code_of([&] { (void)table.disagg_prepare_recv(1, 40); }), "kv.full");
  EXPECT_EQ(table.sequence_length(1), 2);
  EXPECT_FALSE(table.waits(1));
}

TEST(PagesThatReceive, BelongToASequenceThatWaits) {
  PageTable table = table_with(6);
  const Slots slots = table.disagg_prepare_recv(0, 5).slots();
  EXPECT_EQ(code_of([&] { append(table, 0, 1); }), "kv.state");
  EXPECT_FALSE(table.receive(Slots{}));
  EXPECT_FALSE(table.receive(Slots{slots[0], 0}));
  EXPECT_TRUE(table.receive(std::span(slots).first(4)));
  EXPECT_EQ(code_of([&] { (void)table.popn(0, 1); }), "kv.state");
  EXPECT_TRUE(table.receive(std::span(slots).last(2)));
  EXPECT_FALSE(table.receive(slots));
  append(table, 0, 1);
  EXPECT_EQ(table.sequence_length(0), 12);
}

TEST(PagesThatAreSent, GoOnceAndInOrder) {
  PageTable table = table_with(6);
  table.disagg_mark_send(0, 4, SlotRuns(Slots{20, 21, 8, 9, 10}), 2);
  EXPECT_TRUE(sent_by(table, 1, 1).empty());
  EXPECT_THAT(sent_by(table, 0, 2), ElementsAre(20, 21, 8, 9));
  (void)table.popn(0, 1);
  EXPECT_THAT(sent_by(table, 0, 2), ElementsAre(9, 10));
  EXPECT_TRUE(sent_by(table, 0, 2).empty());
}

TEST(PagesThatAreSent, HaveASlotForEachRow) {
  PageTable table = table_with(6);
  const SlotRuns slots(Slots{20, 21, 8, 9, 10});
  EXPECT_EQ(code_of([&] { table.disagg_mark_send(0, 1, slots, 2); }), "kv.bad_argument");
  EXPECT_EQ(code_of([&] { table.disagg_mark_send(0, -1, slots, 2); }), "kv.bad_argument");
  table.disagg_mark_send(0, 2, slots, 2);
  EXPECT_EQ(code_of([&] { append(table, 0, 2); }), "kv.bad_argument");
  EXPECT_EQ(table.sequence_length(0), 6);
  EXPECT_EQ(sent_by(table, 0, 1).size(), 5U);
}

TEST(PagesThatAreSent, AreThoseOfPlainCaches) {
  KvLimits limits = kLimits;
  limits.support_sliding_window = true;
  PageTable table(limits, false);
  table.add_sequence(0);
  EXPECT_EQ(code_of([&] { table.disagg_mark_send(0, 0, SlotRuns(Slots{1}), 0); }), "kv.unsupported");
  EXPECT_EQ(code_of([&] { (void)table.disagg_prepare_recv(0, 1); }), "kv.unsupported");
}

}  // namespace
}  // namespace mlbench::ref
