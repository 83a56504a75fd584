// Host memory that a device's copies need not stage.
#pragma once

#include <cstddef>
#include <utility>

#include "backends/gpu/runtime.h"

namespace mlbench::gpu {

class Pinned {
 public:
  Pinned() = default;
  Pinned(Runtime& runtime, std::uint64_t bytes, std::string_view what)
      : runtime_(&runtime), data_(static_cast<std::byte*>(runtime.allocate_pinned(bytes, what))), bytes_(bytes) {}
  Pinned(Pinned&& other) noexcept { swap(other); }
  Pinned& operator=(Pinned&& other) noexcept {
    Pinned(std::move(other)).swap(*this);
    return *this;
  }
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;
  ~Pinned() {
    if (data_ != nullptr) runtime_->release_pinned(data_);
  }

  [[nodiscard]] std::byte* data() const { return data_; }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }

 private:
  void swap(Pinned& other) noexcept {
    std::swap(runtime_, other.runtime_);
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
  }

  Runtime* runtime_ = nullptr;
  std::byte* data_ = nullptr;
  std::uint64_t bytes_ = 0;
};

}  // namespace mlbench::gpu
