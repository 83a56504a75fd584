// The kernels of backends/gpu, as hipcc makes them: compiled once for each width of warps, MLBENCH_ROCM_WARP_WIDTH, and
// the processors that have it.
#include "backends/gpu/kernels/launched_kernels.h"
#include "backends/rocm/hip_api.h"

namespace mlbench::rocm {
namespace {

// MI200's matrix cores take subnormal factors for zero (AMD, ROCm documentation, "MI200 MFMA behavior"): nothing for
// bf16, whose subnormals are float32's, but f16 begins at 6e-5 there, where probabilities of a long context lie.
gpu::hip_device::TileTypes tile_types_of(const std::string& processor) {
  return {.bf16 = processor == "gfx90a" || processor == "gfx942", .f16 = processor == "gfx942"};
}

using OwnKernels = gpu::hip_device::LaunchedKernels<MLBENCH_ROCM_WARP_WIDTH>;

}  // namespace

#if MLBENCH_ROCM_WARP_WIDTH == 64
std::unique_ptr<gpu::Kernels> make_kernels_of_64(const std::string& processor) {
#else
std::unique_ptr<gpu::Kernels> make_kernels_of_32(const std::string& processor) {
#endif
  return std::make_unique<OwnKernels>(tile_types_of(processor));
}

}  // namespace mlbench::rocm
