#include "core/sibling_results.h"

#include <algorithm>

namespace mlbench {

bool SiblingResults::any_outlier() const {
  return std::ranges::any_of(figures, [](const SiblingFigure& figure) { return !figure.outliers.empty(); });
}

bool SiblingResults::passed() const { return failed.empty() && !interrupted && !(judged && any_outlier()); }

}  // namespace mlbench
