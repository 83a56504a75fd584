// For tests: what the ROCm backend takes of rocBLAS, which rocblas_on_cublas.cpp defines.
#pragma once

#include <cstddef>
#include <cstdint>

#include <hip/hip_runtime_api.h>

using rocblas_int = std::int32_t;
using rocblas_handle = struct _rocblas_handle*;
enum rocblas_status { rocblas_status_success = 0, rocblas_status_invalid_handle = 1, rocblas_status_internal_error = 6 };
enum rocblas_operation { rocblas_operation_none = 111, rocblas_operation_transpose = 112 };
enum rocblas_datatype { rocblas_datatype_f16_r = 150, rocblas_datatype_f32_r = 151, rocblas_datatype_bf16_r = 168 };
enum rocblas_gemm_algo { rocblas_gemm_algo_standard = 0 };
enum rocblas_atomics_mode { rocblas_atomics_not_allowed = 0 };

extern "C" {
rocblas_status rocblas_create_handle(rocblas_handle* handle);
rocblas_status rocblas_destroy_handle(rocblas_handle handle);
rocblas_status rocblas_set_stream(rocblas_handle handle, hipStream_t stream);
rocblas_status rocblas_set_workspace(rocblas_handle handle, void* memory, std::size_t bytes);
rocblas_status rocblas_set_atomics_mode(rocblas_handle handle, rocblas_atomics_mode mode);
rocblas_status rocblas_gemm_ex(rocblas_handle handle, rocblas_operation trans_a, rocblas_operation trans_b,
                               rocblas_int m, rocblas_int n, rocblas_int k, const void* alpha, const void* a,
                               rocblas_datatype a_type, rocblas_int lda, const void* b, rocblas_datatype b_type,
                               rocblas_int ldb, const void* beta, const void* c, rocblas_datatype c_type,
                               rocblas_int ldc, void* d, rocblas_datatype d_type, rocblas_int ldd,
                               rocblas_datatype compute_type, rocblas_gemm_algo algo, std::int32_t solution,
                               std::uint32_t flags);
const char* rocblas_status_to_string(rocblas_status status);
rocblas_status rocblas_get_version_string(char* text, std::size_t bytes);
}
