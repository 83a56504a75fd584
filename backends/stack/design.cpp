#include "backends/stack/design.h"

#include <cmath>

namespace mlbench::stack {

Design design_of(const ModelConfig& config) {
  const bool bigcode = config.architecture == Architecture::gpt_bigcode;
  Design design;
  design.norm.kind = config.architecture == Architecture::llama ? NormKind::rms : NormKind::layer;
  design.norm.eps = static_cast<float>(config.norm_eps);
  design.parallel = config.architecture == Architecture::phi;
  design.gated = config.gated_mlp();
  design.learned_positions = bigcode;
  if (bigcode) design.qkv = config.multi_query ? QkvLayout::one_kv_head : QkvLayout::interleaved;
  if (!bigcode || config.scale_attn_weights) {
    design.score_scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(config.head_dim)));
  }
  return design;
}

}  // namespace mlbench::stack
