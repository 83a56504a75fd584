#include "backends/rocm/rocm_platform.h"

namespace mlbench::rocm {

std::unique_ptr<gpu::Platform> make_rocm_platform() {
  return gpu::make_host_platform("rocm", "this build is without HIP and rocBLAS", 64);
}

}  // namespace mlbench::rocm
