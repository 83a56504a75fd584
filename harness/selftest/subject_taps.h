// Shows the subject's intermediate values to a sink, in the layouts of models/taps.h.
#pragma once

#include "backends/backend.h"
#include "harness/selftest/subject_values.h"
#include "models/taps.h"

namespace mlbench::selftest {

class SubjectTaps {
 public:
  SubjectTaps(backends::TapSink* sink, DType type) : sink_(sink), type_(type) {}

  void set_layer(Index layer) { layer_ = layer; }
  [[nodiscard]] bool any() const { return sink_ != nullptr; }

  void rows(Tap tap, const Rows& value) const { give(tap, type_, value.shape(), value); }
  void rows(Tap tap, DType type, const Rows& value) const { give(tap, type, value.shape(), value); }
  // x [T, H * d] as [H, T, d].
  void heads(Tap tap, const Rows& x, Index heads) const;
  // p [H * T, S]
  void probs(const Rows& p, Index heads) const { give(Tap::probs, type_, {heads, p.rows() / heads, p.cols()}, p); }

 private:
  void give(Tap tap, DType type, const Shape& shape, const Rows& value) const;

  backends::TapSink* sink_;
  DType type_;
  Index layer_ = -1;
};

}  // namespace mlbench::selftest
