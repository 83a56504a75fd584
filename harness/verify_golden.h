// The float64 reference against a golden that another program computed: the golden's inputs are run, and every result
// that it holds is compared.
#pragma once

#include <functional>
#include <string>

#include "core/results.h"
#include "core/workers.h"
#include "golden/golden_file.h"
#include "harness/compare.h"
#include "models/weights.h"
#include "reference/rope.h"

namespace mlbench::harness {

struct GoldenOptions {
  double rtol = kGoldenRtol;
  ref::RopeCompat rope_compat = ref::RopeCompat::f64;
  // Called now and then with what is being done and the share that is done, in [0, 1].
  std::function<void(const std::string& doing, double done)> progress;
};

// Throws request errors for a golden that is damaged, contradicts itself, or cannot be this model's.
[[nodiscard]] GoldenVerification verify_golden(const Model& model, golden::GoldenFile& file, Workers& workers,
                                               const GoldenOptions& options = {});

}  // namespace mlbench::harness
