// Llama in float32, to be read beside arXiv:2302.13971 (2307.09288 for grouped queries). N rows of a call, h hidden
// size, Hq / Hkv query / key-value heads, d head size, I MLP size, V vocabulary. Weights are [out, in]: y = W x.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <mlbench/plugin.h>

#include "cache.h"

namespace example {

using Floats = std::vector<float>;

// Rows of numbers in the storage type, f32 or bf16.
class Matrix {
 public:
  Matrix() = default;
  Matrix(const mlbench_const_tensor& tensor, std::int32_t stored);

  [[nodiscard]] std::int64_t rows() const { return rows_; }
  [[nodiscard]] float at(std::int64_t row, std::int64_t col) const;
  // [n, cols] -> [n, rows]
  [[nodiscard]] Floats times(const Floats& x) const;

 private:
  std::int64_t rows_ = 0, cols_ = 0;
  Floats f32_;                       // one of the two
  std::vector<std::uint16_t> bf16_;  // is empty
};

struct Layer {
  Floats attn_norm, mlp_norm;  // [h]
  Matrix q, k, v, o;           // [Hq*d, h], [Hkv*d, h], [Hkv*d, h], [h, Hq*d]
  Matrix gate, up, down;       // [I, h], [I, h], [h, I]
};

// Shows intermediate values to whoever asked for them.
class Taps {
 public:
  explicit Taps(const mlbench_tap_sink* sink, std::int64_t layer = -1) : sink_(sink), layer_(layer) {}
  [[nodiscard]] bool wants(mlbench_tap tap) const;
  void rows(mlbench_tap tap, const Floats& x, std::int64_t width) const;  // [N, width]
  // [N, heads * d], shown as [heads, N, d]
  void heads(mlbench_tap tap, const Floats& x, std::int64_t heads, std::int64_t d) const;
  void give(mlbench_tap tap, const Floats& x, std::initializer_list<std::int64_t> shape) const;

 private:
  const mlbench_tap_sink* sink_;
  std::int64_t layer_;
};

class Llama {
 public:
  Llama(const mlbench_model& model, std::int32_t stored);

  [[nodiscard]] const mlbench_config& config() const { return config_; }
  [[nodiscard]] CacheShape cache_shape() const { return {config_.num_layers, config_.num_kv_heads * config_.head_dim}; }

  [[nodiscard]] Floats embed(const std::int32_t* ids, std::int64_t count) const;  // [n, h]
  // Rows of the cache's forward, [N, h] -> [N, h].
  [[nodiscard]] Floats enter(Floats x, const Cache& cache, const mlbench_tap_sink* sink) const;
  [[nodiscard]] Floats layer(std::int64_t index, Floats x, const Cache& cache, const mlbench_tap_sink* sink) const;
  [[nodiscard]] Floats final_norm(const Floats& x, const mlbench_tap_sink* sink) const;
  [[nodiscard]] Floats logits(const Floats& hidden, const mlbench_tap_sink* sink) const;  // [n, V]

 private:
  [[nodiscard]] Floats normalized(const Floats& x, const Floats& weight) const;
  [[nodiscard]] std::vector<double> frequencies() const;
  void rotate(Floats& x, std::int64_t heads, const std::vector<Row>& rows) const;
  [[nodiscard]] Floats attention(std::int64_t index, const Floats& q, const std::vector<Row>& rows,
                                 const Taps& taps) const;

  mlbench_config config_;
  mlbench_rope rope_;
  Matrix embedding_, output_;  // [V, h]
  std::vector<Layer> layers_;
  Floats norm_;  // [h]
};

}  // namespace example
