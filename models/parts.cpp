#include "models/parts.h"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

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
    default: return is_summed(role) ? Rule::columns : Rule::everybodys;
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
    if (spec.bias) return whole;
    const Index count = whole.cols / shards;
    return columns_of(whole, shard * count, count, weights);
  }
  if (spec.bias) return neighbours(whole, shard * (whole.cols / shards), whole.cols / shards);
  return whole.slice(shard * (whole.rows / shards), whole.rows / shards);
}

}  // namespace

LayerRange layers_of_stage(Index layers, Index stages, Index stage) {
  const Index each = (layers + stages - 1) / stages, first = stage * each;
  return {.first = first, .count = std::min(each, layers - first)};
}

Joining joining_of(Tap tap) {
  switch (tap) {
    case Tap::qkv_proj:
    case Tap::q_proj:
    case Tap::k_proj:
    case Tap::v_proj:
    case Tap::context:
    case Tap::gate:
    case Tap::up:
    case Tap::act:
    case Tap::mlp_hidden: return Joining::columns;
    case Tap::q_norm:
    case Tap::k_norm:
    case Tap::q:
    case Tap::k:
    case Tap::v:
    case Tap::probs: return Joining::heads;
    default: return Joining::same;
  }
}

ModelConfig config_of_part(const ModelConfig& config, const Split& split, Index stage) {
  ModelConfig part = config;
  part.num_layers = layers_of_stage(config.num_layers, split.pipeline_parallel, stage).count;
  part.num_heads /= split.tensor_parallel;
  part.num_kv_heads /= split.tensor_parallel;
  part.intermediate_size /= split.tensor_parallel;
  part.tensor_parallel_shards = part.pipeline_parallel_stages = 1;
  return part;
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
  part.config = config_of_part(model.config, split, stage);
  part.weights = std::move(weights);
  part.origin +=
      fmt::format(", shard {} of {}, stage {} of {}", shard, split.tensor_parallel, stage, split.pipeline_parallel);
  return part;
}

}  // namespace mlbench
