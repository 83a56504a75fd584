#include "harness/selftest/subject_taps.h"

#include <algorithm>

namespace mlbench::selftest {

void SubjectTaps::give(Tap tap, DType type, const Shape& shape, const Rows& value) const {
  const Index layer = per_layer(tap) ? layer_ : -1;
  if (sink_ == nullptr || !sink_->wants({tap, layer})) return;
  HostTensor out(type, shape);
  copy_to(value, out.view());
  sink_->take({tap, layer}, out.view());
}

void SubjectTaps::heads(Tap tap, const Rows& x, Index heads) const {
  if (sink_ == nullptr) return;
  const Index d = x.cols() / heads;
  Rows out({heads * x.rows(), d});
  for (Index t = 0; t < x.rows(); ++t) {
    for (Index h = 0; h < heads; ++h) std::copy_n(x.row(t).data() + h * d, d, out.row(h * x.rows() + t).data());
  }
  give(tap, type_, {heads, x.rows(), d}, out);
}

}  // namespace mlbench::selftest
