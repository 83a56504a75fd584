#include "backends/cuda/cuda_platform.h"
#include "backends/plugin/exporter.h"

namespace mlbench::cuda {
namespace {

std::unique_ptr<backends::Backend> make_cuda_backend() { return gpu::make_gpu_backend(make_cuda_platform()); }

}  // namespace
}  // namespace mlbench::cuda

MLBENCH_EXPORT_BACKEND("cuda", mlbench::cuda::make_cuda_backend)
