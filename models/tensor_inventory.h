// Which tensors a model has: names as in its Hugging Face checkpoint, shapes, and what each is for.
#pragma once

#include <string>
#include <vector>

#include "models/config.h"

namespace mlbench {

enum class TensorRole {
  token_embedding,     // [V, h]
  position_embedding,  // [positions, h]
  norm,                // norms over h, or over d for Phi's q_layernorm and k_layernorm
  q_proj,              // [Hq*d, h]
  k_proj,              // [Hkv*d, h]
  v_proj,              // [Hkv*d, h]
  qkv_proj,            // GPT BigCode's c_attn
  attn_out,            // [h, Hq*d]
  mlp_gate,            // [I, h]
  mlp_up,              // [I, h]
  mlp_down,            // [h, I]
  lm_head,             // [V, h]
};

struct TensorSpec {
  std::string name;
  Shape shape;  // [out, in] for a weight, [out] for a bias or a norm
  TensorRole role;
  bool bias = false;
};

// Tensors outside the layers; "lm_head.weight" only where the output layer is not tied.
[[nodiscard]] std::vector<TensorSpec> global_tensors(const ModelConfig& config);
// Tensors of layer `layer`, 0 <= layer < L.
[[nodiscard]] std::vector<TensorSpec> layer_tensors(const ModelConfig& config, Index layer);

// The names of the embedding and of the output layer's weight.
[[nodiscard]] std::string embedding_name(const ModelConfig& config);
inline constexpr const char* kLmHeadName = "lm_head.weight";

// Numbers in all tensors, a tied matrix counted once. Throws config.value when they do not fit into 63 bits.
[[nodiscard]] Index parameter_count(const ModelConfig& config);

// Numbers kept in the cache per token over all layers: 2 * L * Hkv * d.
[[nodiscard]] Index kv_values_per_token(const ModelConfig& config);

}  // namespace mlbench
