// y = x W^T + bias by cuBLASLt, sums in float32. For a shape the library is asked once how it would do it, and does it
// so from then on: a row's result depends on what is multiplied, not on when.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>

#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include "backends/cuda/cublas_library.h"
#include "backends/gpu/runtime.h"

namespace mlbench::cuda {

// What decides how a product is done.
struct ProductShape {
  DType stored = DType::f32;
  bool bias = false;
  Index rows = 0, in = 0, out = 0;
  // Of x, W and y, in bytes, a power of two; no kernel asks for more than kFullAlignment.
  std::uint32_t x_alignment = 0, weight_alignment = 0, y_alignment = 0;

  // NOLINTNEXTLINE(modernize-use-nullptr): clang-tidy 14 takes the comparison with 0 for one with a pointer
  friend auto operator<=>(const ProductShape&, const ProductShape&) = default;
};
inline constexpr std::uint32_t kFullAlignment = 16;

[[nodiscard]] ProductShape shape_of(const gpu::ProductCall& call);

// Products on the device that is current where this is made. They share the workspace, hence: in one stream at a time.
class CublasProducts {
 public:
  CublasProducts(const CublasFunctions& library, void* workspace, std::uint64_t workspace_bytes);

  // Queues it. False: without the bias, which the library adds to no such product.
  [[nodiscard]] bool multiply(cudaStream_t stream, const gpu::ProductCall& call);

  // Shapes that were met.
  [[nodiscard]] std::size_t planned() const { return plans_.size(); }

 private:
  template <class T>
  using Handle = std::unique_ptr<T, cublasStatus_t (*)(T*)>;
  using Layout = Handle<cublasLtMatrixLayoutOpaque_t>;
  struct Plan {
    bool adds_bias = false;
    Handle<cublasLtMatmulDescOpaque_t> operation;
    Layout weight, x, y;
    cublasLtMatmulAlgo_t algorithm{};
  };

  [[nodiscard]] Layout layout(cudaDataType_t type, Index rows, Index cols) const;
  [[nodiscard]] Handle<cublasLtMatmulPreferenceOpaque_t> preference(const ProductShape& shape) const;
  [[nodiscard]] Plan described(const ProductShape& shape, const float* bias) const;
  [[nodiscard]] bool choose(const ProductShape& shape, Plan& plan) const;
  [[nodiscard]] Plan make_plan(const ProductShape& shape, const float* bias) const;
  [[nodiscard]] Plan& plan(const ProductShape& shape, const float* bias);

  const CublasFunctions* library_;
  Handle<cublasLtContext> handle_;
  void* workspace_;
  std::uint64_t workspace_bytes_;
  std::map<ProductShape, Plan> plans_;
};

}  // namespace mlbench::cuda
