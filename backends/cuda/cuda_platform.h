// NVIDIA's part of the CUDA backend. Defined twice: with the toolkit (platform_with_cuda.cpp), and without it
// (platform_without_cuda.cpp), where the host executor is the only device.
#pragma once

#include <memory>

#include "backends/gpu/gpu_backend.h"

namespace mlbench::cuda {

[[nodiscard]] std::unique_ptr<gpu::Platform> make_cuda_platform();

}  // namespace mlbench::cuda
