#include "backends/gpu/vendor/platform.h"
#include "backends/rocm/hip_api.h"
#include "backends/rocm/rocm_platform.h"

namespace mlbench::rocm {

std::unique_ptr<gpu::Platform> make_rocm_platform() { return std::make_unique<gpu::vendor::VendorPlatform<HipApi>>(); }

}  // namespace mlbench::rocm
