// Runs the inputs of a golden through the reference, in the order of its story, and shows every tap on the way to a
// listener.
#pragma once

#include <string>
#include <vector>

#include "golden/hf_layout.h"
#include "reference/reference.h"

namespace mlbench::harness {

// What a call of the run is: the golden's step, the method, and its rows.
struct RunStep {
  golden::StepId step;
  std::string method;
  std::string label;                    // "decode/2", "chunked/0"
  Index sequences = 1;                  // of the call
  std::vector<Index> row_sequence;      // [T] which of them a row belongs to
  std::vector<std::int32_t> positions;  // [T]
  // Of the golden's rows of this step those that this call computes: [first_row, first_row + T); the whole step:
  // first_row 0.
  Index first_row = 0;
  bool part = false;  // a piece of a prompt that the golden holds whole
};

class RunListener {
 public:
  virtual ~RunListener() = default;
  [[nodiscard]] virtual bool wants(const RunStep& step, TapId tap) const = 0;
  virtual void take(const RunStep& step, TapId tap, const ref::Tensor& value) = 0;
  // Logits of chosen rows of a batch_prefill, [b, V].
  virtual void take_selected_logits(const RunStep& step, const ref::Tensor& logits) = 0;
};

// Runs what the golden has results for: prefill and decode; the ragged batch, its decoding, the token tree, its commit
// and what follows; the longest prompt in chunks.
void run_golden(const ref::Reference& reference, const golden::HfGolden& golden, RunListener& listener);

}  // namespace mlbench::harness
