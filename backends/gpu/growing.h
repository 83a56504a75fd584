// Memory that a session uses again and again, larger when a call needs more. What stood there is lost then, and work
// that was recorded with the old address must not run again: generation() tells.
#pragma once

#include <cstdint>
#include <string_view>

#include "backends/gpu/runtime.h"

namespace mlbench::gpu {

class Growing {
 public:
  explicit Growing(Runtime& runtime) : runtime_(runtime) {}

  // How often any of these buffers has moved.
  [[nodiscard]] std::uint64_t generation() const { return generation_; }

  template <class Owner>  // Memory or Pinned
  void* reserve(Owner& memory, std::uint64_t bytes, std::string_view what) {
    if (memory.data() == nullptr || memory.bytes() < bytes) {
      memory = Owner();  // first, so that both need never fit
      memory = Owner(runtime_, bytes, what);
      ++generation_;
    }
    return memory.data();
  }
  float* floats(Memory& memory, Index count, std::string_view what) {
    return static_cast<float*>(reserve(memory, static_cast<std::uint64_t>(count) * sizeof(float), what));
  }

 private:
  Runtime& runtime_;
  std::uint64_t generation_ = 0;
};

}  // namespace mlbench::gpu
