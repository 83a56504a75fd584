// Recording intermediate values while the reference computes them, or going on with others in their place.
#pragma once

#include <optional>
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
  // What the computation goes on with instead, in the layout of the value just taken; nothing: with that value. Asked
  // after take(), for every tap but attn.probs.
  virtual std::optional<Tensor> replacement(TapId) { return std::nullopt; }
};

// Where in the model the code stands. Records a tensor and hands it back, so that the line stays an equation.
class Taps {
 public:
  explicit Taps(TapSink* sink, Index layer = -1) : sink_(sink), layer_(layer) {}

  [[nodiscard]] Taps in_layer(Index layer) const { return Taps(sink_, layer); }
  [[nodiscard]] bool wants(Tap tap) const { return sink_ != nullptr && sink_->wants({tap, layer_}); }

  Tensor operator()(Tap tap, Tensor value) const {
    if (!wants(tap)) return value;
    sink_->take({tap, layer_}, value);
    auto instead = sink_->replacement({tap, layer_});
    return instead ? *std::move(instead) : value;
  }
  // A tensor [T, H, d], recorded as [H, T, d].
  [[nodiscard]] Tensor heads(Tap tap, Tensor value) const;

 private:
  TapSink* sink_;
  Index layer_;
};

}  // namespace mlbench::ref
