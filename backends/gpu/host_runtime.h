// The host as a device: kernels run thread by thread on the processor (backends/gpu/executor), products are plain
// loops. Everything is done when it is asked for; streams and events have nothing to wait for. A check of what a
// backend computes, on any machine; of its speed nothing follows.
#pragma once

#include <memory>

#include "backends/gpu/runtime.h"

namespace mlbench::gpu {

// `warp_width` 32, as NVIDIA's devices have it, or 64, as AMD's.
[[nodiscard]] std::unique_ptr<Runtime> make_host_runtime(int warp_width);

}  // namespace mlbench::gpu
