// Micro-batches and the time that they take, by hand.
#include "harness/measure/pipeline.h"

#include <gmock/gmock.h>

namespace mlbench::measure {
namespace {

using ::testing::ElementsAre;

CallShape shape(Index batch, Index rows, Index before, Index logit_rows) {
  return {.batch = batch, .rows = rows, .before = before, .logit_rows = logit_rows};
}

// ---- pieces ----

TEST(MicroBatches, AreWholeSequencesWhereThereAreEnough) {
  const CallShape call = shape(8, 16, 5, 8);
  EXPECT_THAT(micro_batches(call, 1), ElementsAre(call));
  EXPECT_THAT(micro_batches(call, 2), ElementsAre(shape(4, 16, 5, 4), shape(4, 16, 5, 4)));
  EXPECT_THAT(micro_batches(call, 3), ElementsAre(shape(3, 16, 5, 3), shape(3, 16, 5, 3), shape(2, 16, 5, 2)));
}

// What comes later sees what came before, and the last piece of a sequence has its logits.
TEST(MicroBatches, BeyondTheSequencesAreOfTheirRows) {
  EXPECT_THAT(micro_batches(shape(2, 5, 10, 2), 3),
              ElementsAre(shape(1, 3, 10, 0), shape(1, 2, 13, 1), shape(1, 5, 10, 1)));
}

TEST(MicroBatches, AreNoMoreThanTheRows) {
  EXPECT_EQ(micro_batches(shape(2, 3, 0, 2), 100).size(), 6U);
  EXPECT_EQ(micro_batches(shape(4, 1, 9, 4), 100).size(), 4U) << "of a step of decoding, one for each sequence";
}

TEST(MicroBatches, HaveAllRowsAndLogits) {
  for (Index count = 1; count <= 40; ++count) {
    Index rows = 0, logits = 0;
    for (const CallShape& piece : micro_batches(shape(3, 11, 2, 3), count)) {
      rows += piece.batch * piece.rows;
      logits += piece.logit_rows;
    }
    EXPECT_EQ(rows, 33) << count;
    EXPECT_EQ(logits, 3) << count;
  }
}

// ---- time ----

PipelineTime time_of(const std::vector<StageTime>& stages, int count) {
  Pipeline pipeline(stages.size());
  for (int i = 0; i < count; ++i) pipeline.pass(stages);
  return pipeline.time();
}

TEST(Pipeline, OfOneStageHasNoBubble) {
  const PipelineTime time = time_of({{0.1, 0.2}}, 7);
  EXPECT_DOUBLE_EQ(time.seconds, 7 * 0.3);
  EXPECT_DOUBLE_EQ(time.compute_seconds, 7 * 0.1);
  EXPECT_DOUBLE_EQ(time.communication_seconds, 7 * 0.2);
  EXPECT_EQ(time.bubble_seconds, 0.0);
}

TEST(Pipeline, PassesOneMicroBatchFromStageToStage) {
  const PipelineTime time = time_of({{3.0, 1.0}, {2.0, 0.0}, {5.0, 1.0}}, 1);
  EXPECT_EQ(time.seconds, 12.0);
  EXPECT_DOUBLE_EQ(time.compute_seconds, 10.0 / 3);
  EXPECT_DOUBLE_EQ(time.communication_seconds, 2.0 / 3);
  EXPECT_DOUBLE_EQ(time.bubble_seconds, 12.0 - 12.0 / 3);
}

// (P - 1) / (m + P - 1)
TEST(Pipeline, OfEqualStagesHasGpipesBubble) {
  for (const int stages : {2, 4, 7}) {
    for (const int count : {1, 2, 5, 32}) {
      const PipelineTime time = time_of(std::vector<StageTime>(static_cast<std::size_t>(stages), {1.5, 0.5}), count);
      EXPECT_EQ(time.seconds, 2.0 * (count + stages - 1));
      EXPECT_DOUBLE_EQ(time.bubble_seconds / time.seconds, (stages - 1.0) / (count + stages - 1.0));
    }
  }
}

// The sum of the stages, and the longest for every further micro-batch.
TEST(Pipeline, OfUnequalStagesWaitsForTheSlowest) {
  for (const int count : {1, 2, 10}) {
    const PipelineTime time = time_of({{2.0, 1.0}, {4.0, 1.0}, {1.0, 0.0}}, count);
    EXPECT_EQ(time.seconds, 9.0 + (count - 1) * 5.0);
    EXPECT_DOUBLE_EQ(time.bubble_seconds, time.seconds - count * 9.0 / 3);
  }
}

// First 4 and 2, then 1 and 3: the second waits for nothing, then for the first to leave.
TEST(Pipeline, OfUnequalMicroBatchesGoesOneByOne) {
  Pipeline pipeline(2);
  pipeline.pass({{4.0, 0.0}, {2.0, 0.0}});
  pipeline.pass({{1.0, 0.0}, {3.0, 0.0}});
  EXPECT_EQ(pipeline.time().seconds, 9.0);
  EXPECT_EQ(pipeline.time().compute_seconds, 5.0);
  EXPECT_EQ(pipeline.time().bubble_seconds, 4.0);  // 4 before the second stage begins, 4 behind the first
}

TEST(Pipeline, PartsMakeTheWhole) {
  Pipeline pipeline(3);
  for (const double length : {1.0, 0.25, 3.0, 0.5}) pipeline.pass({{length, 0.5}, {2.0, length}, {1.0, 0.0}});
  const PipelineTime time = pipeline.time();
  EXPECT_DOUBLE_EQ(time.compute_seconds + time.communication_seconds + time.bubble_seconds, time.seconds);
}

}  // namespace
}  // namespace mlbench::measure
