// The backend's logits as what they are used for: distributions over the next token.
#pragma once

#include <string>
#include <vector>

#include "core/results.h"
#include "reference/tensor.h"

namespace mlbench::harness {

class LogitsMeter {
 public:
  // Logits [n, V] of a call: the exact ones, the backend's, and how far each row may stray. A most likely token that
  // differs is close where the exact logits of both lie within twice the limit; else a logit strays, which its own
  // check says.
  void add(const std::string& call, const ref::Tensor& exact, const ref::Tensor& got,
           const std::vector<double>& limits);

  // Nothing where no logits were seen.
  [[nodiscard]] std::optional<LogitsAgreement> result() const;
  // Whether rows differ from one another at all. True for fewer than two rows.
  [[nodiscard]] bool reference_reacts() const { return rows_ < 2 || reference_reacts_; }
  [[nodiscard]] bool backend_reacts() const { return rows_ < 2 || backend_reacts_; }

 private:
  LogitsAgreement sums_;  // means: sums so far
  Index rows_ = 0;
  std::vector<double> first_exact_, first_got_;
  bool reference_reacts_ = false, backend_reacts_ = false;
};

}  // namespace mlbench::harness
