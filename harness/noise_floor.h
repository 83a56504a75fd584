// From a few runs that were moved at random: how far a run with the same rounding may stray.
#pragma once

#include <array>
#include <span>
#include <vector>

#include "models/taps.h"

namespace mlbench::harness {

// Deviations are the largest of a row. Their logarithms are taken to be normal, with a mean of each row's own and a
// variance that all rows of one kind of tap share, so that few runs a row suffice; a row whose own runs vary more (two
// large scores that nearly tie) has its own. The limit is the prediction
// interval's upper end for one run more at the given chance (Hahn and Meeker, "Statistical Intervals", section 4.6).
class NoiseFloor {
 public:
  // `deviations` of one row in each moved run. Zero where nothing moves it: then the limit is 0 and equality is asked
  // for.
  void add(Tap tap, std::span<const double> deviations);
  [[nodiscard]] double limit(Tap tap, std::span<const double> deviations) const;

 private:
  struct Pool {
    double squares = 0.0;  // of deviations from each row's mean of logarithms
    double freedom = 0.0;
  };
  std::array<Pool, 64> pools_;
};

}  // namespace mlbench::harness
