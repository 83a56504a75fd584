// A verification against a golden, for people and for programs.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "core/results.h"

namespace mlbench::reports {

// A table with a row per tap (the worst of its comparisons), what was not compared, and the verdict. A failed one ends
// with the first tap in the order of computation that strays. Warnings are not part of it. `color`: ANSI colours for
// verdicts.
[[nodiscard]] std::string to_text(const GoldenVerification& result, bool color);

// Documented in docs/reports.md; verify.schema.json is its schema. Numbers that are not finite are null.
[[nodiscard]] nlohmann::ordered_json to_json(const GoldenVerification& result);

}  // namespace mlbench::reports
