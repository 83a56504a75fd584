#include "backends/plugin/exporter.h"
#include "backends/rocm/rocm_platform.h"

namespace mlbench::rocm {
namespace {

std::unique_ptr<backends::Backend> make_rocm_backend() { return gpu::make_gpu_backend(make_rocm_platform()); }

}  // namespace
}  // namespace mlbench::rocm

MLBENCH_EXPORT_BACKEND("rocm", mlbench::rocm::make_rocm_backend)
