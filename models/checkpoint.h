// A Hugging Face checkpoint folder: config.json and model.safetensors, or shards named by model.safetensors.index.json.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "models/weights.h"

namespace mlbench {

struct CheckpointOptions {
  bool strict = false;                                  // a tensor that nothing uses is an error, not a warning
  nlohmann::json overrides = nlohmann::json::object();  // fields that replace those of config.json
};

// Reads only the configuration.
[[nodiscard]] ModelConfig read_checkpoint_config(const std::string& folder, const CheckpointOptions& options = {});

// Maps the weights (F64, F32, F16 or BF16, mixed at will) and resolves the inventory's names. Throws request errors:
// checkpoint.* for files, weights.missing, weights.shape, weights.dtype; weights.unexpected when strict.
// Ties as in Hugging Face: a tied model may store the embedding, the output layer, or both; where both are stored and
// differ, the model is not tied and a weights.conflict warning says so.
[[nodiscard]] Model load_checkpoint(const std::string& folder, const CheckpointOptions& options = {});

}  // namespace mlbench
