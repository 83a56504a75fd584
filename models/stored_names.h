// Under which names, and as which rows of what, a tensor of the inventory may stand in a checkpoint.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "models/config.h"
#include "models/tensor_inventory.h"

namespace mlbench {

// Rows [first_row, first_row + rows of the tensor) of a stored tensor that has `total_rows` of them. A tensor that is
// stored by itself is all rows of its own.
struct StoredRows {
  std::string name;
  Index first_row = 0;
  Index total_rows = 0;
};

// Every place where `spec` may be found, the Hugging Face name first: fused projections of MLC (rows q, k, v; rows
// gate, up), phi-msft's and mixformer-sequential's names.
[[nodiscard]] std::vector<StoredRows> stored_places(const ModelConfig& config, const TensorSpec& spec);

// Buffers that old checkpoints of these families carry and that no computation reads.
[[nodiscard]] bool ignorable(std::string_view name);

}  // namespace mlbench
