// Handing intermediate values to whoever asks for them. Nothing is copied that nobody wants.
#pragma once

#include "backends/backend.h"
#include "backends/cpu/buffer.h"
#include "backends/cpu/heads.h"

namespace mlbench::cpu {

class Taps {
 public:
  explicit Taps(backends::TapSink* sink) : sink_(sink) {}

  // The taps that follow are those of this layer; -1: outside the layers.
  void set_layer(Index layer) { layer_ = layer; }
  [[nodiscard]] bool wants(Tap tap) const { return sink_ != nullptr && sink_->wants({tap, layer_}); }

  void give(Tap tap, DType dtype, Shape shape, const std::byte* data) const {
    sink_->take({tap, layer_}, {dtype, std::move(shape), data});
  }
  void give(Tap tap, Shape shape, const float* data) const {
    give(tap, DType::f32, std::move(shape), reinterpret_cast<const std::byte*>(data));
  }
  // [T, width], as computed.
  void rows(Tap tap, const float* data, Index rows, Index width) const {
    if (wants(tap)) give(tap, {rows, width}, data);
  }
  // [H, T, width], from wherever they stand.
  void heads(Tap tap, const Heads& heads) const;

 private:
  backends::TapSink* sink_;
  Index layer_ = -1;
};

}  // namespace mlbench::cpu
