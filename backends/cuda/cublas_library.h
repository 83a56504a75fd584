// cuBLASLt, opened while the program runs: of half a gigabyte, it is neither carried along nor needed where there is no
// device.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include <cublasLt.h>

namespace mlbench::cuda {

// What is used of it.
struct CublasFunctions {
  decltype(&cublasLtCreate) create = nullptr;
  decltype(&cublasLtDestroy) destroy = nullptr;
  decltype(&cublasLtGetVersion) get_version = nullptr;
  decltype(&cublasLtGetStatusString) get_status_string = nullptr;
  decltype(&cublasLtMatmul) matmul = nullptr;
  decltype(&cublasLtMatmulAlgoGetHeuristic) get_heuristic = nullptr;
  decltype(&cublasLtMatmulDescCreate) create_operation = nullptr;
  decltype(&cublasLtMatmulDescDestroy) destroy_operation = nullptr;
  decltype(&cublasLtMatmulDescSetAttribute) set_operation = nullptr;
  decltype(&cublasLtMatrixLayoutCreate) create_layout = nullptr;
  decltype(&cublasLtMatrixLayoutDestroy) destroy_layout = nullptr;
  decltype(&cublasLtMatmulPreferenceCreate) create_preference = nullptr;
  decltype(&cublasLtMatmulPreferenceDestroy) destroy_preference = nullptr;
  decltype(&cublasLtMatmulPreferenceSetAttribute) set_preference = nullptr;
};

// The first of `names` that can be opened; it stays so until the process ends. Throws ErrorKind::unavailable with code
// backend.unavailable, saying what became of each of them.
[[nodiscard]] CublasFunctions open_cublas(std::span<const std::string> names);

// The one of the toolkit that this is built with, opened once.
[[nodiscard]] const CublasFunctions& cublas();

// "13.1.0" of 130100
[[nodiscard]] std::string version_text(std::size_t version);

// Throws ErrorKind::internal, backend.failed: "cuda: cuBLASLt: DOING: ...".
void check(const CublasFunctions& library, cublasStatus_t status, std::string_view doing);

}  // namespace mlbench::cuda
