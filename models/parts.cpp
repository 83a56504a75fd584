#include "models/parts.h"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "models/tensor_inventory.h"

namespace mlbench {
namespace {

enum class Rule { everybodys, rows, columns };

Rule rule_of(TensorRole role) {
  switch (role) {
    case TensorRole::q_proj:
    case TensorRole::k_proj:
    case TensorRole::v_proj:
    case TensorRole::mlp_gate:
    case TensorRole::mlp_up: return Rule::rows;
    case TensorRole::attn_out:
    case TensorRole::mlp_down: return Rule::columns;
    default: return Rule::everybodys;
  }
}

// Memory that the part owns.
std::byte* allocate(Weights& weights, std::size_t bytes) {
  auto owner = std::make_shared<std::vector<std::byte>>(bytes);
  weights.keep(owner);
  return owner->data();
}

WeightView columns_of(const WeightView& whole, Index first, Index count, Weights& weights) {
  const std::size_t width = size_bytes(whole.dtype);
  const std::size_t bytes = static_cast<std::size_t>(count) * width;
  std::byte* data = allocate(weights, static_cast<std::size_t>(whole.rows) * bytes);
  for (Index row = 0; row < whole.rows; ++row) {
    std::memcpy(data + static_cast<std::size_t>(row) * bytes,
                whole.data + static_cast<std::size_t>(row * whole.cols + first) * width, bytes);
  }
  return {.dtype = whole.dtype, .rows = whole.rows, .cols = count, .data = data};
}

// In float64: of three shards a third is of no storage type.
WeightView divided(const WeightView& whole, Index by, Weights& weights) {
  std::vector<double> values = whole.widened();
  for (double& value : values) value /= static_cast<double>(by);
  std::byte* data = allocate(weights, values.size() * sizeof(double));
  std::memcpy(data, values.data(), values.size() * sizeof(double));
  return {.dtype = DType::f64, .rows = whole.rows, .cols = whole.cols, .data = data};
}

// A bias is [1, n]: what is split by rows of its matrix are its columns, without a copy as they are neighbours.
WeightView neighbours(const WeightView& bias, Index first, Index count) {
  return {.dtype = bias.dtype,
          .rows = 1,
          .cols = count,
          .data = bias.data + static_cast<std::size_t>(first) * size_bytes(bias.dtype)};
}

WeightView part_of_tensor(const WeightView& whole, const TensorSpec& spec, Index shards, Index shard,
                          Weights& weights) {
  const Rule rule = rule_of(spec.role);
  if (shards == 1 || rule == Rule::everybodys) return whole;
  if (rule == Rule::columns) {
    if (spec.bias) return divided(whole, shards, weights);
    const Index count = whole.cols / shards;
    return columns_of(whole, shard * count, count, weights);
  }
  if (spec.bias) return neighbours(whole, shard * (whole.cols / shards), whole.cols / shards);
  return whole.slice(shard * (whole.rows / shards), whole.rows / shards);
}

ModelConfig config_of_part(ModelConfig config, const Split& split, Index layers) {
  config.num_layers = layers;
  config.num_heads /= split.tensor_parallel;
  config.num_kv_heads /= split.tensor_parallel;
  config.intermediate_size /= split.tensor_parallel;
  config.tensor_parallel_shards = config.pipeline_parallel_stages = 1;
  return config;
}

}  // namespace

LayerRange layers_of_stage(Index layers, Index stages, Index stage) {
  const Index each = (layers + stages - 1) / stages, first = stage * each;
  return {.first = first, .count = std::min(each, layers - first)};
}

Model part_of(const Model& model, const Split& split, Index shard, Index stage) {
  const LayerRange own = layers_of_stage(model.config.num_layers, split.pipeline_parallel, stage);
  auto weights = std::make_shared<Weights>();
  weights->keep(model.weights);
  for (const TensorSpec& spec : global_tensors(model.config)) weights->put(spec.name, model.weights->get(spec.name));
  weights->put(kLmHeadName, model.weights->get(kLmHeadName));
  for (Index layer = 0; layer < own.count; ++layer) {
    const std::vector<TensorSpec> here = layer_tensors(model.config, layer);
    const std::vector<TensorSpec> there = layer_tensors(model.config, own.first + layer);
    for (std::size_t i = 0; i < here.size(); ++i) {
      weights->put(here[i].name,
                   part_of_tensor(model.weights->get(there[i].name), there[i], split.tensor_parallel, shard, *weights));
    }
  }
  Model part = model;
  part.config = config_of_part(model.config, split, own.count);
  part.weights = std::move(weights);
  part.origin +=
      fmt::format(", shard {} of {}, stage {} of {}", shard, split.tensor_parallel, stage, split.pipeline_parallel);
  return part;
}

}  // namespace mlbench
