#include "backends/rocm/rocblas_library.h"

#include <array>

#include <fmt/format.h>

#include "backends/gpu/vendor/library.h"
#include "core/error.h"

namespace mlbench::rocm {

RocblasFunctions open_rocblas(std::span<const std::string> names) {
  const gpu::vendor::Library library({"rocBLAS, which multiplies matrices,", "it is part of ROCm"}, names);
  RocblasFunctions f;
  library.find("rocblas_create_handle", f.create);
  library.find("rocblas_destroy_handle", f.destroy);
  library.find("rocblas_set_stream", f.set_stream);
  library.find("rocblas_set_workspace", f.set_workspace);
  library.find("rocblas_set_atomics_mode", f.set_atomics_mode);
  library.find("rocblas_gemm_ex", f.gemm);
  library.find("rocblas_status_to_string", f.status_to_string);
  library.find("rocblas_get_version_string", f.get_version_string);
  return f;
}

// By the name that it has for programs, here or in AMD's own place.
const RocblasFunctions& rocblas() {
  static const RocblasFunctions library = [] {
    const std::string name = MLBENCH_ROCBLAS;
    return open_rocblas(std::array{name, "/opt/rocm/lib/" + name});
  }();
  return library;
}

std::string rocblas_version() {
  std::array<char, 64> text{};
  check(rocblas(), rocblas().get_version_string(text.data(), text.size()), "asking for its version");
  return text.data();
}

void check(const RocblasFunctions& library, rocblas_status status, std::string_view doing) {
  if (status == rocblas_status_success) return;
  throw Error(ErrorKind::internal, "backend.failed",
              fmt::format("rocm: rocBLAS: {}: {}", doing, library.status_to_string(status)));
}

}  // namespace mlbench::rocm
