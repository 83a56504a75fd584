#include "harness/selftest/subject_weights.h"

#include <algorithm>
#include <utility>

#include "models/tensor_inventory.h"

namespace mlbench::selftest {
namespace {

std::vector<float> values_of(const WeightView& view, DType type) {
  std::vector<float> out;
  for (const double value : view.widened()) out.push_back(rounded(type, static_cast<float>(value)));
  return out;
}

void put(const TensorSpec& spec, const WeightView& view, DType type, Linear& layer) {
  if (spec.bias) {
    layer.bias = values_of(view, type);
    return;
  }
  layer.out = view.rows;
  layer.in = view.cols;
  layer.weight = values_of(view, type);
}

void put(const TensorSpec& spec, const WeightView& view, DType type, Norm& norm) {
  (spec.bias ? norm.bias : norm.weight) = values_of(view, type);
}

Norm& norm_of(LayerWeights& layer, const std::string& name) {
  const auto named = [&](const char* module) { return name.find(module) != std::string::npos; };
  if (named(".q_layernorm.")) return layer.q_norm;
  if (named(".k_layernorm.")) return layer.k_norm;
  return named(".post_attention_layernorm.") || named(".ln_2.") ? layer.mlp_norm : layer.attn_norm;
}

void put_in_layer(const TensorSpec& spec, const WeightView& view, DType type, LayerWeights& layer) {
  switch (spec.role) {
    case TensorRole::norm: return put(spec, view, type, norm_of(layer, spec.name));
    case TensorRole::q_proj: return put(spec, view, type, layer.q);
    case TensorRole::k_proj: return put(spec, view, type, layer.k);
    case TensorRole::v_proj: return put(spec, view, type, layer.v);
    case TensorRole::qkv_proj: return put(spec, view, type, layer.qkv);
    case TensorRole::attn_out: return put(spec, view, type, layer.attn_out);
    case TensorRole::mlp_gate: return put(spec, view, type, layer.gate);
    case TensorRole::mlp_up: return put(spec, view, type, layer.up);
    case TensorRole::mlp_down: return put(spec, view, type, layer.down);
    default: return;  // stands outside the layers
  }
}

void exchange_rows(Linear& layer, Index row) {
  const auto first = layer.weight.begin() + row * layer.in;
  std::swap_ranges(first, first + layer.in, first + layer.in);
}

// The same numbers, read column by column.
void transpose(Linear& layer) {
  std::vector<float> out(layer.weight.size());
  for (Index o = 0; o < layer.out; ++o) {
    for (Index i = 0; i < layer.in; ++i) {
      out[static_cast<std::size_t>(o * layer.in + i)] = layer.weight[static_cast<std::size_t>(i * layer.out + o)];
    }
  }
  layer.weight = std::move(out);
}

}  // namespace

SubjectWeights::SubjectWeights(const Model& model, DType type, const Planted& planted) {
  const Weights& weights = *model.weights;
  const ModelConfig& config = model.config;
  for (const TensorSpec& spec : global_tensors(config)) {
    const WeightView view = weights.get(spec.name);
    switch (spec.role) {
      case TensorRole::token_embedding: tokens = Rows({view.rows, view.cols}, values_of(view, type)); break;
      case TensorRole::position_embedding: positions = Rows({view.rows, view.cols}, values_of(view, type)); break;
      case TensorRole::norm: put(spec, view, type, final_norm); break;
      case TensorRole::lm_head: put(spec, view, type, lm_head); break;
      default: break;
    }
  }
  if (config.tie_word_embeddings)
    put({.name = "", .shape = {}, .role = TensorRole::lm_head}, weights.get(kLmHeadName), type, lm_head);
  for (Index layer = 0; layer < config.num_layers; ++layer) {
    LayerWeights& own = layers.emplace_back();
    for (const TensorSpec& spec : layer_tensors(config, layer)) put_in_layer(spec, weights.get(spec.name), type, own);
  }
  exchange(config, planted);
  change_biases(planted);
}

void SubjectWeights::exchange(const ModelConfig& config, const Planted& planted) {
  if (planted.at(Mistake::weights_rows_exchanged)) exchange_rows(layers[1].up, 7);
  if (planted.at(Mistake::weights_layers_exchanged)) std::swap(layers[0], layers[1]);
  for (LayerWeights& layer : layers) {
    if (layer.attn_out.in == layer.attn_out.out && planted.at(Mistake::weights_transposed)) transpose(layer.attn_out);
    if (!layer.k.weight.empty() && planted.at(Mistake::weights_k_v_exchanged)) std::swap(layer.k, layer.v);
    if (config.gated_mlp() && planted.at(Mistake::gate_up_exchanged)) std::swap(layer.gate, layer.up);
    if (!layer.mlp_norm.weight.empty() && planted.at(Mistake::norm_weights_of_other)) layer.mlp_norm = layer.attn_norm;
  }
  if (config.tie_word_embeddings && planted.at(Mistake::head_tied_transposed)) transpose(lm_head);
  if (!config.tie_word_embeddings && planted.at(Mistake::head_untied_uses_embedding)) {
    lm_head.weight.assign(tokens.values().begin(), tokens.values().end());
  }
}

void SubjectWeights::change_biases(const Planted& planted) {
  for (LayerWeights& layer : layers) {
    if (!layer.q.bias.empty() && planted.at(Mistake::bias_dropped)) layer.q.bias.clear();
    if (!layer.up.bias.empty() && !layer.gate.bias.empty() && planted.at(Mistake::mlp_bias_dropped)) {
      layer.gate.bias.clear();
    }
    if (!layer.attn_out.bias.empty() && planted.at(Mistake::bias_doubled)) {
      for (float& value : layer.attn_out.bias) value *= 2.0F;
    }
  }
  if (!lm_head.bias.empty() && planted.at(Mistake::head_bias_dropped)) lm_head.bias.clear();
}

}  // namespace mlbench::selftest
