// y = x W^T + bias: by hipBLASLt, where this is built with it, it is there and has a way; else by rocBLAS, which adds
// no bias. Sums in float32.
#pragma once

#include <cstdint>
#include <memory>
#include <type_traits>

#include "backends/gpu/vendor/products.h"
#include "backends/rocm/hip_api.h"
#include "backends/rocm/hipblas_lt.h"
#include "backends/rocm/rocblas_library.h"

namespace mlbench::rocm {

class RocmProducts final : public gpu::vendor::Products<HipApi> {
 public:
  RocmProducts(const RocblasFunctions& library, void* workspace, std::uint64_t workspace_bytes);

  [[nodiscard]] bool multiply(hipStream_t stream, const gpu::ProductCall& call) override;

 private:
  const RocblasFunctions* library_;
  std::unique_ptr<std::remove_pointer_t<rocblas_handle>, decltype(RocblasFunctions::destroy)> handle_;
  std::unique_ptr<HipblasLtProducts> lt_products_;  // null: not there
};

}  // namespace mlbench::rocm
