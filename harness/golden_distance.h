// How far a backend's taps lie from a golden: reported, not judged, because the golden's weights were not rounded.
#pragma once

#include <string>
#include <vector>

#include "core/results.h"
#include "harness/given_taps.h"
#include "harness/golden_values.h"

namespace mlbench::harness {

class DistanceToGolden {
 public:
  // Both must outlive this.
  DistanceToGolden(golden::GoldenFile& file, const golden::HfGolden& golden, const ModelConfig& config);

  // What the backend gave of a call that comes from the golden.
  void take(const Call& call, const GivenTaps& given);

  // By kind of tap, in the order in which they first came.
  [[nodiscard]] const std::vector<GoldenDistance>& distances() const { return distances_; }

 private:
  const golden::HfGolden& golden_;
  std::vector<TapSpec> specs_;
  GoldenValues values_;
  std::vector<GoldenDistance> distances_;
};

}  // namespace mlbench::harness
