#include "backends/gpu/weights.h"

#include <string>

#include "backends/gpu/upload.h"
#include "backends/stack/weights.h"
#include "models/tensor_inventory.h"

namespace mlbench::gpu {
namespace {

// Tensors of the inventory, gathered by where they belong, and sent.
struct Gathered {
  std::vector<WeightView> weights, biases;

  void put(const TensorSpec& spec, const Weights& from) {
    (spec.bias ? biases : weights).push_back(from.get(spec.name));
  }
};

DeviceNorm sent_norm(const Gathered& parts, Upload& upload) {
  DeviceNorm out;
  if (!parts.weights.empty()) out.weight = upload.vector(parts.weights, "a norm's weight");
  if (!parts.biases.empty()) out.bias = upload.vector(parts.biases, "a norm's bias");
  return out;
}

// `role`: of any of the products that are made in one.
DeviceLinear sent_linear(const Gathered& parts, TensorRole role, Index shards, Upload& upload) {
  DeviceLinear out;
  if (parts.weights.empty()) return out;
  out.in = parts.weights.front().cols;
  for (const WeightView& part : parts.weights) out.out += part.rows;
  out.weight = upload.matrix(parts.weights, "weights");
  if (!parts.biases.empty()) out.bias = upload.biases(parts.biases, role, shards);
  return out;
}

struct GatheredLayer {
  Gathered attn_norm, mlp_norm, q_norm, k_norm, qkv, attn_out, gate, up, down;

  Gathered& norm(const std::string& name) {
    switch (stack::layer_norm_of(name)) {
      case stack::LayerNorm::query: return q_norm;
      case stack::LayerNorm::key: return k_norm;
      case stack::LayerNorm::mlp: return mlp_norm;
      case stack::LayerNorm::attention: break;
    }
    return attn_norm;
  }
  Gathered* place(const TensorSpec& spec) {
    switch (spec.role) {
      case TensorRole::norm: return &norm(spec.name);
      case TensorRole::q_proj:
      case TensorRole::k_proj:
      case TensorRole::v_proj:
      case TensorRole::qkv_proj: return &qkv;
      case TensorRole::attn_out: return &attn_out;
      case TensorRole::mlp_gate: return &gate;
      case TensorRole::mlp_up: return &up;
      case TensorRole::mlp_down: return &down;
      case TensorRole::token_embedding:
      case TensorRole::position_embedding:
      case TensorRole::lm_head: return nullptr;  // no layer has one
    }
    return nullptr;
  }
};

// The inventory has q, k, v in this order; a gate stands before what it multiplies.
DeviceLayer sent_layer(const Model& model, Index index, Index shards, Upload& upload) {
  GatheredLayer parts;
  for (const TensorSpec& spec : layer_tensors(model.config, index)) {
    if (Gathered* place = parts.place(spec)) place->put(spec, *model.weights);
  }
  for (auto member : {&Gathered::weights, &Gathered::biases}) {
    auto& up = parts.up.*member;
    auto& gate = parts.gate.*member;
    up.insert(up.begin(), gate.begin(), gate.end());
  }
  DeviceLayer out;
  out.attn_norm = sent_norm(parts.attn_norm, upload);
  out.qkv = sent_linear(parts.qkv, TensorRole::qkv_proj, shards, upload);
  out.q_norm = sent_norm(parts.q_norm, upload);
  out.k_norm = sent_norm(parts.k_norm, upload);
  out.attn_out = sent_linear(parts.attn_out, TensorRole::attn_out, shards, upload);
  out.mlp_norm = sent_norm(parts.mlp_norm, upload);
  out.up = sent_linear(parts.up, TensorRole::mlp_up, shards, upload);
  out.down = sent_linear(parts.down, TensorRole::mlp_down, shards, upload);
  return out;
}

}  // namespace

DeviceWeights::DeviceWeights(Runtime& runtime, Stream& stream, const Model& model, DType stored, Index shards) {
  Upload upload(runtime, stream, stored);
  Gathered final, head;
  for (const TensorSpec& spec : global_tensors(model.config)) {
    const WeightView& view = model.weights->get(spec.name);
    switch (spec.role) {
      case TensorRole::token_embedding: tokens = upload.matrix({&view, 1}, "the token embedding"); break;
      case TensorRole::position_embedding:
        positions = upload.matrix({&view, 1}, "the position embedding");
        num_positions = view.rows;
        break;
      case TensorRole::norm: final.put(spec, *model.weights); break;
      case TensorRole::lm_head: head.put(spec, *model.weights); break;
      default: break;  // stands in layers
    }
  }
  for (Index layer = 0; layer < model.config.num_layers; ++layer)
    layers.push_back(sent_layer(model, layer, shards, upload));
  final_norm = sent_norm(final, upload);
  lm_head = sent_linear(head, TensorRole::lm_head, shards, upload);
  lm_head.in = model.config.hidden_size;
  lm_head.out = model.config.vocab_size;
  upload.finish();
}

std::uint64_t weights_bytes(const ModelConfig& config, DType stored) {
  return static_cast<std::uint64_t>(parameter_count(config)) * size_bytes(stored);
}

}  // namespace mlbench::gpu
