#include "harness/rounding.h"

#include <algorithm>
#include <limits>

namespace mlbench::harness {

double unit_roundoff(DType type) {
  switch (type) {
    case DType::f64: return 0x1p-53;
    case DType::f32: return 0x1p-24;
    case DType::bf16: return 0x1p-8;
    case DType::f16: return 0x1p-11;
  }
  return 0.0;
}

double underflow(DType type) {
  switch (type) {
    case DType::f64: return 0x1p-1022;
    case DType::f32:
    case DType::bf16: return 0x1p-126;
    case DType::f16: return 0x1p-25;
  }
  return 0.0;
}

double probabilistic_lambda() {
  static const double kLambda = std::sqrt(2.0 * std::log(2.0 * kRoundings / kFailureProbability));
  return kLambda;
}

double gamma(Index roundings, DType type) {
  const double u = unit_roundoff(type);
  const auto k = static_cast<double>(roundings);
  return std::min(worst_case_gamma(roundings, type), probabilistic_lambda() * std::sqrt(k) * u);
}

double worst_case_gamma(Index roundings, DType type) {
  const double ku = static_cast<double>(roundings) * unit_roundoff(type);
  return ku < 0.5 ? ku / (1.0 - ku) : std::numeric_limits<double>::infinity();
}

double gamma(Index terms, const backends::Summation& sum, DType type, Bounds bounds) {
  const Index roundings = sum.fused > 1 ? (terms - 1) / sum.fused + 2 : terms;
  if (sum.truncates) return worst_case_gamma(2 * roundings, type);
  return bounds == Bounds::deterministic ? worst_case_gamma(roundings, type) : gamma(roundings, type);
}

}  // namespace mlbench::harness
