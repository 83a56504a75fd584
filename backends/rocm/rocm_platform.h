// AMD's part of the ROCm backend. Defined twice: with HIP (platform_with_rocm.cpp), and without it
// (platform_without_rocm.cpp), where the host executor is the only device.
#pragma once

#include <memory>

#include "backends/gpu/gpu_backend.h"

namespace mlbench::rocm {

[[nodiscard]] std::unique_ptr<gpu::Platform> make_rocm_platform();

}  // namespace mlbench::rocm
