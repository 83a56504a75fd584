// A vendor's part of a backend, by its devices.
#pragma once

#include "backends/gpu/gpu_backend.h"
#include "backends/gpu/vendor/runtime.h"

namespace mlbench::gpu::vendor {

template <class Api>
class VendorPlatform final : public Platform {
 public:
  [[nodiscard]] std::string_view name() const override { return Api::kName; }
  [[nodiscard]] std::string version() const override { return Api::version(); }
  [[nodiscard]] std::string why_none() const override { return look<Api>().why_none; }
  [[nodiscard]] int warp_width() const override { return Api::kHostWarpWidth; }

  [[nodiscard]] std::vector<backends::DeviceInfo> devices() const override {
    std::vector<backends::DeviceInfo> out;
    for (const Device& device : look<Api>().devices) {
      out.push_back({.id = fmt::format("{}:{}", Api::kName, device.index),
                     .description = device.description,
                     .memory_bytes = device.memory_bytes});
    }
    return out;
  }

  [[nodiscard]] std::unique_ptr<Runtime> make_runtime(int device) const override {
    return vendor::make_runtime<Api>(look<Api>().devices.at(static_cast<std::size_t>(device)).index);
  }
};

}  // namespace mlbench::gpu::vendor
