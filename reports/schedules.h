// Comparisons of schedules as a square table.
#pragma once

#include <string>
#include <vector>

#include "core/results.h"

namespace mlbench::reports {

struct ScheduleMatrix {
  std::vector<std::string> names;                             // in the order of their first comparison
  std::vector<std::vector<const ScheduleComparison*>> pairs;  // [name, name], symmetric; null: not compared
};

[[nodiscard]] ScheduleMatrix schedule_matrix(const BackendVerification& result);

// "=" for bitwise equal, else the largest difference over its limit.
[[nodiscard]] std::string cell_text(const ScheduleComparison& pair);

// "whole and chunked: ...", how far they lie apart and where that begins.
[[nodiscard]] std::string describe(const ScheduleComparison& pair);
[[nodiscard]] std::string describe(const Invariance& invariance);

}  // namespace mlbench::reports
