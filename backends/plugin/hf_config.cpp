#include "backends/plugin/hf_config.h"

#include <cmath>
#include <limits>

namespace mlbench::plugin {
namespace {

using nlohmann::ordered_json;

const char* hf_name(Activation activation) {
  switch (activation) {
    case Activation::silu: return "silu";
    case Activation::gelu_erf: return "gelu";
    case Activation::gelu_tanh: return "gelu_new";
    case Activation::gelu_fast: return "gelu_fast";
    case Activation::relu: return "relu";
  }
  return "?";
}

void put_given(ordered_json& out, const char* field, double value) {
  if (value != 0.0) out[field] = value;
}

ordered_json rope_scaling(const RopeConfig& rope) {
  if (rope.kind == RopeKind::none || rope.kind == RopeKind::plain) return nullptr;
  ordered_json out = {{"rope_type", name(rope.kind)}};
  if (rope.factor >= 1.0) out["factor"] = rope.factor;  // longrope's may be less, and then follows from the lengths
  if (rope.kind == RopeKind::linear || rope.kind == RopeKind::dynamic) return out;
  out["original_max_position_embeddings"] = rope.original_max_positions;
  if (rope.kind == RopeKind::llama3) {
    out["low_freq_factor"] = rope.low_freq_factor;
    out["high_freq_factor"] = rope.high_freq_factor;
    return out;
  }
  if (rope.attention_factor) out["attention_factor"] = *rope.attention_factor;
  if (rope.kind == RopeKind::longrope) {
    out["short_factor"] = rope.short_factor;
    out["long_factor"] = rope.long_factor;
    return out;
  }
  out["beta_fast"] = rope.beta_fast;
  out["beta_slow"] = rope.beta_slow;
  out["truncate"] = rope.truncate;
  put_given(out, "mscale", rope.mscale);
  put_given(out, "mscale_all_dim", rope.mscale_all_dim);
  return out;
}

// The share of a head that is rotated. Readers cut share * d to a whole number.
double partial_rotary_factor(const ModelConfig& c) {
  const auto d = static_cast<double>(c.head_dim);
  const double share = static_cast<double>(c.rope.rotary_dim) / d;
  const bool falls_short = static_cast<Index>(share * d) < c.rope.rotary_dim;
  return falls_short ? std::nextafter(share, std::numeric_limits<double>::infinity()) : share;
}

void put_sizes(const ModelConfig& c, ordered_json& out) {
  out["hidden_size"] = c.hidden_size;
  out["intermediate_size"] = c.intermediate_size;
  out["num_hidden_layers"] = c.num_layers;
  out["num_attention_heads"] = c.num_heads;
  out["num_key_value_heads"] = c.num_kv_heads;
  out["head_dim"] = c.head_dim;
  out["hidden_act"] = hf_name(c.activation);
  out["max_position_embeddings"] = c.rope.max_positions;
  out["rope_theta"] = c.rope.theta;
  out["rope_scaling"] = rope_scaling(c.rope);
}

void put_bigcode_sizes(const ModelConfig& c, ordered_json& out) {
  out["n_embd"] = c.hidden_size;
  out["n_inner"] = c.intermediate_size;
  out["n_layer"] = c.num_layers;
  out["n_head"] = c.num_heads;
  out["n_positions"] = c.num_positions;
  out["multi_query"] = c.multi_query;
  out["activation_function"] = hf_name(c.activation);
  out["layer_norm_epsilon"] = c.norm_eps;
  out["scale_attn_weights"] = c.scale_attn_weights;
}

void put_own_fields(const ModelConfig& c, ordered_json& out) {
  switch (c.architecture) {
    case Architecture::llama: out["mlp_bias"] = c.mlp_bias; [[fallthrough]];
    case Architecture::orion: out["rms_norm_eps"] = c.norm_eps; break;
    case Architecture::olmo: out["clip_qkv"] = c.clip_qkv ? ordered_json(*c.clip_qkv) : ordered_json(nullptr); break;
    case Architecture::phi:
      out["layer_norm_eps"] = c.norm_eps;
      out["qk_layernorm"] = c.qk_layernorm;
      out["partial_rotary_factor"] = partial_rotary_factor(c);
      return;
    case Architecture::gpt_bigcode: return;
  }
  out["attention_bias"] = c.attention_bias;
}

const char* model_type(Architecture architecture) {
  switch (architecture) {
    case Architecture::llama: return "llama";
    case Architecture::orion: return "orion";
    case Architecture::olmo: return "olmo";
    case Architecture::phi: return "phi";
    case Architecture::gpt_bigcode: return "gpt_bigcode";
  }
  return "?";
}

}  // namespace

ordered_json hf_config_json(const ModelConfig& c) {
  ordered_json out = {{"architectures", {hf_class_name(c.architecture)}},
                      {"model_type", model_type(c.architecture)},
                      {"vocab_size", c.vocab_size},
                      {"tie_word_embeddings", c.tie_word_embeddings},
                      {"torch_dtype", c.dtype}};
  c.architecture == Architecture::gpt_bigcode ? put_bigcode_sizes(c, out) : put_sizes(c, out);
  put_own_fields(c, out);
  out["context_window_size"] = c.context_window_size;
  out["prefill_chunk_size"] = c.prefill_chunk_size;
  out["tensor_parallel_shards"] = c.tensor_parallel_shards;
  out["pipeline_parallel_stages"] = c.pipeline_parallel_stages;
  out["max_batch_size"] = c.max_batch_size;
  out["disaggregation"] = c.disaggregation;
  return out;
}

}  // namespace mlbench::plugin
