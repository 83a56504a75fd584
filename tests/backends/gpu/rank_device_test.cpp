// Which device a rank of several on one machine takes.
#include "backends/parallel/rank.h"

#include <gtest/gtest.h>

namespace mlbench::parallel {
namespace {

const std::vector<backends::DeviceInfo> kTwo = {{.id = "some:0", .description = "A"},
                                                {.id = "some:1", .description = "B"},
                                                {.id = "host", .description = "the host executor"}};

TEST(DeviceOfRank, GoesRoundAmongTheRanksOfAMachine) {
  EXPECT_EQ(device_of_rank("", kTwo, {.local = 0, .locals = 3}), "some:0");
  EXPECT_EQ(device_of_rank("", kTwo, {.local = 1, .locals = 3}), "some:1");
  EXPECT_EQ(device_of_rank("", kTwo, {.local = 2, .locals = 3}), "some:0");
}

TEST(DeviceOfRank, IsTheOneNamed) {
  EXPECT_EQ(device_of_rank("some:0", kTwo, {.local = 1, .locals = 2}), "some:0");
  EXPECT_EQ(device_of_rank("host", kTwo, {.local = 1, .locals = 2}), "host");
}

TEST(DeviceOfRank, IsNeverTheHostExecutorUnasked) {
  EXPECT_EQ(device_of_rank("", {kTwo.back()}, {.local = 0, .locals = 1}), "");
}

}  // namespace
}  // namespace mlbench::parallel
