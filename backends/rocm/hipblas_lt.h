// hipBLASLt, of cuBLASLt's kind, where its header was there when this was built (ROCm 6 or newer). Defined twice:
// hipblas_lt.cpp, or without_hipblas_lt.cpp, where there is none.
#pragma once

#include <cstdint>
#include <memory>

#include "backends/gpu/vendor/lt_products.h"
#include "backends/rocm/hip_api.h"

namespace mlbench::rocm {

class HipblasLtProducts {
 public:
  virtual ~HipblasLtProducts() = default;
  [[nodiscard]] virtual gpu::vendor::Queued queue(hipStream_t stream, const gpu::ProductCall& call) = 0;
};

// On the current device; null where the library cannot be opened.
[[nodiscard]] std::unique_ptr<HipblasLtProducts> make_lt_products(void* workspace, std::uint64_t workspace_bytes);

// ", hipBLASLt"; "" where the library cannot be opened.
[[nodiscard]] std::string lt_version();

}  // namespace mlbench::rocm
