// The subject's attention: for every row and head the scores of what it sees, softmax, and the weighted values.
#pragma once

#include <vector>

#include "harness/selftest/subject_cache.h"
#include "harness/selftest/subject_ops.h"
#include "harness/selftest/subject_rope.h"

namespace mlbench::selftest {

class Attention {
 public:
  Attention(const Ops& ops, const Rope& rope)
      : ops_(ops), rope_(rope), config_(ops.config()), planted_(ops.planted()) {}

  struct Result {
    Rows probs;    // [Hq * T, S]
    Rows context;  // [T, Hq * d]
  };
  // q [T, Hq * d]; keys and values of the rows stand in the cache.
  [[nodiscard]] Result run(const Rows& q, const SubjectCache& cache, Index layer) const;

 private:
  struct Head;  // of one row

  [[nodiscard]] std::vector<Index> visible(const SubjectCache& cache, Index row) const;
  [[nodiscard]] Index kv_head(Index head) const;
  [[nodiscard]] float scale() const;
  [[nodiscard]] std::vector<float> scores(const float* q, const SubjectCache& cache, const Head& head) const;
  void softmax(std::vector<float>& scores) const;
  [[nodiscard]] std::vector<float> weighted(const std::vector<float>& probs, const SubjectCache& cache,
                                            const Head& head) const;

  const Ops& ops_;
  const Rope& rope_;
  const ModelConfig& config_;
  const Planted& planted_;
};

}  // namespace mlbench::selftest
