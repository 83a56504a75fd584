// Checkpoint folders as tests write them: synthetic weights of a small model, stored as asked.
#pragma once

#include <functional>

#include "models/checkpoint.h"
#include "tests/models/config_support.h"
#include "tests/support/safetensors_writer.h"
#include "tests/support/temp_dir.h"

namespace mlbench::test {

// The smallest model of each kind with synthetic weights in `dtype`.
[[nodiscard]] Model small_model(const nlohmann::json& config, DType dtype = DType::f32);

using Tensors = std::vector<StoredTensor>;
[[nodiscard]] StoredTensor& find(Tensors& tensors, const std::string& name);
[[nodiscard]] StoredTensor taken(Tensors& tensors, const std::string& name);  // removed from the list

// One value of `tensor` replaced by another.
void damage(StoredTensor& tensor);

// A folder with config.json and model.safetensors.
class Checkpoint {
 public:
  Checkpoint(const nlohmann::json& config, const Tensors& tensors);
  // Sharded: tensor i goes to the shard that `shard_of` names; the index lists them, and `more` besides.
  Checkpoint(const nlohmann::json& config, const Tensors& tensors,
             const std::function<std::string(const StoredTensor&)>& shard_of,
             const nlohmann::json& more = nlohmann::json::object());

  [[nodiscard]] std::string folder() const { return dir_.path().string(); }
  [[nodiscard]] std::string operator/(const std::string& name) const { return dir_ / name; }
  [[nodiscard]] Model load(bool strict = false) const { return load_checkpoint(folder(), {.strict = strict}); }
  // The error of loading; the test fails unless it is a request error that names the folder.
  [[nodiscard]] Error refused(bool strict = false) const;

 private:
  TempDir dir_;
};

// Every tensor of the inventory has the same values in both.
void expect_same_weights(const Model& a, const Model& b);

}  // namespace mlbench::test
