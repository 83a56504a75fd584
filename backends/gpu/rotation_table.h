// Cosines and sines of rotary position embedding by position: of exact angles, rounded once to float32.
#pragma once

#include <vector>

#include "backends/gpu/growing.h"
#include "models/config.h"

namespace mlbench::gpu {

class RotationTable {
 public:
  explicit RotationTable(const RopeConfig& config);

  [[nodiscard]] Index half() const { return static_cast<Index>(frequencies_.size()); }  // D/2
  // Sees to it that positions [0, count) stand on the device.
  void cover(Index count, Runtime& runtime, Stream& stream, Growing& growing);
  // [positions, D/2], on the device and here.
  [[nodiscard]] const float* device_cos() const { return device_cos_.floats(); }
  [[nodiscard]] const float* device_sin() const { return device_sin_.floats(); }
  [[nodiscard]] const float* cos(Index position) const { return cos_.data() + position * half(); }
  [[nodiscard]] const float* sin(Index position) const { return sin_.data() + position * half(); }

 private:
  std::vector<double> frequencies_;
  std::vector<float> cos_, sin_;
  Memory device_cos_, device_sin_;
};

}  // namespace mlbench::gpu
