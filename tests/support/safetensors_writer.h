// Makes safetensors files, well-formed ones and, from a header of one's own, any other.
#pragma once

#include <string>
#include <vector>

#include "core/dtype.h"
#include "models/weights.h"

namespace mlbench::test {

struct StoredTensor {
  std::string name;
  Shape shape;
  DType dtype = DType::f32;
  std::vector<double> values;  // rounded to dtype when written
};

// The bytes of a file: length, header, data.
[[nodiscard]] std::string safetensors_bytes(const std::vector<StoredTensor>& tensors);
[[nodiscard]] std::string safetensors_bytes(const std::string& header, const std::string& data);

// Every tensor of the model's inventory, with its values (a tied output layer is left out).
[[nodiscard]] std::vector<StoredTensor> tensors_of(const Model& model, DType dtype);

// config.json text and model.safetensors into an existing folder.
void write_checkpoint(const std::string& folder, const std::string& config_json,
                      const std::vector<StoredTensor>& tensors);

}  // namespace mlbench::test
