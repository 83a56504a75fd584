// Verification against goldens of our own.
#pragma once

#include "golden/own_layout.h"
#include "harness/verify_backend.h"
#include "harness/verify_golden.h"

namespace mlbench::harness {

// Throws golden.model where the golden was made from other weights than `rounded`, the model with its weights rounded
// to the golden's type.
void require_same_weights(const Model& rounded, const golden::OwnGolden& golden, const std::string& path,
                          Workers& workers);

// The type that the golden's weights were rounded to; golden.format where it names none.
[[nodiscard]] DType dtype_of(const golden::OwnGolden& golden, const std::string& path);

// The float64 reference against the golden, tap by tap: limits as in verify_golden.
[[nodiscard]] GoldenVerification verify_own_golden(const Model& model, golden::OwnGolden& golden,
                                                   const std::string& path, Workers& workers,
                                                   const GoldenOptions& options);

// The backend against the golden's taps by the limits that stand beside them: no float64 is evaluated. Throws
// golden.no_limits where some are missing, golden.arithmetic where the backend declares a coarser arithmetic than the
// one that the limits are for. `plan`: the golden's own, or the part of it that is to be run.
[[nodiscard]] BackendVerification verify_trusted(const Model& model, backends::Backend& backend,
                                                 golden::OwnGolden& golden, const std::string& path, const Plan& plan,
                                                 const BackendOptions& options, Workers& workers);

}  // namespace mlbench::harness
