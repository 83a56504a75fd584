// The measure by which two float64 computations of one tap are compared.
#pragma once

#include <span>

#include "core/tensor.h"

namespace mlbench::harness {

// Two implementations of one model in float64 differ by rounding alone, 1e-15 to 1e-14 of a tensor's largest value at
// the sizes goldens have (docs/verify.md); the smallest mistake that was tried, epsilon
// off by 1e-6, costs 1.3e-6. The limit lies between, two decades above the one and six below the other.
inline constexpr double kGoldenRtol = 1e-12;

struct Comparison {
  double max_error = 0.0;     // max |expected - got|; infinite where either is not finite
  double max_expected = 0.0;  // max |expected| over finite values
  double limit = 0.0;         // rtol * max_expected, or rtol itself where that is 0
  Index straying = 0;         // elements whose error is not <= limit
  Index worst = -1;  // flat index of the element with the largest error, the first of equals; -1 where there are none
  bool passed = true;
};

// Both spans have the same size; an empty comparison passes.
[[nodiscard]] Comparison compare(std::span<const double> expected, std::span<const double> got, double rtol);

}  // namespace mlbench::harness
