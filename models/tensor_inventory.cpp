#include "models/tensor_inventory.h"

#include <limits>

#include <fmt/format.h>

#include "core/error.h"

namespace mlbench {
namespace {

class Inventory {
 public:
  explicit Inventory(std::string prefix) : prefix_(std::move(prefix)) {}

  void linear(const std::string& name, Index out, Index in, TensorRole role, bool with_bias) {
    specs_.push_back({prefix_ + name + ".weight", {out, in}, role, false});
    if (with_bias) bias(name, out, role);
  }
  void norm(const std::string& name, Index width, bool with_bias) {
    specs_.push_back({prefix_ + name + ".weight", {width}, TensorRole::norm, false});
    if (with_bias) bias(name, width, TensorRole::norm);
  }
  void bias(const std::string& name, Index width, TensorRole role) {
    specs_.push_back({prefix_ + name + ".bias", {width}, role, true});
  }
  [[nodiscard]] std::vector<TensorSpec> take() { return std::move(specs_); }

 private:
  std::string prefix_;
  std::vector<TensorSpec> specs_;
};

bool has_norm_tensors(const ModelConfig& c) { return c.architecture != Architecture::olmo; }
bool has_norm_bias(const ModelConfig& c) { return c.architecture != Architecture::llama; }

std::vector<TensorSpec> llama_like_layer(const ModelConfig& c, const std::string& prefix) {
  Inventory layer(prefix);
  if (has_norm_tensors(c)) layer.norm("input_layernorm", c.hidden_size, has_norm_bias(c));
  layer.linear("self_attn.q_proj", c.q_width(), c.hidden_size, TensorRole::q_proj, c.attention_bias);
  layer.linear("self_attn.k_proj", c.kv_width(), c.hidden_size, TensorRole::k_proj, c.attention_bias);
  layer.linear("self_attn.v_proj", c.kv_width(), c.hidden_size, TensorRole::v_proj, c.attention_bias);
  layer.linear("self_attn.o_proj", c.hidden_size, c.q_width(), TensorRole::attn_out, c.attention_bias);
  if (has_norm_tensors(c)) layer.norm("post_attention_layernorm", c.hidden_size, has_norm_bias(c));
  layer.linear("mlp.gate_proj", c.intermediate_size, c.hidden_size, TensorRole::mlp_gate, c.mlp_bias);
  layer.linear("mlp.up_proj", c.intermediate_size, c.hidden_size, TensorRole::mlp_up, c.mlp_bias);
  layer.linear("mlp.down_proj", c.hidden_size, c.intermediate_size, TensorRole::mlp_down, c.mlp_bias);
  return layer.take();
}

std::vector<TensorSpec> phi_layer(const ModelConfig& c, const std::string& prefix) {
  Inventory layer(prefix);
  layer.norm("input_layernorm", c.hidden_size, true);
  layer.linear("self_attn.q_proj", c.q_width(), c.hidden_size, TensorRole::q_proj, true);
  layer.linear("self_attn.k_proj", c.kv_width(), c.hidden_size, TensorRole::k_proj, true);
  layer.linear("self_attn.v_proj", c.kv_width(), c.hidden_size, TensorRole::v_proj, true);
  if (c.qk_layernorm) {
    layer.norm("self_attn.q_layernorm", c.head_dim, true);
    layer.norm("self_attn.k_layernorm", c.head_dim, true);
  }
  layer.linear("self_attn.dense", c.hidden_size, c.q_width(), TensorRole::attn_out, true);
  layer.linear("mlp.fc1", c.intermediate_size, c.hidden_size, TensorRole::mlp_up, true);
  layer.linear("mlp.fc2", c.hidden_size, c.intermediate_size, TensorRole::mlp_down, true);
  return layer.take();
}

std::vector<TensorSpec> gpt_bigcode_layer(const ModelConfig& c, const std::string& prefix) {
  Inventory layer(prefix);
  layer.norm("ln_1", c.hidden_size, true);
  layer.linear("attn.c_attn", c.q_width() + 2 * c.kv_width(), c.hidden_size, TensorRole::qkv_proj, true);
  layer.linear("attn.c_proj", c.hidden_size, c.q_width(), TensorRole::attn_out, true);
  layer.norm("ln_2", c.hidden_size, true);
  layer.linear("mlp.c_fc", c.intermediate_size, c.hidden_size, TensorRole::mlp_up, true);
  layer.linear("mlp.c_proj", c.hidden_size, c.intermediate_size, TensorRole::mlp_down, true);
  return layer.take();
}

Error too_large() { return request_error("config.value", "the sizes given make more parameters than 2^63"); }

Index add_checked(Index sum, Index term) {
  Index out = 0;
  if (__builtin_add_overflow(sum, term, &out)) throw too_large();
  return out;
}

Index count(const std::vector<TensorSpec>& specs) {
  Index sum = 0;
  for (const TensorSpec& spec : specs) {
    Index size = 1;  // configurations bound each size below 2^31, but the fused projection has three times as many rows
    for (const Index dim : spec.shape) {
      if (__builtin_mul_overflow(size, dim, &size)) throw too_large();
    }
    sum = add_checked(sum, size);
  }
  return sum;
}

}  // namespace

std::string embedding_name(const ModelConfig& config) {
  return config.architecture == Architecture::gpt_bigcode ? "transformer.wte.weight" : "model.embed_tokens.weight";
}

std::vector<TensorSpec> global_tensors(const ModelConfig& c) {
  Inventory all("");
  const bool bigcode = c.architecture == Architecture::gpt_bigcode;
  const bool phi = c.architecture == Architecture::phi;
  all.linear(bigcode ? "transformer.wte" : "model.embed_tokens", c.vocab_size, c.hidden_size,
             TensorRole::token_embedding, false);
  if (bigcode) all.linear("transformer.wpe", c.num_positions, c.hidden_size, TensorRole::position_embedding, false);
  if (has_norm_tensors(c)) {
    const char* final_norm = bigcode ? "transformer.ln_f" : phi ? "model.final_layernorm" : "model.norm";
    all.norm(final_norm, c.hidden_size, has_norm_bias(c));
  }
  if (!c.tie_word_embeddings) all.linear("lm_head", c.vocab_size, c.hidden_size, TensorRole::lm_head, false);
  if (phi) all.bias("lm_head", c.vocab_size, TensorRole::lm_head);
  return all.take();
}

std::vector<TensorSpec> layer_tensors(const ModelConfig& c, Index layer) {
  switch (c.architecture) {
    case Architecture::phi: return phi_layer(c, fmt::format("model.layers.{}.", layer));
    case Architecture::gpt_bigcode: return gpt_bigcode_layer(c, fmt::format("transformer.h.{}.", layer));
    default: return llama_like_layer(c, fmt::format("model.layers.{}.", layer));
  }
}

Index parameter_count(const ModelConfig& config) {
  Index layers = 0;
  if (__builtin_mul_overflow(count(layer_tensors(config, 0)), config.num_layers, &layers)) {
    layers = std::numeric_limits<Index>::max();
  }
  return add_checked(count(global_tensors(config)), layers);
}

Index kv_values_per_token(const ModelConfig& config) {
  Index values = 0;
  if (__builtin_mul_overflow(2 * config.num_layers, config.kv_width(), &values)) {
    throw request_error("config.value", "the sizes given make more cache values per token than 2^63");
  }
  return values;
}

}  // namespace mlbench
