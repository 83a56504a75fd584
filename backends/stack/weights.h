// What every backend of ours does with a model's tensors on their way to where they are used.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "models/tensor_inventory.h"
#include "models/weights.h"

namespace mlbench::stack {

// Which norm of a layer a tensor of the inventory belongs to, by its name.
enum class LayerNorm { attention, mlp, query, key };
[[nodiscard]] LayerNorm layer_norm_of(const std::string& tensor);

// A bias as it is added: rounded to `stored`, and where its product's results are summed over shards, divided by their
// number.
[[nodiscard]] std::vector<float> bias_of(const WeightView& bias, TensorRole product, DType stored, Index shards);

// Row `row` as float32, of values that are rounded to `stored`. out.size() == view.cols.
void rounded_row(const WeightView& view, Index row, DType stored, std::span<float> out);

}  // namespace mlbench::stack
