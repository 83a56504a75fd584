// A configuration as the config.json that a checkpoint of it would carry.
#pragma once

#include <nlohmann/json.hpp>

#include "models/config.h"

namespace mlbench::plugin {

// In Hugging Face's field names, with MLC's own for what an engine makes of the model. read_config() makes the same
// configuration of it.
[[nodiscard]] nlohmann::ordered_json hf_config_json(const ModelConfig& config);

}  // namespace mlbench::plugin
