// What a verification found, independent of how it is shown. harness/ fills these, reports/ renders them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/tensor.h"

namespace mlbench {

// One element of a tap that lies further from the golden than the limit allows.
struct Mismatch {
  Index batch_row = 0;    // sequence of the call
  Index position = 0;     // of the token in its sequence
  std::string element;    // index inside the tap's row: "[17]", "head 2 [5]", "head 2 key 4"
  double expected = 0.0;  // the golden's value
  double computed = 0.0;
};

// One dataset of a golden against one tap of the model.
struct TapResult {
  std::string method;  // the inference method whose call this is: "prefill", "decode", ...
  std::string step;    // the golden's group: "prefill", "decode/2", "chunked/0"
  std::string dataset;
  std::string tap;   // "layers.3.attn.q"
  Index layer = -1;  // -1 outside the layers
  Index elements = 0;
  Index straying = 0;         // elements beyond the limit
  double max_error = 0.0;     // infinite where a value is not a number
  double max_expected = 0.0;  // the golden's largest magnitude
  double limit = 0.0;         // that max_error must not exceed
  bool passed = false;
  std::optional<Mismatch> worst;  // where it did not pass

  [[nodiscard]] double ratio() const { return max_error / limit; }
};

struct Uncompared {
  std::string dataset;
  std::string reason;
};

struct GoldenVerification {
  std::string model;  // where it came from
  std::string architecture;
  std::string golden;  // path
  std::string backend;
  std::string dtype;
  double rtol = 0.0;            // limit = rtol * max|golden| of the tap, rtol itself where that is 0
  std::vector<TapResult> taps;  // in the order of computation
  std::vector<Uncompared> uncompared;
  Index result_datasets = 0;  // that the golden holds
  Index compared_datasets = 0;
  std::vector<std::string> warnings;
  std::vector<std::string> notes;  // what may explain a failure

  [[nodiscard]] const TapResult* first_failure() const;
  [[nodiscard]] bool enough_compared() const;  // at least 95% of the golden's result datasets
  [[nodiscard]] bool passed() const { return first_failure() == nullptr && enough_compared(); }
};

}  // namespace mlbench
