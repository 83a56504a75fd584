// The kernels of backends/gpu, as nvcc makes them.
#include "backends/cuda/cuda_api.h"
#include "backends/gpu/kernels/launched_kernels.h"
#include "backends/gpu/vendor/stream.h"

namespace mlbench {

cudaStream_t gpu::cuda_device::native_stream(Stream& stream) {
  return gpu::vendor::native_for_launch<cuda::CudaApi>(stream);
}

std::unique_ptr<gpu::Kernels> cuda::CudaApi::make_kernels(const Properties& /*said*/) {
  return std::make_unique<gpu::cuda_device::LaunchedKernels<kWarpWidth>>();
}

}  // namespace mlbench
