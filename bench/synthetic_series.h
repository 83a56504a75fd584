// Series of times whose truth is known: the noise that benchmarks have, from a seed, and the true median beside it.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "core/tensor.h"

namespace mlbench::measure {

using Times = std::vector<double>;

// Numbers from a seed and a name, one after the other: the bits are the same on every machine.
class Dice {
 public:
  Dice(std::uint64_t seed, std::string_view name);

  double uniform();      // between 0 and 1, never one of them
  double normal();       // Box and Muller 1958
  double exponential();  // of mean 1
  double sign() { return uniform() < 0.5 ? -1.0 : 1.0; }

 private:
  std::uint64_t seed_, place_ = 0;
};

// How the times of one run differ from 1. All sizes are relative.
struct Noise {
  double size = 0.0;     // standard deviation of a time's logarithm
  double rho = 0.0;      // of a first-order process: the correlation of neighbours
  bool skewed = false;   // instead: 1 + size * exponential, and one time in twenty is three times as long
  double drift = 0.0;    // slower or faster by that at the end than at the beginning
  double step = 0.0;     // slower by that from a random repetition on
  double between = 0.0;  // standard deviation of the logarithm of the run's own level
};

// The median of what times of this noise are drawn from, where it neither drifts nor steps.
[[nodiscard]] double true_median(const Noise& noise);

// The times of one run, one after the other. `length`: over which it drifts or steps.
class Run {
 public:
  Run(const Noise& noise, Index length, Dice& dice);
  double next();

 private:
  double noisy();

  Noise noise_;
  Dice& dice_;
  double length_, level_, drift_, step_at_;
  double state_;  // of the first-order process
  double at_ = 0.0;
};

[[nodiscard]] Times run_of(const Noise& noise, Index length, Dice& dice);

}  // namespace mlbench::measure
