// Whether what was timed was also right: the outputs of a point's repetitions against the float64 reference, by the
// noise floor of chained verification (docs/error-bounds.md).
//
// Where the reference can afford the whole run, every kept row is compared. Where it cannot, the reference computes the
// first tokens of each sequence alone, and the backend itself computes the whole sequence once more, in one
// batch_prefill whose logits are asked for at those first positions and at those that were timed: the first ones are
// held against the reference, the others against the timed outputs, within twice the widest limit of the first ones.
#pragma once

#include "core/workers.h"
#include "harness/measure/testbed.h"
#include "models/weights.h"

namespace mlbench::measure {

struct Verified {
  BenchCheck check = BenchCheck::unchecked;
  double ratio = 0.0;  // largest error / limit
  std::string text;    // what was compared, or what strays
};

struct CheckOptions {
  double most_flops = 4e11;  // that the reference may spend on one point, its moved runs included
  std::uint64_t seed = 1;
};

// By method of the testbed, which must have run at least once. `model` has the weights that the session uses, rounded
// to its storage type.
[[nodiscard]] std::vector<Verified> check_outputs(Testbed& bed, const Model& model, const CheckOptions& options,
                                                  Workers& workers);

}  // namespace mlbench::measure
