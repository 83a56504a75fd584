#include "models/config_json.h"

namespace mlbench {
namespace {

using nlohmann::ordered_json;

ordered_json optional_number(const std::optional<double>& value) {
  return value ? ordered_json(*value) : ordered_json(nullptr);
}

ordered_json rope_json(const RopeConfig& rope) {
  ordered_json out = {{"kind", name(rope.kind)}};
  if (rope.kind == RopeKind::none) return out;
  out["theta"] = rope.theta;
  out["rotary_dim"] = rope.rotary_dim;
  out["max_positions"] = rope.max_positions;
  if (rope.kind == RopeKind::plain) return out;
  out["factor"] = rope.factor;
  if (rope.kind == RopeKind::llama3 || rope.kind == RopeKind::yarn || rope.kind == RopeKind::longrope) {
    out["original_max_positions"] = rope.original_max_positions;
  }
  if (rope.kind == RopeKind::llama3) {
    out["low_freq_factor"] = rope.low_freq_factor;
    out["high_freq_factor"] = rope.high_freq_factor;
  }
  if (rope.kind == RopeKind::yarn) {
    out["beta_fast"] = rope.beta_fast;
    out["beta_slow"] = rope.beta_slow;
    out["truncate"] = rope.truncate;
    out["mscale"] = rope.mscale;
    out["mscale_all_dim"] = rope.mscale_all_dim;
  }
  if (rope.kind == RopeKind::yarn || rope.kind == RopeKind::longrope) {
    out["attention_factor"] = optional_number(rope.attention_factor);
  }
  if (rope.kind == RopeKind::longrope) {
    out["short_factor"] = rope.short_factor;
    out["long_factor"] = rope.long_factor;
  }
  return out;
}

}  // namespace

ordered_json config_json(const ModelConfig& c) {
  return {{"architecture", name(c.architecture)},
          {"hidden_size", c.hidden_size},
          {"intermediate_size", c.intermediate_size},
          {"num_layers", c.num_layers},
          {"num_heads", c.num_heads},
          {"num_kv_heads", c.num_kv_heads},
          {"head_dim", c.head_dim},
          {"vocab_size", c.vocab_size},
          {"norm_eps", c.norm_eps},
          {"activation", name(c.activation)},
          {"tie_word_embeddings", c.tie_word_embeddings},
          {"rope", rope_json(c.rope)},
          {"attention_bias", c.attention_bias},
          {"mlp_bias", c.mlp_bias},
          {"clip_qkv", optional_number(c.clip_qkv)},
          {"qk_layernorm", c.qk_layernorm},
          {"multi_query", c.multi_query},
          {"scale_attn_weights", c.scale_attn_weights},
          {"num_positions", c.num_positions},
          {"context_window_size", c.context_window_size},
          {"prefill_chunk_size", c.prefill_chunk_size},
          {"tensor_parallel_shards", c.tensor_parallel_shards},
          {"pipeline_parallel_stages", c.pipeline_parallel_stages},
          {"max_batch_size", c.max_batch_size},
          {"disaggregation", c.disaggregation}};
}

}  // namespace mlbench
