// The subject's rotary embedding, of all kinds. Angles are float64, cosines and sines rounded once to float32.
#pragma once

#include <utility>
#include <vector>

#include "backends/paging/page_table.h"
#include "harness/selftest/planted.h"
#include "harness/selftest/subject_values.h"
#include "models/config.h"

namespace mlbench::selftest {

// Of one position, [D/2] each.
struct Angles {
  std::vector<float> cos, sin;
};

class Rope {
 public:
  Rope(ModelConfig config, Planted planted) : config_(std::move(config)), planted_(std::move(planted)) {}

  [[nodiscard]] bool rotates() const { return config_.rope.kind != RopeKind::none; }
  // Of `position` in a sequence that is `total` entries long.
  [[nodiscard]] Angles angles(Index position, Index total) const;
  // Of every row of a forward.
  [[nodiscard]] std::vector<Angles> angles(const paging::ForwardPlan& plan) const;
  // One head [d], in place.
  void rotate(float* head, const Angles& angles) const;

 private:
  [[nodiscard]] double frequency(Index i, double theta, Index total) const;
  [[nodiscard]] double theta(Index total) const;
  [[nodiscard]] double llama3(double w) const;
  [[nodiscard]] double yarn(Index i, double w) const;
  [[nodiscard]] double longrope(Index i, double w, Index total) const;
  [[nodiscard]] double magnitude() const;

  ModelConfig config_;
  Planted planted_;
};

// The position that a row of the forward is taken to be at, for rotation and position embedding.
[[nodiscard]] Index position_of(const paging::ForwardPlan& plan, std::size_t row, const Planted& planted);

}  // namespace mlbench::selftest
