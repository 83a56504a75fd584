// The part of a model that one of several workers holds (spec methods.md, sections 8 and 9): stage `stage` of its
// layers, and of these shard `shard` of every product that is split. It is a model of its own, of fewer layers and
// heads and a smaller MLP, whose products of rows by split columns give summands of the whole's.
//
// Split by rows: q_proj, k_proj, v_proj by heads, gate, up and Phi's fc1. Split by columns: attention's and the MLP's
// second product (o_proj, down_proj, dense, fc2), whose biases every shard has divided by their number. Embeddings,
// norms and the output layer are everybody's.
#pragma once

#include "models/config.h"
#include "models/weights.h"

namespace mlbench {

// Workers are numbered stage by stage: worker w is shard w % tensor_parallel of stage w / tensor_parallel.
struct Split {
  Index tensor_parallel = 1;    // S, shards
  Index pipeline_parallel = 1;  // P, stages

  [[nodiscard]] Index workers() const { return tensor_parallel * pipeline_parallel; }
  friend bool operator==(const Split&, const Split&) = default;
};

// Layers [first, first + count) of L: each stage but the last takes ceil(L / P).
struct LayerRange {
  Index first = 0, count = 0;
  friend bool operator==(const LayerRange&, const LayerRange&) = default;
};
[[nodiscard]] LayerRange layers_of_stage(Index layers, Index stages, Index stage);

// The split has to be one that parallel_rules.h allows, shard and stage lie within it. Split columns and divided biases
// are copied; everything else is the whole model's own memory, which stays alive with the part.
[[nodiscard]] Model part_of(const Model& model, const Split& split, Index shard, Index stage);

}  // namespace mlbench
