// A model's weights as the subject keeps them: float32 values that were rounded to the storage type.
#pragma once

#include <vector>

#include "harness/selftest/planted.h"
#include "harness/selftest/subject_ops.h"
#include "models/weights.h"

namespace mlbench::selftest {

// What a layer lacks is empty.
struct LayerWeights {
  Norm attn_norm, mlp_norm;
  Norm q_norm, k_norm;  // Phi's qk_layernorm
  Linear q, k, v;       // or
  Linear qkv;           // GPT BigCode
  Linear attn_out;
  Linear gate, up, down;
};

struct SubjectWeights {
  SubjectWeights(const Model& model, DType type, const Planted& planted);

  Rows tokens;     // [V, h]
  Rows positions;  // [n_positions, h]; GPT BigCode
  std::vector<LayerWeights> layers;
  Norm final_norm;
  Linear lm_head;  // [V, h]

 private:
  void exchange(const ModelConfig& config, const Planted& planted);
  void change_biases(const Planted& planted);
};

}  // namespace mlbench::selftest
