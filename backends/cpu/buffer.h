// Memory that is written before it is read, aligned for the widest vectors.
#pragma once

#include <cstddef>
#include <memory>
#include <new>

#include "core/tensor.h"

namespace mlbench::cpu {

class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::size_t bytes) { reserve(bytes); }

  // At least `bytes`; what stood there is lost when that is more than before.
  std::byte* reserve(std::size_t bytes) {
    if (bytes > size_) {
      data_.reset();
      data_.reset(static_cast<std::byte*>(::operator new(bytes, kAlignment)));
      size_ = bytes;
    }
    return data_.get();
  }
  float* floats(Index count) {
    return reinterpret_cast<float*>(reserve(static_cast<std::size_t>(count) * sizeof(float)));
  }
  [[nodiscard]] const std::byte* data() const { return data_.get(); }
  [[nodiscard]] std::byte* data() { return data_.get(); }

 private:
  static constexpr std::align_val_t kAlignment{64};
  struct Free {
    void operator()(std::byte* data) const { ::operator delete(data, kAlignment); }
  };

  std::unique_ptr<std::byte, Free> data_;
  std::size_t size_ = 0;
};

}  // namespace mlbench::cpu
