// The part of a model that one of several workers holds (spec methods.md, sections 8 and 9): stage `stage` of its
// layers, and of these shard `shard` of every product that is split. It is a model of its own, of fewer layers and
// heads and a smaller MLP, whose products of rows by split columns give summands of the whole's.
//
// Split by rows: q_proj, k_proj, v_proj by heads, gate, up and Phi's fc1. Split by columns: attention's and the MLP's
// second product (o_proj, down_proj, dense, fc2), whose summands the shards add up. Their biases are everybody's, as
// are embeddings, norms and the output layer; a shard divides them by the number of shards where it uses them.
#pragma once

#include "models/config.h"
#include "models/taps.h"
#include "models/tensor_inventory.h"
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

// Whether the results of a product are summands, of which every shard has its own.
[[nodiscard]] constexpr bool is_summed(TensorRole product) {
  return product == TensorRole::attn_out || product == TensorRole::mlp_down;
}

// How a tap of the whole is put together from those of the shards, [T, width] or [H, T, width].
enum class Joining {
  same,     // every shard has all of it, the same bits
  columns,  // each has its columns, in order
  heads,    // each has its heads, in order
};
[[nodiscard]] Joining joining_of(Tap tap);

// The configuration of the parts of a stage, as of a model of its own: all shards of a stage have the same. The split
// has to be one that parallel_rules.h allows, and the stage lies within it; so below.
[[nodiscard]] ModelConfig config_of_part(const ModelConfig& config, const Split& split, Index stage);

// Split columns are copied; everything else is the whole model's own memory, which stays alive with the part.
[[nodiscard]] Model part_of(const Model& model, const Split& split, Index shard, Index stage);

}  // namespace mlbench
