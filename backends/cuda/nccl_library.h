// NCCL, opened when it is first asked for. Defined twice: with its header (nccl_library.cpp), and without it
// (without_nccl.cpp), where sums of shards go through the host.
#pragma once

#include <memory>

#include "backends/gpu/collectives.h"

namespace mlbench::cuda {

// For a device as CUDA counts. Null where there is no NCCL.
[[nodiscard]] std::unique_ptr<gpu::CollectiveLibrary> make_nccl(int device);

}  // namespace mlbench::cuda
