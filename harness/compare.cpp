#include "harness/compare.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>

namespace mlbench::harness {
namespace {

double error_of(double expected, double got) {
  if (!std::isfinite(expected) || !std::isfinite(got)) return std::numeric_limits<double>::infinity();
  return std::fabs(expected - got);
}

}  // namespace

Comparison compare(std::span<const double> expected, std::span<const double> got, double rtol) {
  assert(expected.size() == got.size());
  Comparison out;
  for (const double value : expected) {
    if (std::isfinite(value)) out.max_expected = std::max(out.max_expected, std::fabs(value));
  }
  out.limit = out.max_expected > 0.0 ? rtol * out.max_expected : rtol;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double error = error_of(expected[i], got[i]);
    if (out.worst < 0 || error > out.max_error) {
      out.max_error = error;
      out.worst = static_cast<Index>(i);
    }
    if (!(std::isfinite(error) && error <= out.limit)) ++out.straying;  // the limit itself may be infinite
  }
  out.passed = out.straying == 0;
  return out;
}

}  // namespace mlbench::harness
