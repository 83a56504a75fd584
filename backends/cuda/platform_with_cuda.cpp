#include <fmt/format.h>

#include "backends/cuda/cuda_platform.h"
#include "backends/cuda/cuda_runtime.h"

namespace mlbench::cuda {
namespace {

class CudaPlatform final : public gpu::Platform {
 public:
  [[nodiscard]] std::string_view name() const override { return "cuda"; }
  [[nodiscard]] std::string version() const override { return cuda_version(); }
  [[nodiscard]] std::string why_none() const override { return cuda_why_none(); }
  [[nodiscard]] int warp_width() const override { return kWarpWidth; }

  [[nodiscard]] std::vector<backends::DeviceInfo> devices() const override {
    std::vector<backends::DeviceInfo> out;
    for (const CudaDevice& device : cuda_devices()) {
      out.push_back({.id = fmt::format("cuda:{}", device.index),
                     .description = fmt::format("{}, sm_{}{}", device.name, device.major, device.minor),
                     .memory_bytes = device.memory_bytes});
    }
    return out;
  }

  [[nodiscard]] std::unique_ptr<gpu::Runtime> make_runtime(int device) const override {
    return make_cuda_runtime(cuda_devices().at(static_cast<std::size_t>(device)).index);
  }
};

}  // namespace

std::unique_ptr<gpu::Platform> make_cuda_platform() { return std::make_unique<CudaPlatform>(); }

}  // namespace mlbench::cuda
