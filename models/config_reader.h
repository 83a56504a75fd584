// config.json, as Hugging Face writes it (both generations of field names), with MLC's own fields understood too.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "models/config.h"

namespace mlbench {

// Reads one configuration. `where` names its source in messages. Hugging Face's meaning of a field decides; defaults
// that a published file should have stated are taken with a warning. Throws request errors with the codes
// config.missing, .type, .value, .indivisible, .unsupported, parallel.indivisible and parallel.unsupported.
[[nodiscard]] ModelConfig read_config(const nlohmann::json& object, const std::string& where);

// The same from text; a text that is not JSON is config.syntax.
[[nodiscard]] ModelConfig parse_config(std::string_view text, const std::string& where);
[[nodiscard]] nlohmann::json parse_config_json(std::string_view text, const std::string& where);

}  // namespace mlbench
