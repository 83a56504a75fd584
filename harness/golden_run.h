// Runs the inputs of a golden through the reference, in the order of its story, and shows every tap on the way to a
// listener.
#pragma once

#include <string>
#include <vector>

#include "harness/plan.h"
#include "reference/reference.h"

namespace mlbench::harness {

// What a call of the run is: the golden's rows, and the call's own.
struct RunStep {
  GoldenRows rows;
  std::string label;                    // "decode/2", "chunked/0"
  Index sequences = 1;                  // of the call
  std::vector<Index> row_sequence;      // [T] which of them a row belongs to
  std::vector<std::int32_t> positions;  // [T]
};

class RunListener {
 public:
  virtual ~RunListener() = default;
  [[nodiscard]] virtual bool wants(const RunStep& step, TapId tap) const = 0;
  virtual void take(const RunStep& step, TapId tap, const ref::Tensor& value) = 0;
  // Logits of chosen rows of a batch_prefill, [b, V].
  virtual void take_selected_logits(const RunStep& step, const ref::Tensor& logits) = 0;
};

// Every call of the plan comes from a golden (plan_of).
void run_golden(const ref::Reference& reference, const Plan& plan, RunListener& listener);

}  // namespace mlbench::harness
