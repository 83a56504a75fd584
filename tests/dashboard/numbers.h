// Random numbers by place: of one seed the same on every machine, up to the last bits of log and cos.
#pragma once

#include <cmath>
#include <cstdint>
#include <numbers>

#include "core/hash.h"

namespace mlbench::test {

class Numbers {
 public:
  explicit Numbers(std::uint64_t seed) : seed_(seed) {}
  // In (0, 1).
  double uniform() { return (static_cast<double>(scattered(seed_, next_++) >> 11U) + 0.5) * 0x1p-53; }
  double normal() {
    const double radius = std::sqrt(-2.0 * std::log(uniform()));
    return radius * std::cos(2.0 * std::numbers::pi * uniform());
  }

 private:
  std::uint64_t seed_, next_ = 0;
};

}  // namespace mlbench::test
