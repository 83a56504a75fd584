// Products by cuBLASLt alone.
#pragma once

#include "backends/cuda/cublas_lt.h"
#include "backends/cuda/cuda_api.h"
#include "backends/gpu/vendor/products.h"

namespace mlbench::cuda {

class CublasProducts final : public gpu::vendor::Products<CudaApi> {
 public:
  CublasProducts(const CublasFunctions& library, void* workspace, std::uint64_t workspace_bytes)
      : library_(&library), products_(library, workspace, workspace_bytes) {}

  [[nodiscard]] bool multiply(cudaStream_t stream, const gpu::ProductCall& call) override;

  // Shapes that were met.
  [[nodiscard]] std::size_t planned() const { return products_.planned(); }

 private:
  const CublasFunctions* library_;
  gpu::vendor::LtProducts<CublasLt> products_;
};

}  // namespace mlbench::cuda
