#include "backends/cpu/taps.h"

#include <algorithm>

namespace mlbench::cpu {

void Taps::heads(Tap tap, const Heads& heads) const {
  if (!wants(tap)) return;
  Buffer copy;
  float* out = copy.floats(heads.count * heads.rows * heads.width);
  for (Index head = 0; head < heads.count; ++head) {
    for (Index row = 0; row < heads.rows; ++row) {
      std::copy_n(heads.at(row, head), heads.width, out + (head * heads.rows + row) * heads.width);
    }
  }
  give(tap, {heads.count, heads.rows, heads.width}, out);
}

}  // namespace mlbench::cpu
