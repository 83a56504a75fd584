#include "reports/schedules.h"

#include <algorithm>

#include <fmt/format.h>

#include "reports/figures.h"

namespace mlbench::reports {
namespace {

std::size_t index_of(std::vector<std::string>& names, const std::string& name) {
  const auto it = std::ranges::find(names, name);
  if (it != names.end()) return static_cast<std::size_t>(it - names.begin());
  names.push_back(name);
  return names.size() - 1;
}

}  // namespace

ScheduleMatrix schedule_matrix(const BackendVerification& result) {
  ScheduleMatrix matrix;
  for (const ScheduleComparison& pair : result.schedules) {
    (void)index_of(matrix.names, pair.a);
    (void)index_of(matrix.names, pair.b);
  }
  const std::size_t size = matrix.names.size();
  matrix.pairs.assign(size, std::vector<const ScheduleComparison*>(size, nullptr));
  for (const ScheduleComparison& pair : result.schedules) {
    const std::size_t a = index_of(matrix.names, pair.a), b = index_of(matrix.names, pair.b);
    matrix.pairs[a][b] = matrix.pairs[b][a] = &pair;
  }
  return matrix;
}

std::string cell_text(const ScheduleComparison& pair) { return pair.bitwise ? "=" : number(pair.ratio); }

std::string describe(const ScheduleComparison& pair) {
  if (pair.bitwise) return fmt::format("{} and {}: bitwise equal", pair.a, pair.b);
  const std::string row = pair.position < 0 ? "" : fmt::format(", position {}", pair.position);
  return fmt::format("{} and {}: apart by up to {}, {} of the limit; the first tap that differs is {}{}", pair.a,
                     pair.b, number(pair.max_difference), number(pair.ratio), pair.first_tap, row);
}

std::string describe(const Invariance& invariance) {
  if (invariance.holds) return fmt::format("{}: holds bitwise", invariance.property);
  return fmt::format("{}: does not hold: apart by up to {}; the first tap that differs is {}{}", invariance.property,
                     number(invariance.max_difference), invariance.first_tap,
                     invariance.call.empty() ? "" : " of " + invariance.call);
}

}  // namespace mlbench::reports
