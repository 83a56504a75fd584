// Taps: the named intermediate values at which implementations are compared. One inventory for all architectures; their
// text is built here alone and is the same in goldens, reports and code.
#pragma once

#include <compare>
#include <string>
#include <string_view>
#include <vector>

#include "models/config.h"

namespace mlbench {

// In the order of computation. Shapes in tap_specs(); T rows of a call, S visible positions.
enum class Tap {
  embed_token,
  embed_position,
  embed,
  rope_cos,
  rope_sin,
  attn_norm,
  qkv_proj,
  q_proj,
  k_proj,
  v_proj,
  q_norm,
  k_norm,
  q,
  k,
  v,
  probs,
  context,
  attn_out,
  attn_residual,
  mlp_norm,
  gate,
  up,
  act,
  mlp_hidden,
  mlp_out,
  layer_out,
  final_norm,
  logits,
  // What the workers of a split model hand each other: no golden has them, and tap_specs() neither.
  attn_part,   // a shard's summand of attn_out, [T, h]; of all shards [S, T, h], here and below
  mlp_part,    // and of mlp_out
  block_part,  // Phi: what it adds up of both, as it goes into the all-reduce
  block_sum,   // Phi: what comes out of it, [T, h]
  stage_in,    // rows as a stage received them, [T, h]; the layer is its first
};
inline constexpr int kNumTaps = static_cast<int>(Tap::stage_in) + 1;

struct TapId {
  Tap tap = Tap::embed;
  Index layer = -1;  // -1 outside the layers

  friend bool operator==(const TapId&, const TapId&) = default;
};

[[nodiscard]] std::string to_string(TapId id);  // "layers.3.attn.q"
[[nodiscard]] std::string_view name(Tap tap);   // "attn.q": without the layer
[[nodiscard]] bool per_layer(Tap tap);

// How a tap's values lie: plain rows [T, width]; heads [H, T, width]; probabilities [H, T, S].
enum class TapLayout { rows, heads, probs };

struct TapSpec {
  Tap tap;
  TapLayout layout;
  Index heads;        // for heads and probs
  Index width;        // last axis; 0 for probs, where it is S
  std::string shape;  // in letters: "[Hq, T, d]"
  std::string meaning;
};

// The taps that exist for a configuration, in the order of computation; those of layers once, not once per layer.
[[nodiscard]] std::vector<TapSpec> tap_specs(const ModelConfig& config);
// About how many values the taps of one layer have for one row of a call, attention's probabilities left out.
[[nodiscard]] Index tap_values_per_row(const ModelConfig& config);
// Every tap of every layer, in the order of computation.
[[nodiscard]] std::vector<TapId> all_taps(const ModelConfig& config);

}  // namespace mlbench
