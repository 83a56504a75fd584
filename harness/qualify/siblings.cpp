#include "harness/qualify/siblings.h"

#include <cmath>
#include <limits>

#include "harness/measure/statistics.h"

namespace mlbench::qualify {
namespace {

// Of normal noise, the median absolute deviation in standard deviations.
constexpr double kDeviationOfNormal = 0.6745;

}  // namespace

void find_outliers(const std::vector<std::string>& siblings, SiblingFigure& figure) {
  std::vector<double> known;
  for (const auto& value : figure.values) {
    if (value) known.push_back(*value);
  }
  figure.outliers.clear();
  if (known.empty()) return;
  figure.median = measure::median(known);
  figure.deviation = measure::median_absolute_deviation(known) / kDeviationOfNormal;
  if (known.size() < kFewestSiblings) return;
  for (std::size_t i = 0; i < siblings.size(); ++i) {
    if (!figure.values[i]) continue;
    const double distance = std::fabs(*figure.values[i] - figure.median);
    const double share = *figure.values[i] / figure.median - 1.0;
    const bool far = distance > kDeviations * figure.deviation;
    if (!far || !(std::fabs(share) > kShare)) continue;
    const double deviations =
        figure.deviation > 0.0 ? distance / figure.deviation : std::numeric_limits<double>::infinity();
    figure.outliers.push_back({siblings[i], *figure.values[i], share, deviations});
  }
}

std::vector<int> spread_over(const std::vector<int>& all, std::size_t most) {
  if (all.size() <= most || most < 2) return all;
  std::vector<int> out;
  for (std::size_t i = 0; i < most; ++i) out.push_back(all[i * (all.size() - 1) / (most - 1)]);
  return out;
}

}  // namespace mlbench::qualify
