// What exchanges between workers take, by hand: numbers that a double holds exactly are compared as they are.
#include "harness/measure/messages.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

namespace mlbench::measure {
namespace {

// Latencies of 2 and 16 s, rates of 8 and 4 bytes in a second.
Cluster cluster_of(Index nodes, Index devices_per_node, bool shared = false) {
  Cluster out;
  out.nodes = nodes;
  out.devices_per_node = devices_per_node;
  out.within_node = Link{.latency_seconds = 2.0, .bytes_per_second = 8.0};
  out.between_nodes = Link{.latency_seconds = 16.0, .bytes_per_second = 4.0, .shared_by_node = shared};
  return out;
}

constexpr double kBytes = 64.0;

TEST(Messages, OfOneShardAreNone) {
  const Cluster cluster = cluster_of(1, 1);
  const Messages messages(cluster, {}, 1);
  EXPECT_EQ(messages.ring_seconds(0, kBytes), 0.0);
  EXPECT_EQ(messages.doubling_seconds(0, kBytes), 0.0);
  EXPECT_EQ(messages.all_reduce_seconds(0, kBytes), 0.0);
}

TEST(AllReduce, WithinANodeByHand) {
  const Cluster cluster = cluster_of(1, 4);
  const Messages messages(cluster, {.tensor_parallel = 4, .pipeline_parallel = 1}, 1);
  EXPECT_EQ(messages.ring_seconds(0, kBytes), 2 * 3 * (2.0 + 16.0 / 8.0));  // a quarter in each step
  EXPECT_EQ(messages.doubling_seconds(0, kBytes), 2 * (2.0 + 64.0 / 8.0));  // all, to distances 1 and 2
}

TEST(AllReduce, IsTheQuickerOfTwo) {
  const Cluster cluster = cluster_of(1, 4);
  const Messages messages(cluster, {.tensor_parallel = 4, .pipeline_parallel = 1}, 1);
  EXPECT_EQ(messages.all_reduce_seconds(0, 8.0), messages.doubling_seconds(0, 8.0)) << "latency counts";
  EXPECT_LT(messages.doubling_seconds(0, 8.0), messages.ring_seconds(0, 8.0));
  EXPECT_EQ(messages.all_reduce_seconds(0, 8000.0), messages.ring_seconds(0, 8000.0)) << "bytes count";
  EXPECT_LT(messages.ring_seconds(0, 8000.0), messages.doubling_seconds(0, 8000.0));
}

// Three shards: one gives its summand away before, and gets the sum behind.
TEST(AllReduce, OfNoPowerOfTwoTakesTwoMoreSteps) {
  const Cluster cluster = cluster_of(1, 8);
  for (const auto& [shards, steps] : {std::pair<Index, double>{2, 1}, {3, 3}, {5, 4}, {6, 4}, {7, 4}, {8, 3}}) {
    const Messages messages(cluster, {.tensor_parallel = shards, .pipeline_parallel = 1}, 1);
    EXPECT_EQ(messages.doubling_seconds(0, kBytes), steps * (2.0 + 64.0 / 8.0)) << shards;
    EXPECT_EQ(messages.ring_seconds(0, 8.0 * static_cast<double>(shards)),
              2.0 * static_cast<double>(shards - 1) * (2.0 + 1.0));
  }
}

// Every step of the ring waits for the link between the nodes; only the last of doubling's does.
TEST(AllReduce, OverTwoNodesIsAsSlowAsTheSlowerLink) {
  const Cluster cluster = cluster_of(2, 4);
  const Messages messages(cluster, {.tensor_parallel = 8, .pipeline_parallel = 1}, 1);
  EXPECT_EQ(messages.ring_seconds(0, kBytes), 2 * 7 * (16.0 + 8.0 / 4.0));
  EXPECT_EQ(messages.doubling_seconds(0, kBytes), 2 * (2.0 + 64.0 / 8.0) + (16.0 + 64.0 / 4.0));
}

// One message of the ring leaves each node, and four of doubling's last step.
TEST(AllReduce, SharesTheLinkOfANode) {
  const Cluster cluster = cluster_of(2, 4, true);
  const Messages messages(cluster, {.tensor_parallel = 8, .pipeline_parallel = 1}, 1);
  EXPECT_EQ(messages.ring_seconds(0, kBytes), 2 * 7 * (16.0 + 8.0 / 4.0));
  EXPECT_EQ(messages.doubling_seconds(0, kBytes), 2 * (2.0 + 64.0 / 8.0) + (16.0 + 4 * 64.0 / 4.0));
}

// Shards of 2 on nodes of 3: the second stage's stand on both nodes, the others' on one.
TEST(AllReduce, OfAStageGoesByWhereItStands) {
  const Cluster cluster = cluster_of(2, 3);
  const Messages messages(cluster, {.tensor_parallel = 2, .pipeline_parallel = 3}, 1);
  EXPECT_EQ(messages.doubling_seconds(0, kBytes), 2.0 + 64.0 / 8.0);
  EXPECT_EQ(messages.doubling_seconds(1, kBytes), 16.0 + 64.0 / 4.0);
  EXPECT_EQ(messages.doubling_seconds(2, kBytes), 2.0 + 64.0 / 8.0);
}

// The first replica stands on one node, the second on two: the slower counts.
TEST(AllReduce, IsThatOfTheSlowestReplica) {
  const Cluster cluster = cluster_of(2, 3);
  const Split split = {.tensor_parallel = 2, .pipeline_parallel = 1};
  EXPECT_EQ(Messages(cluster, split, 1).all_reduce_seconds(0, kBytes), 2.0 + 64.0 / 8.0);
  EXPECT_EQ(Messages(cluster, split, 2).all_reduce_seconds(0, kBytes), 16.0 + 64.0 / 4.0);
}

TEST(Forward, TakesTheLinkBetweenTheStages) {
  const Cluster cluster = cluster_of(2, 4);
  const Messages messages(cluster, {.tensor_parallel = 2, .pipeline_parallel = 4}, 1);
  EXPECT_EQ(messages.forward_seconds(0, kBytes), 2.0 + 64.0 / 8.0);
  EXPECT_EQ(messages.forward_seconds(1, kBytes), 16.0 + 64.0 / 4.0);
  EXPECT_EQ(messages.forward_seconds(2, kBytes), 2.0 + 64.0 / 8.0);
  EXPECT_EQ(messages.answer_seconds(kBytes), 16.0 + 64.0 / 4.0) << "from the last stage to the first";
}

// Both shards' messages leave by one link; of the answer there is one.
TEST(Forward, SharesTheLinkOfANode) {
  const Cluster cluster = cluster_of(2, 4, true);
  const Messages messages(cluster, {.tensor_parallel = 2, .pipeline_parallel = 4}, 1);
  EXPECT_EQ(messages.forward_seconds(0, kBytes), 2.0 + 64.0 / 8.0);
  EXPECT_EQ(messages.forward_seconds(1, kBytes), 16.0 + 2 * 64.0 / 4.0);
  EXPECT_EQ(messages.answer_seconds(kBytes), 16.0 + 64.0 / 4.0);
}

TEST(Messages, OverAnEndlessRateTakeTheirLatency) {
  Cluster cluster = cluster_of(2, 4, true);
  cluster.within_node->bytes_per_second = std::numeric_limits<double>::infinity();
  cluster.between_nodes->bytes_per_second = std::numeric_limits<double>::infinity();
  const Messages messages(cluster, {.tensor_parallel = 4, .pipeline_parallel = 2}, 1);
  EXPECT_EQ(messages.all_reduce_seconds(0, 1e12), 2 * 2.0);
  EXPECT_EQ(messages.forward_seconds(0, 1e12), 16.0);
}

TEST(Messages, AreNeverSlowerOverAFasterLink) {
  for (const bool shared : {false, true}) {
    for (const Split& split : {Split{2, 2}, Split{3, 2}, Split{8, 1}, Split{5, 3}, Split{1, 16}}) {
      double before = std::numeric_limits<double>::infinity();
      for (const double rate : {1.0, 2.0, 8.0, 64.0, 4096.0}) {
        Cluster cluster = cluster_of(4, 4, shared);
        cluster.between_nodes->bytes_per_second = rate;
        const Messages messages(cluster, split, 1);
        double sum = messages.answer_seconds(kBytes);
        for (Index stage = 0; stage < split.pipeline_parallel; ++stage)
          sum += messages.all_reduce_seconds(stage, kBytes) + messages.forward_seconds(stage, kBytes);
        EXPECT_LE(sum, before) << split.tensor_parallel << ' ' << split.pipeline_parallel << ' ' << rate;
        before = sum;
      }
    }
  }
}

}  // namespace
}  // namespace mlbench::measure
