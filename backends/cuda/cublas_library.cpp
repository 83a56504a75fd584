#include "backends/cuda/cublas_library.h"

#include <dlfcn.h>

#include <array>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"

namespace mlbench::cuda {
namespace {

Error not_there(const std::string& why) {
  return Error(ErrorKind::unavailable, "backend.unavailable",
               "cuBLASLt, which multiplies matrices, cannot be opened: " + why);
}

std::string last_reason() {
  const char* text = ::dlerror();
  return text == nullptr ? "no reason given" : one_line(text);
}

template <class Function>
void find(void* library, const std::string& name, const char* symbol, Function& function) {
  function = reinterpret_cast<Function>(::dlsym(library, symbol));
  if (function == nullptr) throw not_there(fmt::format("{} has no {}", name, symbol));
}

CublasFunctions functions_of(void* library, const std::string& name) {
  CublasFunctions f;
  find(library, name, "cublasLtCreate", f.create);
  find(library, name, "cublasLtDestroy", f.destroy);
  find(library, name, "cublasLtGetVersion", f.get_version);
  find(library, name, "cublasLtGetStatusString", f.get_status_string);
  find(library, name, "cublasLtMatmul", f.matmul);
  find(library, name, "cublasLtMatmulAlgoGetHeuristic", f.get_heuristic);
  find(library, name, "cublasLtMatmulDescCreate", f.create_operation);
  find(library, name, "cublasLtMatmulDescDestroy", f.destroy_operation);
  find(library, name, "cublasLtMatmulDescSetAttribute", f.set_operation);
  find(library, name, "cublasLtMatrixLayoutCreate", f.create_layout);
  find(library, name, "cublasLtMatrixLayoutDestroy", f.destroy_layout);
  find(library, name, "cublasLtMatmulPreferenceCreate", f.create_preference);
  find(library, name, "cublasLtMatmulPreferenceDestroy", f.destroy_preference);
  find(library, name, "cublasLtMatmulPreferenceSetAttribute", f.set_preference);
  return f;
}

}  // namespace

CublasFunctions open_cublas(std::span<const std::string> names) {
  std::vector<std::string> reasons;
  for (const std::string& name : names) {
    if (void* library = ::dlopen(name.c_str(), RTLD_LAZY | RTLD_LOCAL)) return functions_of(library, name);
    reasons.push_back(last_reason());
  }
  throw not_there(fmt::format("{} (it comes with the CUDA toolkit)", fmt::join(reasons, "; ")));
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
