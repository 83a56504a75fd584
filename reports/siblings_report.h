// Siblings as text and as JSON (qualify.schema.json).
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "core/sibling_results.h"

namespace mlbench::reports {

[[nodiscard]] std::string to_text(const SiblingResults& result);
[[nodiscard]] nlohmann::ordered_json to_json(const SiblingResults& result);

}  // namespace mlbench::reports
