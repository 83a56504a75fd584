// Rotary position embedding (arXiv:2104.09864): value i of a head is paired with value i + D/2, as in Hugging Face's
// checkpoints.
#pragma once

#include <vector>

#include "backends/cpu/heads.h"
#include "backends/stack/rope.h"
#include "models/config.h"

namespace mlbench::cpu {

// Cosines and sines of the rows of a call: of exact angles, rounded once.
class Rotation {
 public:
  explicit Rotation(const RopeConfig& config) : frequencies_(stack::rope_frequencies(config)) {}

  // Row r of the next call is at positions[r].
  void set(const std::vector<Index>& positions);

  [[nodiscard]] Index half() const { return static_cast<Index>(frequencies_.size()); }  // D/2
  [[nodiscard]] const float* cos(Index row) const { return cos_.data() + row * half(); }
  [[nodiscard]] const float* sin(Index row) const { return sin_.data() + row * half(); }

  // y[i] = x[i] c - x[i + D/2] s, y[i + D/2] = x[i + D/2] c + x[i] s; values from D on stay.
  void rotate(const Heads& heads, Index row) const;

 private:
  std::vector<double> frequencies_;
  std::vector<float> cos_, sin_;  // [T, D/2]
};

}  // namespace mlbench::cpu
