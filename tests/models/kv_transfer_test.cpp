// The list of slots that travels between two instances, and where a prompt is cut.
#include "models/kv_transfer.h"

#include <limits>
#include <vector>

#include <gmock/gmock.h>

#include "tests/support/expect_error.h"

namespace mlbench {
namespace {

using test::code_of;
using ::testing::ElementsAre;

using Slots = std::vector<Index>;

constexpr Index kLargest = std::numeric_limits<std::int32_t>::max();

TEST(SlotRuns, TravelAsRunsOfNeighbours) {
  const SlotRuns runs(Slots{8, 9, 10, 11, 4, 5, 12});
  EXPECT_THAT(runs.encoded(), ElementsAre(3, 8, 4, 4, 2, 12, 1));
  EXPECT_EQ(SlotRuns::decoded(runs.encoded()), runs);
  EXPECT_THAT(SlotRuns().encoded(), ElementsAre(0));
  EXPECT_EQ(SlotRuns::decoded(Slots{0}), SlotRuns());
}

TEST(SlotRuns, OfTheSameSlotsAreEqualHoweverTheyWereCut) {
  EXPECT_EQ(SlotRuns::decoded(Slots{3, 4, 1, 5, 3, 8, 2}), SlotRuns(Slots{4, 5, 6, 7, 8, 9}));
  EXPECT_NE(SlotRuns(Slots{4, 5}), SlotRuns(Slots{5, 4}));
}

TEST(SlotRuns, KeepTheOrder) {
  const Slots slots{8, 9, 10, 4, 5, 0};
  const SlotRuns runs(slots);
  EXPECT_EQ(runs.size(), 6);
  EXPECT_EQ(runs.slots(), slots);
  for (Index place = 0; place < runs.size(); ++place) {
    EXPECT_EQ(runs.at(place), slots[static_cast<std::size_t>(place)]);
    EXPECT_EQ(runs.place_of(runs.at(place)), place);
  }
  for (const Index absent : {-1, 1, 3, 6, 7, 11}) EXPECT_FALSE(runs.place_of(absent)) << absent;
  EXPECT_EQ(runs.largest(), 10);
  EXPECT_EQ(SlotRuns().largest(), -1);
}

TEST(SlotRuns, PartsCrossTheBordersOfRuns) {
  const SlotRuns runs(Slots{8, 9, 10, 4, 5, 0});
  EXPECT_THAT(runs.part(2, 2).slots(), ElementsAre(10, 4));
  EXPECT_THAT(runs.part(0, 6).slots(), ElementsAre(8, 9, 10, 4, 5, 0));
  EXPECT_TRUE(runs.part(6, 0).empty());
}

TEST(SlotRuns, TakeNoMemoryForWhatAListClaims) {
  const SlotRuns runs = SlotRuns::decoded(Slots{1, 0, kLargest + 1});
  EXPECT_EQ(runs.size(), kLargest + 1);
  EXPECT_EQ(runs.at(kLargest), kLargest);
}

TEST(SlotRuns, RefuseListsThatAreNone) {
  constexpr Index kMost = std::numeric_limits<Index>::max();
  const std::vector<Slots> malformed = {
      {},
      {1},
      {1, 5},
      {2, 5, 1},
      {1, 5, 1, 6, 1},
      {-1, 5, 1},
      {0, 5, 1},
      {kMost},
      {1, -1, 2},
      {1, 5, 0},
      {1, 5, -3},
      {1, kLargest, 2},
      {1, kMost, 1},
      {1, 1, kMost},
      {1, 0, kLargest + 2},
      {2, 5, 3, 7, 1},
      {2, 7, 1, 5, 3},
      {2, 5, 1, 5, 1},
  };
  for (const Slots& list : malformed)
    EXPECT_EQ(code_of([&] { (void)SlotRuns::decoded(list); }), "kv.bad_argument") << ::testing::PrintToString(list);
  EXPECT_EQ(code_of([] { SlotRuns(Slots{3, 4, 3}); }), "kv.bad_argument");
  EXPECT_EQ(code_of([] { SlotRuns(Slots{-1}); }), "kv.bad_argument");
}

TEST(TransferEnd, CountsFromTheEndWhenNegative) {
  EXPECT_EQ(transfer_end(0, kAllButTheLast, 10), 9);
  EXPECT_EQ(transfer_end(2, -7, 10), 3);
  EXPECT_EQ(transfer_end(2, 3, 10), 3);
  EXPECT_EQ(transfer_end(0, 9, 10), 9);
}

TEST(TransferEnd, LeavesATokenOnEachSide) {
  struct Cut {
    Index begin, end, length;
  };
  constexpr Index kMost = std::numeric_limits<Index>::max();
  for (const Cut& cut : std::vector<Cut>{{0, 10, 10},
                                         {0, 11, 10},
                                         {3, 3, 10},
                                         {4, 3, 10},
                                         {-1, 3, 10},
                                         {0, 0, 10},
                                         {0, -10, 10},
                                         {0, -11, 10},
                                         {9, -1, 10},
                                         {0, -1, 1},
                                         {0, -kMost - 1, 10}}) {
    EXPECT_EQ(code_of([&] { (void)transfer_end(cut.begin, cut.end, cut.length); }), "kv.bad_argument")
        << cut.begin << " " << cut.end;
  }
}

}  // namespace
}  // namespace mlbench
