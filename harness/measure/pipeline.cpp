#include "harness/measure/pipeline.h"

#include <algorithm>

namespace mlbench::measure {
namespace {

// Piece `index` of `count`, as even as can be.
Index piece(Index whole, Index count, Index index) { return whole / count + (index < whole % count ? 1 : 0); }

}  // namespace

std::vector<CallShape> micro_batches(const CallShape& call, Index count) {
  const Index most = std::clamp<Index>(count, 1, call.batch * call.rows);
  std::vector<CallShape> out;
  if (most <= call.batch) {
    for (Index i = 0; i < most; ++i) {
      CallShape& next = out.emplace_back(call);
      next.batch = next.logit_rows = piece(call.batch, most, i);
    }
    return out;
  }
  for (Index sequence = 0; sequence < call.batch; ++sequence) {
    const Index chunks = piece(most, call.batch, sequence);
    Index before = call.before;
    for (Index i = 0; i < chunks; ++i) {
      const Index rows = piece(call.rows, chunks, i);
      out.push_back({.batch = 1, .rows = rows, .before = before, .logit_rows = i + 1 == chunks ? 1 : 0});
      before += rows;
    }
  }
  return out;
}

PipelineTime& PipelineTime::operator+=(const PipelineTime& other) {
  seconds += other.seconds;
  compute_seconds += other.compute_seconds;
  communication_seconds += other.communication_seconds;
  bubble_seconds += other.bubble_seconds;
  return *this;
}

void Pipeline::pass(const std::vector<StageTime>& stages) {
  double handed_over = 0.0;
  for (std::size_t i = 0; i < stages.size(); ++i) {
    sum_.bubble_seconds += std::max(handed_over - finished_[i], 0.0);
    handed_over = finished_[i] = std::max(handed_over, finished_[i]) + stages[i].total();
    sum_.compute_seconds += stages[i].compute_seconds;
    sum_.communication_seconds += stages[i].communication_seconds;
  }
}

PipelineTime Pipeline::time() const {
  const auto stages = static_cast<double>(finished_.size());
  const double end = finished_.back();
  double waiting = sum_.bubble_seconds;
  for (const double finished : finished_) waiting += end - finished;
  return {.seconds = end,
          .compute_seconds = sum_.compute_seconds / stages,
          .communication_seconds = sum_.communication_seconds / stages,
          .bubble_seconds = waiting / stages};
}

}  // namespace mlbench::measure
