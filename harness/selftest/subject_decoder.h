// The subject's five architectures in one: T rows of a call, letters as in models/config.h. Arguments are taken as
// checked.
#pragma once

#include <span>
#include <vector>

#include "harness/selftest/subject_attention.h"
#include "harness/selftest/subject_taps.h"
#include "harness/selftest/subject_weights.h"

namespace mlbench::selftest {

class SubjectDecoder {
 public:
  SubjectDecoder(const Model& model, DType type, const Planted& planted);

  [[nodiscard]] const ModelConfig& config() const { return ops_.config(); }
  [[nodiscard]] const Planted& planted() const { return ops_.planted(); }
  [[nodiscard]] DType type() const { return ops_.type(); }

  // [n, h]
  [[nodiscard]] Rows embed(std::span<const std::int32_t> ids) const;
  // The rows that `cache` announced are those of the parts that follow; input.position_range for one that has no
  // position embedding.
  void begin(SubjectCache& cache);
  [[nodiscard]] Rows enter(const Rows& x, SubjectTaps& taps) const;
  [[nodiscard]] Rows layer(Index index, const Rows& x, SubjectTaps& taps);
  [[nodiscard]] Rows final_norm(const Rows& x, SubjectTaps& taps) const;
  // hidden [n, h] -> [n, V], float32
  [[nodiscard]] Rows logits(const Rows& hidden, SubjectTaps& taps) const;

 private:
  struct Qkv {
    Rows q, k, v;  // [T, Hq * d], [T, Hkv * d] twice
  };

  [[nodiscard]] Qkv project(const LayerWeights& w, const Rows& u, const SubjectTaps& taps) const;
  [[nodiscard]] Qkv split(const Rows& z) const;
  void clip(Qkv& x) const;
  void normalize_heads(const LayerWeights& w, Qkv& x, const SubjectTaps& taps) const;
  void rotate(Rows& x, Index heads) const;
  void append(Index layer, const Rows& keys, const Rows& values);
  [[nodiscard]] Rows stored(Index layer, SubjectCache::Kind kind) const;
  [[nodiscard]] Rows attention(Index layer, const LayerWeights& w, const Rows& u, const SubjectTaps& taps);
  [[nodiscard]] Rows mlp(const LayerWeights& w, const Rows& u, const SubjectTaps& taps) const;
  [[nodiscard]] Rows parallel(Index layer, const Rows& x, const Rows& u, const SubjectTaps& taps);

  Ops ops_;
  Rope rope_;
  SubjectWeights weights_;
  Attention attention_;
  SubjectCache* cache_ = nullptr;  // of this call
  std::vector<Angles> angles_;     // of its rows
};

}  // namespace mlbench::selftest
