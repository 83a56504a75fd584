// The RoPE fields of a config.json.
#pragma once

#include "models/config.h"
#include "models/config_fields.h"

namespace mlbench {

// Reads kind, base and scaling for an architecture that has RoPE; config.head_dim must be known.
// Where the fields stand: `rope_scaling` when it is a non-empty object, else `rope_parameters` (transformers >= 5).
[[nodiscard]] RopeConfig read_rope(const ConfigFields& fields, const ModelConfig& config);

}  // namespace mlbench
