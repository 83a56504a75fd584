// How far one rounding, or a sum of many, may move a value: the constants that every error bound is made of.
#pragma once

#include <cmath>

#include "backends/backend.h"
#include "core/dtype.h"
#include "core/tensor.h"

namespace mlbench::harness {

// u: half the distance from 1 to the next value of the type (Higham, "Accuracy and Stability of Numerical Algorithms",
// 2nd ed., section 2.1).
[[nodiscard]] double unit_roundoff(DType type);

// What rounding to `type` may add where the result is below the normal range: half the smallest subnormal of f16, which
// nobody flushes to zero; the smallest normal number of the others, which some do.
[[nodiscard]] double underflow(DType type);

// |fl(y) - y| <= u |y| + underflow.
[[nodiscard]] inline double rounding_error(DType type, double y) {
  return unit_roundoff(type) * std::fabs(y) + underflow(type);
}

// The chance with which an honest backend may violate any bound of a run, and the number of roundings that this chance
// is shared out over: more than a run of the largest published preset makes.
inline constexpr double kFailureProbability = 1e-6;
inline constexpr double kRoundings = 1e18;

// lambda of Higham and Mary, "A new approach to probabilistic rounding error analysis" (SISC 41, 2019), theorem 2.4: a
// sum of K terms errs by more than lambda sqrt(K) u with a probability of at most 2 K exp(-lambda^2 (1 - u)^2 / 2).
// With kRoundings as the sum of all K this follows from the failure probability: about 10.6.
[[nodiscard]] double probabilistic_lambda();

// gamma(K): relative to the sum of magnitudes, how far K roundings in a row may lead: the smaller one of the worst
// case, K u / (1 - K u) (Higham, lemma 3.1), and of lambda sqrt(K) u.
[[nodiscard]] double gamma(Index roundings, DType type);

// The worst case alone. For sums of terms of one sign: where one term is large, the others' roundings all go one way
// (each square rounds away against a massive channel's), and nothing averages out.
[[nodiscard]] double worst_case_gamma(Index roundings, DType type);

// Which gamma sums of terms of any sign get: the smaller one as above, or the worst case.
enum class Bounds { probabilistic, deterministic };

// The same for a sum of so many products, summed as declared. Blocks of b make ceil(K / b) roundings, and one more for
// partial sums that are put together. Truncation moves a sum by up to 2 u, always towards 0: nothing averages out.
[[nodiscard]] double gamma(Index terms, const backends::Summation& sum, DType type, Bounds bounds);

// The bounds are sums of terms of first order. Each relative term is below 2^-7 (bf16 rounds by 2^-8), so that what
// their products add is below this part of their sum.
inline constexpr double kSecondOrder = 1.0 + 1.0 / 64;

}  // namespace mlbench::harness
