// A model's weights, rounded to the storage type and ready for products.
#pragma once

#include <span>
#include <vector>

#include "backends/cpu/ops.h"
#include "backends/cpu/product.h"
#include "models/weights.h"

namespace mlbench::cpu {

// What a layer lacks is empty.
struct LayerWeights {
  Norm attn_norm;       // [h]
  Norm mlp_norm;        // [h]; not with a parallel block
  Norm q_norm, k_norm;  // [d]; Phi's qk_layernorm
  Linear qkv;           // [(Hq + 2 Hkv) d, h], or
  Linear q, k, v;       // [Hq*d, h], [Hkv*d, h], [Hkv*d, h]
  Linear attn_out;      // [h, Hq*d]
  Linear gate, up;      // [I, h]
  Linear down;          // [h, I]
};

// An embedding, read where the model has it. Rows are rounded when they are looked up.
class Table {
 public:
  Table() = default;
  Table(const WeightView& rows, DType stored) : rows_(rows), stored_(stored) {}

  [[nodiscard]] Index size() const { return rows_.rows; }
  void read(Index row, std::span<float> out) const;

 private:
  WeightView rows_;
  DType stored_ = DType::f32;
};

struct ModelWeights {
  // Of one of `shards`.
  ModelWeights(const Model& model, DType stored, Index shards, Products& products);

  Table tokens;     // [V, h]
  Table positions;  // [n_positions, h]; GPT BigCode
  std::vector<LayerWeights> layers;
  Norm final_norm;  // [h]
  Linear lm_head;   // [V, h]
};

}  // namespace mlbench::cpu
