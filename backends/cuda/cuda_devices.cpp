// Which devices there are, and what is missing where there are none.
#include <algorithm>
#include <cstdlib>

#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include "backends/cuda/cublas_library.h"
#include "backends/cuda/cuda_error.h"
#include "backends/cuda/cuda_runtime.h"
#include "core/error.h"

namespace mlbench::cuda {
namespace {

constexpr int kOldestMajor = 8;  // cmake/cuda.cmake: architectures

// What was looked for: devices, or why there is none.
struct Found {
  std::vector<CudaDevice> devices;
  std::string why_none;
};

std::string cuda_version_text(int version) { return fmt::format("{}.{}", version / 1000, version / 10 % 100); }

std::string why_not_counted(cudaError_t status) {
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

std::string why_no_cublas() {
  try {
    static_cast<void>(cublas());
    return "";
  } catch (const Error& error) {
    return error.message();
  }
}

// Adds the device, or says why not.
std::string add_device(int index, std::vector<CudaDevice>& devices) {
  cudaDeviceProp said{};
  if (const cudaError_t status = cudaGetDeviceProperties(&said, index); status != cudaSuccess) {
    static_cast<void>(cudaGetLastError());
    return fmt::format("device {}: {}", index, text_of(status));
  }
  if (said.major < kOldestMajor) {
    return fmt::format("device {}, {}: its compute capability is {}.{}, kernels are built for {}.0 and newer", index,
                       said.name, said.major, said.minor, kOldestMajor);
  }
  devices.push_back({index, said.name, said.totalGlobalMem, said.major, said.minor});
  return "";
}

Found look() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess || count == 0) {
    static_cast<void>(cudaGetLastError());
    return {{}, why_not_counted(status == cudaSuccess ? cudaErrorNoDevice : status)};
  }
  if (std::string why = why_no_cublas(); !why.empty()) return {{}, std::move(why)};
  Found found;
  for (int index = 0; index < count; ++index) {
    const std::string why = add_device(index, found.devices);
    if (!why.empty()) found.why_none += (found.why_none.empty() ? "" : "; ") + why;
  }
  if (!found.devices.empty()) found.why_none.clear();
  return found;
}

}  // namespace

std::vector<CudaDevice> cuda_devices() { return look().devices; }
std::string cuda_why_none() { return look().why_none; }

std::string cuda_version() {
  const std::string cublas_text =
      why_no_cublas().empty() ? "cuBLASLt " + version_text(cublas().get_version()) : "without cuBLASLt";
  return fmt::format("CUDA {}, {}", cuda_version_text(CUDART_VERSION), cublas_text);
}

}  // namespace mlbench::cuda
