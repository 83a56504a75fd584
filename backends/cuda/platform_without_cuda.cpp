#include "backends/cuda/cuda_platform.h"

namespace mlbench::cuda {

std::unique_ptr<gpu::Platform> make_cuda_platform() {
  return gpu::make_host_platform("cuda", "this build is without the CUDA toolkit", 32);
}

}  // namespace mlbench::cuda
