#include "backends/cuda/cuda_api.h"

#include <cstdlib>

#include <fmt/format.h>

#include "backends/cuda/cublas_product.h"
#include "backends/cuda/nccl_library.h"
#include "backends/gpu/vendor/status.h"
#include "core/error.h"

namespace mlbench::cuda {
namespace {

constexpr int kOldestMajor = 8;  // cmake/cuda.cmake: architectures

std::string cuda_version_text(int version) { return fmt::format("{}.{}", version / 1000, version / 10 % 100); }

}  // namespace

std::string CudaApi::why_not_counted(Status status) {
  const std::string said =
      fmt::format("cudaGetDeviceCount says {}, {}", static_cast<int>(status), cudaGetErrorString(status));
  int driver = 0;  // the newest CUDA that it serves; stays 0 where there is none
  static_cast<void>(cudaDriverGetVersion(&driver));
  if (driver == 0)
    return fmt::format("no CUDA driver: {}; the machine has no NVIDIA GPU or its driver is missing", said);
  if (status == cudaErrorInsufficientDriver) {
    return fmt::format("the CUDA driver is too old: {}; it serves CUDA {}, this build needs {}", said,
                       cuda_version_text(driver), cuda_version_text(CUDART_VERSION));
  }
  const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
  return fmt::format("no CUDA device: {}{}", said,
                     visible == nullptr ? "" : fmt::format("; CUDA_VISIBLE_DEVICES is {}", in_quotes(visible)));
}

std::string CudaApi::why_no_library() {
  try {
    static_cast<void>(cublas());
    return "";
  } catch (const Error& error) {
    return error.message();
  }
}

std::string CudaApi::why_without_kernels(const Properties& said) {
  if (said.major >= kOldestMajor) return "";
  return fmt::format("its compute capability is {}.{}, kernels are built for {}.0 and newer", said.major, said.minor,
                     kOldestMajor);
}

std::string CudaApi::processor_of(const Properties& said) { return fmt::format("sm_{}{}", said.major, said.minor); }

gpu::DeviceProperties CudaApi::properties_of(const Properties& said) {
  return {.name = said.name,
          .memory_bytes = said.totalGlobalMem,
          .warp_width = said.warpSize,
          .shared_bytes = static_cast<Index>(said.sharedMemPerBlockOptin),
          .processors = said.multiProcessorCount};
}

// f32 by fused multiply-adds. Tensor cores add exact products of bf16 and f16 to a float32 sum after aligning all
// terms, and drop what falls off the end (Fasi, Higham, Mikaitis and Pranesh, "Numerical behavior of NVIDIA tensor
// cores", PeerJ Comput. Sci. 7, 2021).
backends::Summation CudaApi::product_sums(DType stored) {
  if (stored == DType::bf16 || stored == DType::f16) return {.fused = 1, .truncates = true};
  return {};
}

std::string CudaApi::version() {
  const std::string cublas_text =
      why_no_library().empty() ? "cuBLASLt " + version_text(cublas().get_version()) : "without cuBLASLt";
  const auto nccl = make_nccl(0);
  return fmt::format("CUDA {}, {}, {}", cuda_version_text(CUDART_VERSION), cublas_text,
                     nccl == nullptr ? "without NCCL" : nccl->name());
}

std::unique_ptr<gpu::CollectiveLibrary> CudaApi::make_collective_library(int device) { return make_nccl(device); }

std::unique_ptr<gpu::vendor::Products<CudaApi>> CudaApi::make_products(void* workspace, std::uint64_t workspace_bytes) {
  return std::make_unique<CublasProducts>(cublas(), workspace, workspace_bytes);
}

}  // namespace mlbench::cuda
