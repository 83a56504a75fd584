// A filter of runs as a condition of SQL.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "reports/store/store.h"

namespace mlbench::reports {

// "SELECT id FROM run ...": the runs that the filter selects, and the values of its parameters.
struct Selection {
  std::string sql;
  std::vector<std::variant<std::int64_t, std::string>> values;
};

[[nodiscard]] Selection selection_of(const RunFilter& filter);

}  // namespace mlbench::reports
