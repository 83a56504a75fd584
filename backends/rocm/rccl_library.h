// RCCL, opened when it is first asked for. Defined twice: with its header (rccl_library.cpp), and without it
// (without_rccl.cpp), where sums of shards go through the host.
#pragma once

#include <memory>

#include "backends/gpu/collectives.h"

namespace mlbench::rocm {

// For a device as HIP counts. Null where there is no RCCL.
[[nodiscard]] std::unique_ptr<gpu::CollectiveLibrary> make_rccl(int device);

}  // namespace mlbench::rocm
