// A configuration as JSON: every field by its name here, the same for all ways of writing it in a config.json.
#pragma once

#include <nlohmann/json.hpp>

#include "models/config.h"

namespace mlbench {

[[nodiscard]] nlohmann::ordered_json config_json(const ModelConfig& config);

}  // namespace mlbench
