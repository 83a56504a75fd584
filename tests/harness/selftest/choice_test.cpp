// Mistakes by name.
#include "harness/selftest/choice.h"

#include <gmock/gmock.h>

#include "tests/support/expect_error.h"

namespace mlbench::selftest {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(Choice, WithoutNamesIsAll) {
  const Choice all = mistakes_named({});
  EXPECT_EQ(all.mistakes.size(), mistakes().size());
  EXPECT_EQ(all.parallel.size(), parallel_mistakes().size());
}

TEST(Choice, IsInTheTablesOrder) {
  EXPECT_THAT(mistakes_named({"popn-ignored", "rope-turns-back"}).mistakes,
              ElementsAre(Mistake::rope_turns_back, Mistake::popn_ignored));
  EXPECT_THAT(mistakes_named({"popn-ignored", "popn-ignored"}).mistakes, ElementsAre(Mistake::popn_ignored));
  const Choice both = mistakes_named({"stages-rows-bf16", "shards-sum-doubled", "popn-ignored"});
  EXPECT_THAT(both.mistakes, ElementsAre(Mistake::popn_ignored));
  EXPECT_THAT(both.parallel, ElementsAre(ParallelMistake::sum_doubled, ParallelMistake::rows_bf16));
}

TEST(Choice, OfOneTableLeavesTheOtherEmpty) {
  EXPECT_THAT(mistakes_named({"stages-rows-bf16"}).mistakes, IsEmpty());
  EXPECT_THAT(mistakes_named({"popn-ignored"}).parallel, IsEmpty());
}

TEST(Choice, OfAnUnknownNameIsAnErrorWithNearOnes) {
  const Error error = test::error_of([] { (void)mistakes_named({"rope-turn-back"}); });
  EXPECT_EQ(error.code(), "usage");
  EXPECT_THAT(error.message(), HasSubstr("near: rope-turns-back"));
  EXPECT_THAT(test::error_of([] { (void)mistakes_named({"stages-rows-bf61"}); }).message(),
              HasSubstr("stages-rows-bf16"));
}

}  // namespace
}  // namespace mlbench::selftest
