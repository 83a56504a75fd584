// Recording intermediate values while the reference computes them.
#pragma once

#include <utility>

#include "models/taps.h"
#include "reference/ops.h"

namespace mlbench::ref {

class TapSink {
 public:
  virtual ~TapSink() = default;
  // False: the tap is not offered, and no copy of it is made in another layout.
  [[nodiscard]] virtual bool wants(TapId id) const = 0;
  // `value` has the layout of models/taps.h.
  virtual void take(TapId id, const Tensor& value) = 0;
};

// Where in the model the code stands. Records a tensor and hands it back, so that the line stays an equation.
class Taps {
 public:
  explicit Taps(TapSink* sink, Index layer = -1) : sink_(sink), layer_(layer) {}

  [[nodiscard]] Taps in_layer(Index layer) const { return Taps(sink_, layer); }
  [[nodiscard]] bool wants(Tap tap) const { return sink_ != nullptr && sink_->wants({tap, layer_}); }

  Tensor operator()(Tap tap, Tensor value) const {
    if (wants(tap)) sink_->take({tap, layer_}, value);
    return value;
  }
  // A tensor [T, H, d], recorded as [H, T, d].
  [[nodiscard]] Tensor heads(Tap tap, Tensor value) const;

 private:
  TapSink* sink_;
  Index layer_;
};

}  // namespace mlbench::ref
