// The RoPE fields of a config.json, and whose names they have.
#pragma once

#include "models/config.h"
#include "models/config_fields.h"

namespace mlbench {

// Reads kind, base and scaling for an architecture that has RoPE; config.head_dim must be known.
// Where the fields stand: `rope_scaling` when it is a non-empty object, else `rope_parameters` (transformers >= 5).
[[nodiscard]] RopeConfig read_rope(const ConfigFields& fields, const ModelConfig& config);

// Whether a Phi config.json has the field names of phi-msft (n_embd, n_layer, ...). The names present decide, not
// model_type alone: there are files of type "phi" with them. Only where n_embd is left out does the type tell.
[[nodiscard]] bool has_msft_names(const ConfigFields& fields);

}  // namespace mlbench
