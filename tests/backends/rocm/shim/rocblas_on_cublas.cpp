// For tests: a librocblas.so that hands on to cuBLAS.
#include <cstdio>

#include <cublas_v2.h>
#include <rocblas/rocblas.h>

namespace {

cublasHandle_t own(rocblas_handle handle) { return reinterpret_cast<cublasHandle_t>(handle); }

rocblas_status status_of(cublasStatus_t status) {
  return status == CUBLAS_STATUS_SUCCESS ? rocblas_status_success : rocblas_status_internal_error;
}

cudaDataType type_of(rocblas_datatype type) {
  return type == rocblas_datatype_bf16_r ? CUDA_R_16BF : type == rocblas_datatype_f16_r ? CUDA_R_16F : CUDA_R_32F;
}

cublasOperation_t operation_of(rocblas_operation operation) {
  return operation == rocblas_operation_transpose ? CUBLAS_OP_T : CUBLAS_OP_N;
}

}  // namespace

extern "C" {

rocblas_status rocblas_create_handle(rocblas_handle* handle) {
  cublasHandle_t made = nullptr;
  const rocblas_status status = status_of(cublasCreate(&made));
  *handle = reinterpret_cast<rocblas_handle>(made);
  return status;
}
rocblas_status rocblas_destroy_handle(rocblas_handle handle) { return status_of(cublasDestroy(own(handle))); }
rocblas_status rocblas_set_stream(rocblas_handle handle, hipStream_t stream) {
  return status_of(cublasSetStream(own(handle), stream));
}
rocblas_status rocblas_set_workspace(rocblas_handle handle, void* memory, std::size_t bytes) {
  return status_of(cublasSetWorkspace(own(handle), memory, bytes));
}
rocblas_status rocblas_set_atomics_mode(rocblas_handle handle, rocblas_atomics_mode /*not allowed*/) {
  return status_of(cublasSetAtomicsMode(own(handle), CUBLAS_ATOMICS_NOT_ALLOWED));
}

// In place, as the backend asks for it: c is d.
rocblas_status rocblas_gemm_ex(rocblas_handle handle, rocblas_operation trans_a, rocblas_operation trans_b,
                               rocblas_int m, rocblas_int n, rocblas_int k, const void* alpha, const void* a,
                               rocblas_datatype a_type, rocblas_int lda, const void* b, rocblas_datatype b_type,
                               rocblas_int ldb, const void* beta, const void* c, rocblas_datatype /*c_type*/,
                               rocblas_int /*ldc*/, void* d, rocblas_datatype d_type, rocblas_int ldd,
                               rocblas_datatype /*compute_type*/, rocblas_gemm_algo /*algo*/, std::int32_t /*solution*/,
                               std::uint32_t /*flags*/) {
  if (handle == nullptr) return rocblas_status_invalid_handle;
  if (c != d) return rocblas_status_internal_error;
  return status_of(cublasGemmEx(own(handle), operation_of(trans_a), operation_of(trans_b), m, n, k, alpha, a,
                                type_of(a_type), lda, b, type_of(b_type), ldb, beta, d, type_of(d_type), ldd,
                                CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
}

const char* rocblas_status_to_string(rocblas_status status) {
  return status == rocblas_status_success ? "success" : "an error of cuBLAS's";
}

rocblas_status rocblas_get_version_string(char* text, std::size_t bytes) {
  std::snprintf(text, bytes, "%d.%d on cuBLAS", CUBLAS_VER_MAJOR, CUBLAS_VER_MINOR);
  return rocblas_status_success;
}
}
