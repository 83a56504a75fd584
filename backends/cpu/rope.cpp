#include "backends/cpu/rope.h"

#include <cmath>

namespace mlbench::cpu {

void Rotation::set(const std::vector<Index>& positions) {
  cos_.clear();
  sin_.clear();
  for (const Index position : positions) {
    for (const double w : frequencies_) {
      const double angle = static_cast<double>(position) * w;
      cos_.push_back(static_cast<float>(std::cos(angle)));
      sin_.push_back(static_cast<float>(std::sin(angle)));
    }
  }
}

void Rotation::rotate(const Heads& heads, Index row) const {
  const Index half = this->half();
  const float* c = cos(row);
  const float* s = sin(row);
  for (Index head = 0; head < heads.count; ++head) {
    float* low = heads.at(row, head);
    float* high = low + half;
    for (Index i = 0; i < half; ++i) {
      const float a = low[i];
      const float b = high[i];
      low[i] = a * c[i] - b * s[i];
      high[i] = b * c[i] + a * s[i];
    }
  }
}

}  // namespace mlbench::cpu
