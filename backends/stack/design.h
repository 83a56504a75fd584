// How an architecture is put together (spec architectures.md, sections 4 to 8): what every decoder of ours asks.
#pragma once

#include "models/config.h"

namespace mlbench::stack {

enum class NormKind {
  rms,   // g * x / sqrt(mean(x^2) + eps)
  layer  // g * (x - mean) / sqrt(var + eps) + b, var about the mean
};

// The formula and its epsilon, the same everywhere in a model.
struct NormRule {
  NormKind kind = NormKind::rms;
  float eps = 0.0F;
};

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

}  // namespace mlbench::stack
