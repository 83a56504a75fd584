// Micro-batches that pass through the stages of a split model, one behind the other (Huang et al.: GPipe, NeurIPS 2019,
// section 2).
#pragma once

#include <vector>

#include "harness/measure/cost.h"

namespace mlbench::measure {

// The call in `count` pieces as even as can be, the larger ones first: of whole sequences, or where there are more
// pieces than sequences, of the rows of one. No more than the call has rows. A sequence's last row gets its logits.
[[nodiscard]] std::vector<CallShape> micro_batches(const CallShape& call, Index count);

// A worker's time for one micro-batch.
struct StageTime {
  double compute_seconds = 0.0;
  double communication_seconds = 0.0;

  [[nodiscard]] double total() const { return compute_seconds + communication_seconds; }
};

// What calls took, from the first stage's begin to the last one's end, and what that is for a stage in the mean:
// computing, messages, and waiting.
struct PipelineTime {
  double seconds = 0.0;
  double compute_seconds = 0.0;
  double communication_seconds = 0.0;
  double bubble_seconds = 0.0;

  PipelineTime& operator+=(const PipelineTime& other);
};

// A stage takes a micro-batch up when the stage before has handed it over and its own last one is done. Of m equal
// ones that is the sum of the stages' times and (m - 1) times the longest; of P equal stages, the bubble's share is
// (P - 1) / (m + P - 1).
class Pipeline {
 public:
  explicit Pipeline(std::size_t stages) : finished_(stages) {}

  // The next micro-batch, by what it takes in each stage.
  void pass(const std::vector<StageTime>& stages);
  [[nodiscard]] PipelineTime time() const;

 private:
  std::vector<double> finished_;  // when each stage is done with what it took up last
  PipelineTime sum_;              // over the stages
};

}  // namespace mlbench::measure
