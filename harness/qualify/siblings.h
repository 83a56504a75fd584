// Which of several devices of one kind differs from the others.
#pragma once

#include <string>
#include <vector>

#include "core/sibling_results.h"

namespace mlbench::qualify {

// Fewer than so many: of two that differ nobody knows which is the odd one, and of three the median's deviation tells
// nothing.
inline constexpr std::size_t kFewestSiblings = 4;
// An outlier lies further from the median than so many scaled median absolute deviations (the threshold of Iglewicz and
// Hoaglin, "How to detect and handle outliers", 1993), and by more than this share: siblings that agree very well would
// otherwise have outliers that nobody would notice.
inline constexpr double kDeviations = 3.5;
inline constexpr double kShare = 0.05;

// Median, deviation and outliers of a figure from its values.
void find_outliers(const std::vector<std::string>& siblings, SiblingFigure& figure);

// Which of these to measure where `most` of them are to stand for all: the first, the last, and evenly in between.
[[nodiscard]] std::vector<int> spread_over(const std::vector<int>& all, std::size_t most);

}  // namespace mlbench::qualify
