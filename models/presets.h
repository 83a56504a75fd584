// Published configurations by name, and one small one per architecture.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "models/config.h"

namespace mlbench {

// The name of the small preset of an architecture: evaluated in seconds, with the architecture's peculiarities switched
// on.
[[nodiscard]] std::string small_preset(Architecture architecture);

// All names, small presets first, then in the order of the published tables.
[[nodiscard]] std::vector<std::string> preset_names();

// The preset as the config.json that a checkpoint of it would carry. An unknown name is a request error
// (preset.unknown) that lists near ones.
[[nodiscard]] nlohmann::json preset_config_json(std::string_view name);

// The same, read; `overrides` are fields that replace the preset's.
[[nodiscard]] ModelConfig preset_config(std::string_view name,
                                        const nlohmann::json& overrides = nlohmann::json::object());

}  // namespace mlbench
