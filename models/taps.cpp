#include "models/taps.h"

#include <fmt/format.h>

namespace mlbench {
namespace {

class Specs {
 public:
  void rows(Tap tap, Index width, std::string_view letters, std::string_view meaning) {
    specs_.push_back({tap, TapLayout::rows, 0, width, fmt::format("[T, {}]", letters), std::string(meaning)});
  }
  void heads(Tap tap, Index heads, Index width, std::string_view letter, std::string_view meaning) {
    specs_.push_back({tap, TapLayout::heads, heads, width, fmt::format("[{}, T, d]", letter), std::string(meaning)});
  }
  void probs(Index heads) {
    specs_.push_back(
        {Tap::probs, TapLayout::probs, heads, 0, "[Hq, T, S]", "attention weights after softmax, 0 where not visible"});
  }
  [[nodiscard]] std::vector<TapSpec> take() { return std::move(specs_); }

 private:
  std::vector<TapSpec> specs_;
};

}  // namespace

std::string_view name(Tap tap) {
  switch (tap) {
    case Tap::embed_token: return "embed.token";
    case Tap::embed_position: return "embed.position";
    case Tap::embed: return "embed";
    case Tap::rope_cos: return "rope.cos";
    case Tap::rope_sin: return "rope.sin";
    case Tap::attn_norm: return "attn_norm";
    case Tap::qkv_proj: return "attn.qkv_proj";
    case Tap::q_proj: return "attn.q_proj";
    case Tap::k_proj: return "attn.k_proj";
    case Tap::v_proj: return "attn.v_proj";
    case Tap::q_norm: return "attn.q_norm";
    case Tap::k_norm: return "attn.k_norm";
    case Tap::q: return "attn.q";
    case Tap::k: return "attn.k";
    case Tap::v: return "attn.v";
    case Tap::probs: return "attn.probs";
    case Tap::context: return "attn.context";
    case Tap::attn_out: return "attn.out";
    case Tap::attn_residual: return "attn_residual";
    case Tap::mlp_norm: return "mlp_norm";
    case Tap::gate: return "mlp.gate";
    case Tap::up: return "mlp.up";
    case Tap::act: return "mlp.act";
    case Tap::mlp_hidden: return "mlp.hidden";
    case Tap::mlp_out: return "mlp.out";
    case Tap::layer_out: return "out";
    case Tap::final_norm: return "final_norm";
    case Tap::logits: return "logits";
    case Tap::attn_part: return "attn.out.part";
    case Tap::mlp_part: return "mlp.out.part";
    case Tap::block_part: return "block.part";
    case Tap::block_sum: return "block.sum";
    case Tap::stage_in: return "stage.in";
  }
  return "?";
}

bool per_layer(Tap tap) { return (tap >= Tap::attn_norm && tap <= Tap::layer_out) || tap >= Tap::attn_part; }

std::string to_string(TapId id) {
  return id.layer < 0 ? std::string(name(id.tap)) : fmt::format("layers.{}.{}", id.layer, name(id.tap));
}

std::vector<TapSpec> tap_specs(const ModelConfig& c) {
  const bool bigcode = c.architecture == Architecture::gpt_bigcode;
  const bool phi = c.architecture == Architecture::phi;
  Specs specs;
  if (bigcode) {
    specs.rows(Tap::embed_token, c.hidden_size, "h", "row of the token embedding");
    specs.rows(Tap::embed_position, c.hidden_size, "h", "row of the position embedding");
  }
  specs.rows(Tap::embed, c.hidden_size, "h", "input of layer 0");
  if (!bigcode) {
    specs.rows(Tap::rope_cos, c.rope.rotary_dim, "D", "cosines after scaling, halves repeated");
    specs.rows(Tap::rope_sin, c.rope.rotary_dim, "D", "sines after scaling, halves repeated");
  }
  specs.rows(Tap::attn_norm, c.hidden_size, "h", phi ? "the layer's only norm" : "norm before attention");
  if (bigcode) {
    specs.rows(Tap::qkv_proj, c.q_width() + 2 * c.kv_width(), "(Hq+2Hkv)d", "fused projection, as stored");
  } else {
    specs.rows(Tap::q_proj, c.q_width(), "Hq*d", "projection with bias, before clip, norm and rotation");
    specs.rows(Tap::k_proj, c.kv_width(), "Hkv*d", "projection with bias, before clip, norm and rotation");
    specs.rows(Tap::v_proj, c.kv_width(), "Hkv*d", "projection with bias, before clip");
  }
  if (c.qk_layernorm) {
    specs.heads(Tap::q_norm, c.num_heads, c.head_dim, "Hq", "query after its norm, before rotation");
    specs.heads(Tap::k_norm, c.num_kv_heads, c.head_dim, "Hkv", "key after its norm, before rotation");
  }
  specs.heads(Tap::q, c.num_heads, c.head_dim, "Hq", "query as it enters attention, before scaling");
  specs.heads(Tap::k, c.num_kv_heads, c.head_dim, "Hkv", "key as it enters attention");
  specs.heads(Tap::v, c.num_kv_heads, c.head_dim, "Hkv", "value as it enters attention");
  specs.probs(c.num_heads);
  specs.rows(Tap::context, c.q_width(), "Hq*d", "weighted values, heads side by side");
  specs.rows(Tap::attn_out, c.hidden_size, "h", "after the output projection, with bias");
  if (!phi) {
    specs.rows(Tap::attn_residual, c.hidden_size, "h", "layer input + attention");
    specs.rows(Tap::mlp_norm, c.hidden_size, "h", "norm before the MLP");
  }
  if (c.gated_mlp()) specs.rows(Tap::gate, c.intermediate_size, "I", "gate projection, with bias");
  specs.rows(Tap::up, c.intermediate_size, "I",
             c.gated_mlp() ? "up projection, with bias" : "first projection, with bias");
  specs.rows(Tap::act, c.intermediate_size, "I", c.gated_mlp() ? "activation of gate" : "activation of up");
  if (c.gated_mlp()) specs.rows(Tap::mlp_hidden, c.intermediate_size, "I", "act * up");
  specs.rows(Tap::mlp_out, c.hidden_size, "h", "after the last projection, with bias");
  specs.rows(Tap::layer_out, c.hidden_size, "h", "layer output with residuals");
  specs.rows(Tap::final_norm, c.hidden_size, "h", "norm after the last layer: \"hidden\"");
  specs.rows(Tap::logits, c.vocab_size, "V", "output layer");
  return specs.take();
}

Index tap_values_per_row(const ModelConfig& config) {
  return 6 * config.hidden_size + 3 * (config.q_width() + 2 * config.kv_width()) +
         (config.gated_mlp() ? 4 : 2) * config.intermediate_size;
}

std::vector<TapId> all_taps(const ModelConfig& config) {
  std::vector<TapId> before, after, in_layer;
  for (const TapSpec& spec : tap_specs(config)) {
    std::vector<TapId>& group = per_layer(spec.tap) ? in_layer : spec.tap < Tap::attn_norm ? before : after;
    group.push_back({spec.tap, -1});
  }
  std::vector<TapId> all = before;
  for (Index layer = 0; layer < config.num_layers; ++layer) {
    for (TapId id : in_layer) {
      id.layer = layer;
      all.push_back(id);
    }
  }
  all.insert(all.end(), after.begin(), after.end());
  return all;
}

}  // namespace mlbench
