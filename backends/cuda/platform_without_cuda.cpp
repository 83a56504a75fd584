#include "backends/cuda/cuda_platform.h"
#include "core/error.h"

namespace mlbench::cuda {
namespace {

constexpr const char* kMissing = "this build is without the CUDA toolkit";

class CudaPlatform final : public gpu::Platform {
 public:
  [[nodiscard]] std::string_view name() const override { return "cuda"; }
  [[nodiscard]] std::string version() const override { return kMissing; }
  [[nodiscard]] std::string why_none() const override { return kMissing; }
  [[nodiscard]] int warp_width() const override { return kWarpWidth; }
  [[nodiscard]] std::vector<backends::DeviceInfo> devices() const override { return {}; }
  [[nodiscard]] std::unique_ptr<gpu::Runtime> make_runtime(int /*device*/) const override {
    throw Error(ErrorKind::unavailable, "backend.unavailable", kMissing);
  }
};

}  // namespace

std::unique_ptr<gpu::Platform> make_cuda_platform() { return std::make_unique<CudaPlatform>(); }

}  // namespace mlbench::cuda
