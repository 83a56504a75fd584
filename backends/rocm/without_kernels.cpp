// For a width of warps, MLBENCH_ROCM_WARP_WIDTH, that none of the processors this is built for has: HipApi refuses the
// devices that do before they get here.
#include "backends/rocm/hip_api.h"

namespace mlbench::rocm {

#if MLBENCH_ROCM_WARP_WIDTH == 64
std::unique_ptr<gpu::Kernels> make_kernels_of_64(const std::string& /*processor*/) { return nullptr; }
#else
std::unique_ptr<gpu::Kernels> make_kernels_of_32(const std::string& /*processor*/) { return nullptr; }
#endif

}  // namespace mlbench::rocm
