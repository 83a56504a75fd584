#include "harness/noise_floor.h"

#include <algorithm>
#include <cmath>

namespace mlbench::harness {
namespace {

// The quantile of the normal distribution at 1 - 1e-12: a failure probability of 1e-6 over a million rows compared.
constexpr double kQuantile = 7.0345;
// With fewer rows than this the shared variance is not known well enough to lean on.
constexpr double kEnough = 60.0;
// The largest of a few values that are nearly normal has a spread of its logarithm below this.
constexpr double kWidest = 0.45;

struct Logs {
  double mean = 0.0, squares = 0.0;
  std::size_t count = 0;
};

Logs logs_of(std::span<const double> deviations) {
  Logs out;
  for (const double d : deviations) {
    if (d <= 0.0) continue;
    out.mean += std::log(d);
    ++out.count;
  }
  if (out.count == 0) return out;
  out.mean /= static_cast<double>(out.count);
  for (const double d : deviations) {
    if (d > 0.0) out.squares += (std::log(d) - out.mean) * (std::log(d) - out.mean);
  }
  return out;
}

}  // namespace

void NoiseFloor::add(Tap tap, std::span<const double> deviations) {
  const Logs logs = logs_of(deviations);
  if (logs.count < 2) return;
  Pool& pool = pools_[static_cast<std::size_t>(tap)];
  pool.squares += logs.squares;
  pool.freedom += static_cast<double>(logs.count - 1);
}

double NoiseFloor::limit(Tap tap, std::span<const double> deviations) const {
  const Logs logs = logs_of(deviations);
  if (logs.count == 0) return 0.0;
  const Pool& pool = pools_[static_cast<std::size_t>(tap)];
  const double measured = pool.freedom > 0.0 ? std::sqrt(pool.squares / pool.freedom) : kWidest;
  const double shared = pool.freedom >= kEnough ? measured : std::max(measured, kWidest);
  const double own = logs.count > 1 ? std::sqrt(logs.squares / static_cast<double>(logs.count - 1)) : 0.0;
  const double spread = std::max(shared, own);
  // Fisher and Cornish's first correction of the normal quantile to that of Student's t.
  const double t = kQuantile * (1.0 + (kQuantile * kQuantile + 1.0) / (4.0 * std::max(pool.freedom, kEnough)));
  const double runs = static_cast<double>(logs.count);
  return std::exp(logs.mean + t * spread * std::sqrt(1.0 + 1.0 / runs));
}

}  // namespace mlbench::harness
