// How an architecture is put together (spec architectures.md, sections 4 to 8): what the one decoder asks.
#pragma once

#include "backends/cpu/ops.h"
#include "models/config.h"

namespace mlbench::cpu {

enum class QkvLayout {
  separate,     // three projections
  one_kv_head,  // one: all queries, the key, the value
  interleaved   // one: query, key and value of head 0, then those of head 1, ...
};

struct Design {
  NormRule norm;
  bool parallel = false;           // attention and MLP read the same norm, one residual addition takes both
  bool gated = true;               // the MLP has a gate
  bool learned_positions = false;  // added to the embedding; otherwise queries and keys are rotated
  QkvLayout qkv = QkvLayout::separate;
  float score_scale = 1.0F;
};

[[nodiscard]] Design design_of(const ModelConfig& config);

}  // namespace mlbench::cpu
