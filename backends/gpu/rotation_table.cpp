#include "backends/gpu/rotation_table.h"

#include <cmath>

#include "backends/stack/rope.h"

namespace mlbench::gpu {

RotationTable::RotationTable(const RopeConfig& config) : frequencies_(stack::rope_frequencies(config)) {}

void RotationTable::cover(Index count, Runtime& runtime, Stream& stream, Growing& growing) {
  Index position = half() == 0 ? count : static_cast<Index>(cos_.size()) / half();
  if (position >= count) return;
  constexpr Index kLeast = 256;
  Index end = std::max(kLeast, position);
  while (end < count) end *= 2;
  for (; position < end; ++position) {
    for (const double w : frequencies_) {
      const double angle = static_cast<double>(position) * w;
      cos_.push_back(static_cast<float>(std::cos(angle)));
      sin_.push_back(static_cast<float>(std::sin(angle)));
    }
  }
  const std::uint64_t bytes = cos_.size() * sizeof(float);
  runtime.copy_in(stream, growing.reserve(device_cos_, bytes, "the cosines of positions"), cos_.data(), bytes);
  runtime.copy_in(stream, growing.reserve(device_sin_, bytes, "the sines of positions"), sin_.data(), bytes);
  stream.synchronize();
}

}  // namespace mlbench::gpu
