// CUDA as a device of backends/gpu. No header of CUDA's is needed here, nor a driver to ask.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "backends/gpu/runtime.h"

namespace mlbench::cuda {

struct CudaDevice {
  int index = 0;  // as CUDA counts
  std::string name;
  std::uint64_t memory_bytes = 0;
  int major = 0, minor = 0;  // compute capability
};

// Those that this build has kernels for, where driver and libraries are there. Throws nothing.
[[nodiscard]] std::vector<CudaDevice> cuda_devices();
// Why there are none, in one line; "" where there are.
[[nodiscard]] std::string cuda_why_none();

// "CUDA 13.0, cuBLASLt 13.1.0"; "CUDA 13.0, without cuBLASLt" where it cannot be opened.
[[nodiscard]] std::string cuda_version();

// Of one of cuda_devices(). Throws ErrorKind::unavailable, backend.unavailable, where the device or cuBLASLt is not
// there. Products of one runtime share a workspace: they, and graphs that hold them, belong in one stream.
[[nodiscard]] std::unique_ptr<gpu::Runtime> make_cuda_runtime(int device);

// cuda_kernels.cu
[[nodiscard]] std::unique_ptr<gpu::Kernels> make_cuda_kernels();

}  // namespace mlbench::cuda
