// Handing values on a device to whoever asks for them. Nothing is copied that nobody wants; what is, waits for the
// device.
#pragma once

#include <vector>

#include "backends/backend.h"
#include "backends/gpu/runtime.h"

namespace mlbench::gpu {

class Taps {
 public:
  // `sink` may be null.
  Taps(backends::TapSink* sink, Runtime& runtime, Stream& stream) : sink_(sink), runtime_(runtime), stream_(stream) {}

  // The taps that follow are those of this layer; -1: outside the layers.
  void set_layer(Index layer) { layer_ = layer; }
  [[nodiscard]] bool wants(Tap tap) const { return sink_ != nullptr && sink_->wants({tap, layer_}); }

  // Values in host memory.
  void give(Tap tap, DType dtype, Shape shape, const std::byte* data) const;
  // Columns [begin, begin + width) of float32 rows on the device, `stride` columns wide, as [rows, width].
  void rows(Tap tap, const float* device, Index rows, Index width, Index stride, Index begin = 0) const;
  void rows(Tap tap, const float* device, Index count, Index width) const { rows(tap, device, count, width, width); }
  // float32 [T, H, w] on the device as [H, T, w].
  void heads(Tap tap, const float* device, Index rows, Index heads, Index width) const;
  // float32 of any shape.
  void whole(Tap tap, const float* device, const Shape& shape) const;

 private:
  [[nodiscard]] std::vector<float> fetched(const float* device, Index count) const;

  backends::TapSink* sink_;
  Runtime& runtime_;
  Stream& stream_;
  Index layer_ = -1;
};

}  // namespace mlbench::gpu
