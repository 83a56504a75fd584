// rocBLAS, opened when a device is used: of some gigabytes, it is neither carried along nor needed where there is none.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include <rocblas/rocblas.h>

namespace mlbench::rocm {

// What is used of it.
struct RocblasFunctions {
  decltype(&rocblas_create_handle) create = nullptr;
  decltype(&rocblas_destroy_handle) destroy = nullptr;
  decltype(&rocblas_set_stream) set_stream = nullptr;
  decltype(&rocblas_set_workspace) set_workspace = nullptr;
  // Written out: newer headers deprecate the first, as what it asks for becomes the rule, and some hide the second
  // behind a macro.
  rocblas_status (*set_atomics_mode)(rocblas_handle handle, rocblas_atomics_mode mode) = nullptr;
  rocblas_status (*gemm)(rocblas_handle handle, rocblas_operation trans_a, rocblas_operation trans_b, rocblas_int m,
                         rocblas_int n, rocblas_int k, const void* alpha, const void* a, rocblas_datatype a_type,
                         rocblas_int lda, const void* b, rocblas_datatype b_type, rocblas_int ldb, const void* beta,
                         const void* c, rocblas_datatype c_type, rocblas_int ldc, void* d, rocblas_datatype d_type,
                         rocblas_int ldd, rocblas_datatype compute_type, rocblas_gemm_algo algo, int32_t solution_index,
                         uint32_t flags) = nullptr;
  decltype(&rocblas_status_to_string) status_to_string = nullptr;
  decltype(&rocblas_get_version_string) get_version_string = nullptr;
};

// The first of `names` that can be opened; it stays so until the process ends. Throws ErrorKind::unavailable with code
// backend.unavailable, saying what became of each of them.
[[nodiscard]] RocblasFunctions open_rocblas(std::span<const std::string> names);

// The one that this is built with, opened once.
[[nodiscard]] const RocblasFunctions& rocblas();

// "3.1.0.bcf3d4f"
[[nodiscard]] std::string rocblas_version();

// Throws ErrorKind::internal, backend.failed: "rocm: rocBLAS: DOING: ...".
void check(const RocblasFunctions& library, rocblas_status status, std::string_view doing);

}  // namespace mlbench::rocm
