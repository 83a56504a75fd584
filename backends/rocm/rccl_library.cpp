#include "backends/rocm/rccl_library.h"

#include <array>

#include <rccl/rccl.h>

#include "backends/gpu/vendor/ccl.h"
#include "backends/rocm/hip_api.h"

namespace mlbench::rocm {

// It has NCCL's names.
using Rccl = gpu::vendor::Ccl<HipApi, ncclComm_t, ncclUniqueId, ncclSuccess, ncclFloat32, ncclSum>;
static_assert(std::is_same_v<decltype(Rccl::Functions::all_reduce), decltype(&ncclAllReduce)>);
static_assert(std::is_same_v<decltype(Rccl::Functions::join), decltype(&ncclCommInitRank)>);

std::unique_ptr<gpu::CollectiveLibrary> make_rccl(int device) {
  const std::string file = MLBENCH_RCCL;
  return gpu::vendor::make_ccl<Rccl>("RCCL", {"RCCL, which sums over devices,", "it is part of ROCm"},
                                     std::array{file, "/opt/rocm/lib/" + file}, device);
}

}  // namespace mlbench::rocm
