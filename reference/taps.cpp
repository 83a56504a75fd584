#include "reference/taps.h"

#include <algorithm>

namespace mlbench::ref {

namespace {

// [A, B, d] -> [B, A, d]
Tensor swapped(const Tensor& x) {
  const Index a = x.dim(0);
  const Index b = x.dim(1);
  Tensor out({b, a, x.dim(2)});
  for (Index i = 0; i < a; ++i) {
    for (Index j = 0; j < b; ++j) std::ranges::copy(x.row(i * b + j), out.row(j * a + i).begin());
  }
  return out;
}

}  // namespace

Tensor Taps::heads(Tap tap, Tensor value) const {
  if (!wants(tap)) return value;
  sink_->take({tap, layer_}, swapped(value));
  const auto instead = sink_->replacement({tap, layer_});
  return instead ? swapped(*instead) : value;
}

}  // namespace mlbench::ref
