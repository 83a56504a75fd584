// One call over the rows that begin_forward announced: their positions, their rotation, and attention through the
// cache.
#pragma once

#include <vector>

#include "reference/ops.h"
#include "reference/paged_kv_cache.h"
#include "reference/rope.h"
#include "reference/taps.h"

namespace mlbench::ref {

class ForwardPass {
 public:
  // `rope` is null for an architecture without rotation. The cache must be between begin_forward and end_forward.
  ForwardPass(PagedKvCache& cache, const Rope* rope, const Ops& ops);

  [[nodiscard]] Index rows() const { return static_cast<Index>(plan_->rows.size()); }  // T
  [[nodiscard]] Index position(Index row) const { return plan_->rows[static_cast<std::size_t>(row)].position; }

  // m cos and m sin by row, halves repeated: [T, D].
  [[nodiscard]] const Tensor& cos() const { return cos_; }
  [[nodiscard]] const Tensor& sin() const { return sin_; }
  // Rotates by these from now on.
  void set_rotation(Tensor cos, Tensor sin);

  // x [T, H, d] with the first D values of each head rotated by the row's position.
  [[nodiscard]] Tensor rotated(const Tensor& x) const;

  // Keys [T, Hkv, d] as the cache keeps them: rotated, or in RopeMode::in_line as they are.
  [[nodiscard]] Tensor key_to_store(const Tensor& keys) const;

  // Appends the rows' keys and values [T, Hkv, d], as they are to be kept, to layer `layer` of the cache.
  void append(Index layer, const Tensor& keys, const Tensor& values);

  // Softmax attention of q [T, Hq, d] over what each row sees in the cache (Vaswani et al., arXiv:1706.03762, equation
  // 1, with grouped queries, arXiv:2305.13245: head h reads key-value head h / (Hq / Hkv)); scores are scaled by
  // `alpha`. Returns the heads side by side, [T, Hq * d]; records attn.probs.
  [[nodiscard]] Tensor attention(Index layer, const Tensor& q, double alpha, const Taps& tap) const;

 private:
  struct HeadView;  // keys and values of one sequence and key-value head
  [[nodiscard]] HeadView head_view(Index layer, Index sequence, Index kv_head) const;

  PagedKvCache* cache_;
  const ForwardPlan* plan_;
  const Rope* rope_;
  const Ops* ops_;
  std::vector<std::vector<double>> frequencies_;  // by sequence
  Tensor cos_, sin_;
};

}  // namespace mlbench::ref
