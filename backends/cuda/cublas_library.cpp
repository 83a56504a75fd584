#include "backends/cuda/cublas_library.h"

#include <array>

#include <fmt/format.h>

#include "backends/gpu/vendor/library.h"
#include "core/error.h"

namespace mlbench::cuda {

CublasFunctions open_cublas(std::span<const std::string> names) {
  const gpu::vendor::Library library({"cuBLASLt, which multiplies matrices,", "it comes with the CUDA toolkit"}, names);
  CublasFunctions f;
  library.find("cublasLtCreate", f.create);
  library.find("cublasLtDestroy", f.destroy);
  library.find("cublasLtGetVersion", f.get_version);
  library.find("cublasLtGetStatusString", f.get_status_string);
  library.find("cublasLtMatmul", f.matmul);
  library.find("cublasLtMatmulAlgoGetHeuristic", f.get_heuristic);
  library.find("cublasLtMatmulDescCreate", f.create_operation);
  library.find("cublasLtMatmulDescDestroy", f.destroy_operation);
  library.find("cublasLtMatmulDescSetAttribute", f.set_operation);
  library.find("cublasLtMatrixLayoutCreate", f.create_layout);
  library.find("cublasLtMatrixLayoutDestroy", f.destroy_layout);
  library.find("cublasLtMatmulPreferenceCreate", f.create_preference);
  library.find("cublasLtMatmulPreferenceDestroy", f.destroy_preference);
  library.find("cublasLtMatmulPreferenceSetAttribute", f.set_preference);
  return f;
}

const CublasFunctions& cublas() {
  static const CublasFunctions library = [] {
    const std::string name = fmt::format("libcublasLt.so.{}", CUBLAS_VER_MAJOR);
    return open_cublas(std::array{name, "/usr/local/cuda/lib64/" + name});
  }();
  return library;
}

std::string version_text(std::size_t version) {
  return fmt::format("{}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

void check(const CublasFunctions& library, cublasStatus_t status, std::string_view doing) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw Error(ErrorKind::internal, "backend.failed",
              fmt::format("cuda: cuBLASLt: {}: {}", doing, library.get_status_string(status)));
}

}  // namespace mlbench::cuda
