// A backend of ours on a vendor's devices, and on the host executor as a device of every one of them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backends/backend.h"
#include "backends/gpu/runtime.h"

namespace mlbench::gpu {

// A vendor's part: which devices there are, and what drives one.
class Platform {
 public:
  virtual ~Platform() = default;

  [[nodiscard]] virtual std::string_view name() const = 0;  // "cuda"
  [[nodiscard]] virtual std::string version() const = 0;    // of its libraries
  // In the order of their numbers; ids are name:number.
  [[nodiscard]] virtual std::vector<backends::DeviceInfo> devices() const = 0;
  // Why there is none: what was looked for and is missing.
  [[nodiscard]] virtual std::string why_none() const = 0;
  [[nodiscard]] virtual std::unique_ptr<Runtime> make_runtime(int device) const = 0;
  // The warp width that the host executor takes for this vendor.
  [[nodiscard]] virtual int warp_width() const = 0;
};

// Of a build without the vendor's toolkit, which `why` says: no devices but the host executor, with warps of that width.
[[nodiscard]] std::unique_ptr<Platform> make_host_platform(std::string_view name, std::string_view why, int warp_width);

// --device is "host" for the executor, otherwise one of the platform's; empty: its first.
[[nodiscard]] std::unique_ptr<backends::Backend> make_gpu_backend(std::unique_ptr<Platform> platform);

}  // namespace mlbench::gpu
