#include "backends/cpu/model_weights.h"

#include "backends/cpu/convert.h"
#include "backends/stack/weights.h"
#include "models/tensor_inventory.h"

namespace mlbench::cpu {
namespace {

// Puts tensors of the inventory where they belong.
class Binder {
 public:
  Binder(const Weights& weights, DType stored, Index shards, Products& products)
      : weights_(weights), stored_(stored), shards_(shards), products_(products) {}

  void put(const TensorSpec& spec, Linear& layer) const {
    if (spec.bias) {
      layer.bias = stack::bias_of(weights_.get(spec.name), spec.role, stored_, shards_);
    } else {
      layer.weight = products_.prepare(weights_.get(spec.name));
    }
  }
  void put(const TensorSpec& spec, Norm& norm) const { (spec.bias ? norm.bias : norm.weight) = vector(spec.name); }
  [[nodiscard]] Table table(const std::string& name) const { return {weights_.get(name), stored_}; }

 private:
  [[nodiscard]] std::vector<float> vector(const std::string& name) const {
    const WeightView& view = weights_.get(name);
    std::vector<float> out(static_cast<std::size_t>(view.cols));
    stack::rounded_row(view, 0, stored_, out);
    return out;
  }

  const Weights& weights_;
  DType stored_;
  Index shards_;
  Products& products_;
};

Norm& norm_of(LayerWeights& layer, const std::string& name) {
  switch (stack::layer_norm_of(name)) {
    case stack::LayerNorm::query: return layer.q_norm;
    case stack::LayerNorm::key: return layer.k_norm;
    case stack::LayerNorm::mlp: return layer.mlp_norm;
    case stack::LayerNorm::attention: break;
  }
  return layer.attn_norm;
}

void bind_in_layer(const TensorSpec& spec, const Binder& bind, LayerWeights& layer) {
  switch (spec.role) {
    case TensorRole::norm: return bind.put(spec, norm_of(layer, spec.name));
    case TensorRole::q_proj: return bind.put(spec, layer.q);
    case TensorRole::k_proj: return bind.put(spec, layer.k);
    case TensorRole::v_proj: return bind.put(spec, layer.v);
    case TensorRole::qkv_proj: return bind.put(spec, layer.qkv);
    case TensorRole::attn_out: return bind.put(spec, layer.attn_out);
    case TensorRole::mlp_gate: return bind.put(spec, layer.gate);
    case TensorRole::mlp_up: return bind.put(spec, layer.up);
    case TensorRole::mlp_down: return bind.put(spec, layer.down);
    case TensorRole::token_embedding:
    case TensorRole::position_embedding:
    case TensorRole::lm_head: return;  // no layer has one
  }
}

void bind_global(const TensorSpec& spec, const Binder& bind, ModelWeights& model) {
  switch (spec.role) {
    case TensorRole::token_embedding: model.tokens = bind.table(spec.name); return;
    case TensorRole::position_embedding: model.positions = bind.table(spec.name); return;
    case TensorRole::norm: return bind.put(spec, model.final_norm);
    case TensorRole::lm_head: return bind.put(spec, model.lm_head);
    default: return;  // stands in layers
  }
}

}  // namespace

void Table::read(Index row, std::span<float> out) const {
  if (rows_.dtype != stored_) return stack::rounded_row(rows_, row, stored_, out);
  widen(stored_, rows_.slice(row, 1).data, out.data(), rows_.cols);
}

ModelWeights::ModelWeights(const Model& model, DType stored, Index shards, Products& products) {
  const Binder bind(*model.weights, stored, shards, products);
  for (const TensorSpec& spec : global_tensors(model.config)) bind_global(spec, bind, *this);
  // Tied, the output layer's weight is none of the inventory's.
  if (model.config.tie_word_embeddings) lm_head.weight = products.prepare(model.weights->get(kLmHeadName));
  for (Index layer = 0; layer < model.config.num_layers; ++layer) {
    LayerWeights& weights = layers.emplace_back();
    for (const TensorSpec& spec : layer_tensors(model.config, layer)) bind_in_layer(spec, bind, weights);
  }
}

}  // namespace mlbench::cpu
