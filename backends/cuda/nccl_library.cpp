#include "backends/cuda/nccl_library.h"

#include <array>

#include <nccl.h>

#include "backends/cuda/cuda_api.h"
#include "backends/gpu/vendor/ccl.h"

namespace mlbench::cuda {

using Nccl = gpu::vendor::Ccl<CudaApi, ncclComm_t, ncclUniqueId, ncclSuccess, ncclFloat32, ncclSum>;
static_assert(std::is_same_v<decltype(Nccl::Functions::all_reduce), decltype(&ncclAllReduce)>);
static_assert(std::is_same_v<decltype(Nccl::Functions::join), decltype(&ncclCommInitRank)>);

std::unique_ptr<gpu::CollectiveLibrary> make_nccl(int device) {
  const std::string file = fmt::format("libnccl.so.{}", NCCL_MAJOR);
  return gpu::vendor::make_ccl<Nccl>("NCCL",
                                     {"NCCL, which sums over devices,", "NVIDIA offers it beside the CUDA toolkit"},
                                     std::array{file, "/usr/local/cuda/lib64/" + file}, device);
}

}  // namespace mlbench::cuda
