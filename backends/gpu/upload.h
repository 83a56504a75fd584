// Weights on their way to a device: one buffer is filled from the model, page by page of a mapped file, while another
// is copied.
#pragma once

#include <span>

#include "backends/gpu/runtime.h"
#include "models/tensor_inventory.h"
#include "models/weights.h"

namespace mlbench::gpu {

class Upload {
 public:
  Upload(Runtime& runtime, Stream& stream, DType stored);

  // Matrices of the same width below each other, in the storage type.
  [[nodiscard]] Memory matrix(std::span<const WeightView> parts, std::string_view what);
  // Vectors one after another, float32, of values rounded to the storage type.
  [[nodiscard]] Memory vector(std::span<const WeightView> parts, std::string_view what);
  // Biases of a product one after another, as they are added where its results are summed over so many shards.
  [[nodiscard]] Memory biases(std::span<const WeightView> parts, TensorRole product, Index shards);
  // Returns when everything is there.
  void finish();

 private:
  static constexpr std::uint64_t kBufferBytes = std::uint64_t{8} << 20U;
  struct Buffer {
    Pinned memory;
    std::unique_ptr<Event> copied;
    bool in_use = false;
  };

  // A buffer that is not being copied from, of at least `bytes`.
  Buffer& next(std::uint64_t bytes);
  void send(Buffer& buffer, std::byte* to, std::uint64_t bytes);
  [[nodiscard]] Memory sent(std::span<const float> values, std::string_view what);

  Runtime& runtime_;
  Stream& stream_;
  DType stored_;
  Buffer buffers_[2];
  std::size_t turn_ = 0;
};

}  // namespace mlbench::gpu
