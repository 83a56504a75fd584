// A plan as text, for goldens: what was run, so that it can be run again. Token ids and all.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "harness/plan.h"

namespace mlbench::harness {

[[nodiscard]] nlohmann::ordered_json plan_json(const Plan& plan);

// Throws golden.format, naming `where`, for text that is no plan.
[[nodiscard]] Plan parse_plan(const std::string& text, const std::string& where);

[[nodiscard]] nlohmann::ordered_json arithmetic_json(const backends::Arithmetic& arithmetic);
[[nodiscard]] backends::Arithmetic parse_arithmetic(const std::string& text, const std::string& where);

}  // namespace mlbench::harness
