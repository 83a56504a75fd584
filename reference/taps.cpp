#include "reference/taps.h"

#include <algorithm>

namespace mlbench::ref {

Tensor Taps::heads(Tap tap, Tensor value) const {
  if (!wants(tap)) return value;
  const Index rows = value.dim(0);
  const Index heads = value.dim(1);
  Tensor by_head({heads, rows, value.dim(2)});
  for (Index t = 0; t < rows; ++t) {
    for (Index h = 0; h < heads; ++h) std::ranges::copy(value.row(t * heads + h), by_head.row(h * rows + t).begin());
  }
  sink_->take({tap, layer_}, by_head);
  return value;
}

}  // namespace mlbench::ref
