#include "backends/gpu/taps.h"

#include <algorithm>

namespace mlbench::gpu {

void Taps::give(Tap tap, DType dtype, Shape shape, const std::byte* data) const {
  sink_->take({tap, layer_}, {dtype, std::move(shape), data});
}

std::vector<float> Taps::fetched(const float* device, Index count) const {
  std::vector<float> out(static_cast<std::size_t>(count));
  runtime_.copy_out(stream_, out.data(), device, out.size() * sizeof(float));
  stream_.synchronize();
  return out;
}

void Taps::whole(Tap tap, const float* device, const Shape& shape) const {
  if (!wants(tap)) return;
  const std::vector<float> values = fetched(device, element_count(shape));
  give(tap, DType::f32, shape, reinterpret_cast<const std::byte*>(values.data()));
}

void Taps::rows(Tap tap, const float* device, Index rows, Index width, Index stride, Index begin) const {
  if (!wants(tap)) return;
  const std::vector<float> all = fetched(device, rows * stride);
  std::vector<float> out(static_cast<std::size_t>(rows * width));
  for (Index r = 0; r < rows; ++r) std::copy_n(all.data() + r * stride + begin, width, out.data() + r * width);
  give(tap, DType::f32, {rows, width}, reinterpret_cast<const std::byte*>(out.data()));
}

void Taps::heads(Tap tap, const float* device, Index rows, Index heads, Index width) const {
  if (!wants(tap)) return;
  const std::vector<float> all = fetched(device, rows * heads * width);
  std::vector<float> out(all.size());
  for (Index h = 0; h < heads; ++h) {
    for (Index r = 0; r < rows; ++r)
      std::copy_n(all.data() + (r * heads + h) * width, width, out.data() + (h * rows + r) * width);
  }
  give(tap, DType::f32, {heads, rows, width}, reinterpret_cast<const std::byte*>(out.data()));
}

}  // namespace mlbench::gpu
