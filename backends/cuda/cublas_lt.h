// What backends/gpu/vendor/lt_products.h needs to know of cuBLASLt.
#pragma once

#include <cstdint>

#include "backends/cuda/cublas_library.h"
#include "backends/gpu/vendor/lt_products.h"

namespace mlbench::cuda {

struct CublasLt {
  using Functions = CublasFunctions;
  using Status = cublasStatus_t;
  using Stream = cudaStream_t;
  using Handle = cublasLtHandle_t;
  using Operation = cublasLtMatmulDesc_t;
  using Layout = cublasLtMatrixLayout_t;
  using Preference = cublasLtMatmulPreference_t;
  using Algorithm = cublasLtMatmulAlgo_t;
  using Heuristic = cublasLtMatmulHeuristicResult_t;
  using DataType = cudaDataType_t;
  using OperationName = cublasLtMatmulDescAttributes_t;
  using PreferenceName = cublasLtMatmulPreferenceAttributes_t;
  template <class Raw>
  using Destroy = cublasStatus_t (*)(Raw);

  static constexpr Status kSuccess = CUBLAS_STATUS_SUCCESS, kNotSupported = CUBLAS_STATUS_NOT_SUPPORTED;
  static constexpr cublasComputeType_t kSumsInFloat32 = CUBLAS_COMPUTE_32F;
  static constexpr OperationName kTransposeOfFirst = CUBLASLT_MATMUL_DESC_TRANSA,
                                 kEpilogue = CUBLASLT_MATMUL_DESC_EPILOGUE,
                                 kBiasType = CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE,
                                 kBiasPointer = CUBLASLT_MATMUL_DESC_BIAS_POINTER;
  static constexpr cublasOperation_t kTransposed = CUBLAS_OP_T;
  static constexpr cublasLtEpilogue_t kAddsBias = CUBLASLT_EPILOGUE_BIAS;

  // Throws ErrorKind::internal, backend.failed, for what products are not made for.
  [[nodiscard]] static DataType data_type(DType stored);
  static void check(const Functions& library, Status status, std::string_view doing) {
    cuda::check(library, status, doing);
  }

  // Implementations that would not keep to what is declared: f32 is multiplied as f32, and sums are float32.
  [[nodiscard]] static std::uint64_t forbidden_implementations(DType stored);

  template <class Set>
  static void prefer(const gpu::vendor::ProductShape& shape, std::uint64_t workspace_bytes, const Set& set) {
    set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, workspace_bytes);
    // Parts of a sum are added in a step of their own, in order, or not at all: the same bits in every run.
    set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, std::uint32_t{CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE});
    set(CUBLASLT_MATMUL_PREF_IMPL_MASK, ~forbidden_implementations(shape.stored));
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, shape.weight_alignment);
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, shape.x_alignment);
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, shape.y_alignment);
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, shape.y_alignment);
  }
};

}  // namespace mlbench::cuda
