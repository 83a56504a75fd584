// What messages between the workers of split models take on a cluster: a message of n bytes over a link takes
// alpha + n / beta, its latency and its bytes at its rate, and what is sent at once takes as long as its slowest.
//
// The devices are filled one after the other: worker w (models/parts.h: shards of a stage side by side) of replica r of
// W workers is device r * W + w. All groups are taken to send at the same time; so many messages divide the rate of a
// node where it is shared.
#pragma once

#include <vector>

#include "core/prediction.h"
#include "models/parts.h"

namespace mlbench::measure {

class Messages {
 public:
  // The cluster, which outlives this, has the devices: Split::workers() * replicas of them.
  Messages(const Cluster& cluster, const Split& split, Index replicas);

  // Sums of `bytes` from every shard of the stage, given to them all: the quicker of two algorithms (Thakur,
  // Rabenseifner and Gropp: Optimization of collective communication operations in MPICH, IJHPCA 19(1), 2005). The
  // additions are not counted.
  [[nodiscard]] double all_reduce_seconds(Index stage, double bytes) const;
  // A ring scatters the sums and gathers them: 2 (S - 1) steps, in each of which every shard sends n / S bytes.
  [[nodiscard]] double ring_seconds(Index stage, double bytes) const;
  // Recursive doubling: log2 S steps of n bytes, with partners at distances 1, 2, 4, ...; where S is no power of two,
  // with a step before for those that are too many and one behind.
  [[nodiscard]] double doubling_seconds(Index stage, double bytes) const;

  // Every shard of the stage to its like of the next one.
  [[nodiscard]] double forward_seconds(Index stage, double bytes) const;
  // The first shard of the last stage to the first worker.
  [[nodiscard]] double answer_seconds(double bytes) const;

 private:
  struct Pair {
    Index from, to;
  };
  // What the shards of each stage send at once.
  struct Step {
    std::vector<bool> within, between;  // of a stage: messages that stay in their node, and that leave it
    double sharing = 1.0;               // most that leave, or reach, one node
  };
  // Between shards of a stage, or to those of the stage `ahead` of it.
  [[nodiscard]] Step step_of(const std::vector<Pair>& shards, Index ahead) const;
  [[nodiscard]] std::vector<std::vector<Pair>> doubling_pairs() const;
  [[nodiscard]] double seconds(const Step& step, Index stage, double bytes) const;

  const Cluster& cluster_;
  Split split_;
  Index replicas_;
  Step ring_, forward_, answer_;
  std::vector<Step> doubling_;
};

}  // namespace mlbench::measure
