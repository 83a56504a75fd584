#include "tests/models/checkpoint_support.h"

#include <algorithm>
#include <map>

#include "models/config_reader.h"
#include "models/synthetic.h"

namespace mlbench::test {

using nlohmann::json;

Model small_model(const json& config, DType dtype) {
  Workers workers(1);
  return make_synthetic(read_config(config, "test"), dtype, 5, workers);
}

StoredTensor& find(Tensors& tensors, const std::string& name) {
  const auto it = std::find_if(tensors.begin(), tensors.end(), [&](const auto& tensor) { return tensor.name == name; });
  if (it == tensors.end()) throw std::runtime_error("the test knows no tensor " + name);
  return *it;
}

StoredTensor taken(Tensors& tensors, const std::string& name) {
  StoredTensor out = find(tensors, name);
  std::erase_if(tensors, [&](const auto& tensor) { return tensor.name == name; });
  return out;
}

void damage(StoredTensor& tensor) { tensor.values.back() = 2.0; }  // exact in every type

Checkpoint::Checkpoint(const json& config, const Tensors& tensors) {
  write_checkpoint(folder(), config.dump(), tensors);
}

Checkpoint::Checkpoint(const json& config, const Tensors& tensors,
                       const std::function<std::string(const StoredTensor&)>& shard_of, const json& more) {
  write_file(dir_ / "config.json", config.dump());
  std::map<std::string, Tensors> shards;
  json weight_map = json::object();
  for (const StoredTensor& tensor : tensors) {
    shards[shard_of(tensor)].push_back(tensor);
    weight_map[tensor.name] = shard_of(tensor);
  }
  for (const auto& [file, held] : shards) write_file(dir_ / file, safetensors_bytes(held));
  weight_map.update(more);
  write_file(dir_ / "model.safetensors.index.json",
             json{{"metadata", json::object()}, {"weight_map", weight_map}}.dump());
}

Error Checkpoint::refused(bool strict) const {
  Error error = error_of([&] { (void)load(strict); });
  EXPECT_EQ(error.kind(), ErrorKind::request);
  EXPECT_THAT(error.message(), ::testing::StartsWith(folder()));
  return error;
}

void expect_same_weights(const Model& a, const Model& b) {
  const Tensors of_a = tensors_of(a, DType::f64), of_b = tensors_of(b, DType::f64);
  ASSERT_EQ(of_a.size(), of_b.size());
  for (std::size_t i = 0; i < of_a.size(); ++i) {
    ASSERT_EQ(of_a[i].name, of_b[i].name);
    EXPECT_EQ(of_a[i].values, of_b[i].values) << of_a[i].name;
  }
  EXPECT_EQ(a.weights->get("lm_head.weight").widened(), b.weights->get("lm_head.weight").widened());
}

}  // namespace mlbench::test
