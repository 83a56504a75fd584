// The five architectures in one: norm, attention and MLP over the rows of a call, as a Design says. T rows of this
// call, letters as in models/config.h. Arguments are taken as checked.
#pragma once

#include <span>
#include <vector>

#include "backends/cpu/attention.h"
#include "backends/cpu/model_weights.h"
#include "backends/cpu/rope.h"
#include "backends/stack/design.h"

namespace mlbench::cpu {

class Decoder {
 public:
  // `run`: of the part that the model is.
  Decoder(const Model& model, const backends::RunConfig& run, int threads);

  [[nodiscard]] const ModelConfig& config() const { return config_; }

  // out [n, h]
  void embed(std::span<const std::int32_t> ids, float* out) const;

  // The rows that `cache` announced are those of the parts that follow. Throws input.position_range for a row beyond
  // the position embedding, before anything is done.
  void begin(PagedKvCache& cache);
  // Each part in place, x [T, h].
  void enter(float* x, Taps& taps);
  void layer(Index index, float* x, Taps& taps);
  void final_norm(float* x, Taps& taps);

  // hidden [n, h] -> out [n, V]
  void logits(const float* hidden, Index rows, float* out, Taps& taps);

 private:
  struct Qkv {
    Heads q, k, v;
  };

  void give_rotation(const Taps& taps) const;
  void give_stored(Tap tap, Index layer, PagedKvCache::Kind kind, const Taps& taps) const;

  [[nodiscard]] int team(Index width) const;
  void normalize_rows(const Norm& norm, const float* x, float* y) const;
  void normalize_heads(const Norm& norm, const Heads& heads) const;
  void add_rows(float* x, const float* y) const;
  // [T, Hq*d] and so on, in qkv_
  Qkv project(const LayerWeights& w, const float* u, const Taps& taps);
  [[nodiscard]] Qkv split_fused(float* z) const;
  // u [T, h] -> [T, h]
  const float* attention(Index layer, const LayerWeights& w, const float* u, const Taps& taps);
  const float* mlp(const LayerWeights& w, const float* u, const Taps& taps);
  // x += attention(u) + MLP(u), summed over the shards at once.
  void add_block(Index layer, const LayerWeights& w, const float* u, float* x, const Taps& taps);
  // The summand of a product, [T, h], becomes the sum.
  void sum_over_shards(float* rows, Tap part, Tap whole, const Taps& taps) const;

  ModelConfig config_;
  stack::Design design_;
  int threads_;
  Index shards_;
  std::shared_ptr<backends::Group> group_;
  Products products_;
  ModelWeights weights_;
  Rotation rotation_;
  Attention attention_;

  PagedKvCache* cache_ = nullptr;  // of this call
  Index rows_ = 0;                 // T
  Buffer norm_, qkv_, context_, result_, hidden_, up_, block_;
};

}  // namespace mlbench::cpu
