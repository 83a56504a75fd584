#include "core/workers.h"

#include <atomic>
#include <numeric>
#include <set>
#include <stdexcept>
#include <vector>

#include <gtest/gtest.h>

namespace mlbench {
namespace {

class WorkersOf : public ::testing::TestWithParam<int> {};

TEST_P(WorkersOf, DoesEachItemExactlyOnce) {
  Workers workers(GetParam());
  EXPECT_EQ(workers.count(), GetParam());
  for (const Index items : {0, 1, 2, 3, 7, 1000}) {
    std::vector<std::atomic<int>> done(static_cast<std::size_t>(items));
    workers.each(items, [&](Index item) { ++done[static_cast<std::size_t>(item)]; });
    for (std::size_t i = 0; i < done.size(); ++i) ASSERT_EQ(done[i], 1) << i << " of " << items;
  }
}

TEST_P(WorkersOf, ReturnsOnlyWhenAllItemsAreDone) {
  Workers workers(GetParam());
  for (int round = 0; round < 200; ++round) {  // short rounds, so that a late thread of one would meet the next
    std::vector<int> plain(5, 0);              // not atomic: each() itself must order these writes before the reads
    workers.each(5, [&](Index item) { plain[static_cast<std::size_t>(item)] = round + 1; });
    for (const int value : plain) ASSERT_EQ(value, round + 1);
  }
}

TEST_P(WorkersOf, HandsAnExceptionToTheCallerAndStaysUsable) {
  Workers workers(GetParam());
  for (int round = 0; round < 20; ++round) {
    try {
      workers.each(50, [](Index item) {
        if (item == 17) throw std::runtime_error("item 17");
      });
      FAIL() << "nothing was thrown";
    } catch (const std::runtime_error& error) {
      EXPECT_STREQ(error.what(), "item 17");
    }
    std::atomic<Index> sum = 0;
    workers.each(10, [&](Index item) { sum += item; });
    EXPECT_EQ(sum, 45);
  }
}

TEST_P(WorkersOf, SurvivesEveryItemThrowing) {
  Workers workers(GetParam());
  EXPECT_THROW(workers.each(64, [](Index item) { throw std::out_of_range(std::to_string(item)); }), std::out_of_range);
  std::atomic<int> done = 0;
  workers.each(3, [&](Index) { ++done; });
  EXPECT_EQ(done, 3);
}

INSTANTIATE_TEST_SUITE_P(Threads, WorkersOf, ::testing::Values(1, 2, 5),
                         [](const auto& count) { return std::to_string(count.param); });

TEST(Workers, ItemsRunOnDifferentThreadsAtTheSameTime) {
  Workers workers(2);
  // Each item waits for the other: on one thread this would never end.
  std::atomic<int> arrived = 0;
  std::mutex mutex;
  std::set<std::thread::id> threads;
  workers.each(2, [&](Index) {
    ++arrived;
    while (arrived < 2) std::this_thread::yield();
    const std::lock_guard lock(mutex);
    threads.insert(std::this_thread::get_id());
  });
  EXPECT_EQ(threads.size(), 2U);
}

TEST(Workers, OneThreadWorksInOrderOnTheCallersThread) {
  Workers workers(1);
  std::vector<Index> order;
  std::set<std::thread::id> threads;
  workers.each(9, [&](Index item) {
    order.push_back(item);
    threads.insert(std::this_thread::get_id());
  });
  std::vector<Index> expected(9);
  std::iota(expected.begin(), expected.end(), Index{0});
  EXPECT_EQ(order, expected);
  EXPECT_EQ(threads, std::set{std::this_thread::get_id()});
}

TEST(Workers, TheMachineHasAtLeastOneThread) { EXPECT_GE(Workers::hardware(), 1); }

}  // namespace
}  // namespace mlbench
