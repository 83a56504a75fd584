// Goldens of our own: the reference's taps of a plan, and how far a backend of a stated arithmetic may stray from each.
#pragma once

#include <functional>
#include <string>

#include "core/workers.h"
#include "harness/plan.h"
#include "models/weights.h"

namespace mlbench::harness {

struct GoldenMakeOptions {
  DType dtype = DType::f64;  // what weights are rounded to; f64: not at all, and no limits are stored
  std::uint64_t seed = 1;    // of synthetic weights, for the record
  std::string program_version;
  std::function<void(const std::string& doing, double done)> progress;
};

// The arithmetic of an engine that stores everything in `dtype` and sums in float32: what limits in a golden are for.
[[nodiscard]] backends::Arithmetic stored_arithmetic(DType dtype);

// Runs the plan and writes the golden to `path`, whole or not at all.
void make_golden(const Model& model, const Plan& plan, const std::string& path, const GoldenMakeOptions& options,
                 Workers& workers);

}  // namespace mlbench::harness
