#include "backends/cuda/cuda_api.h"
#include "backends/cuda/cuda_platform.h"
#include "backends/gpu/vendor/platform.h"

namespace mlbench::cuda {

std::unique_ptr<gpu::Platform> make_cuda_platform() { return std::make_unique<gpu::vendor::VendorPlatform<CudaApi>>(); }

}  // namespace mlbench::cuda
