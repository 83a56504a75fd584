// A vendor's device behind the interface.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

#include "backends/gpu/collectives.h"
#include "backends/gpu/vendor/devices.h"
#include "backends/gpu/vendor/events.h"
#include "backends/gpu/vendor/products.h"

namespace mlbench::gpu::vendor {

// "2.1 GiB", for messages.
[[nodiscard]] inline std::string readable_bytes(std::uint64_t bytes) {
  const auto count = static_cast<double>(bytes);
  if (count >= 0x1p30) return fmt::format("{:.1f} GiB", count / 0x1p30);
  if (count >= 0x1p20) return fmt::format("{:.1f} MiB", count / 0x1p20);
  return fmt::format("{} bytes", bytes);
}

inline constexpr std::uint64_t kWorkspaceBytes = 32 << 20;  // of products: what NVIDIA and AMD advise for large devices

template <class Api>
class VendorRuntime final : public Runtime {
 public:
  explicit VendorRuntime(int device)
      : device_(made_current(device)),
        properties_(Api::properties_of(said_of<Api>(device))),
        workspace_(device_memory(kWorkspaceBytes, "products' workspace"), Api::free),
        products_(Api::make_products(workspace_.get(), kWorkspaceBytes)),
        kernels_(Api::make_kernels(said_of<Api>(device))) {}

  [[nodiscard]] const DeviceProperties& properties() const override { return properties_; }
  [[nodiscard]] std::uint64_t free_bytes() const override {
    use_device();
    std::size_t free = 0, all = 0;
    check<Api>(Api::memory_info(&free, &all), "asking for free memory");
    return free;
  }
  [[nodiscard]] backends::Summation product_sums(DType stored) const override { return Api::product_sums(stored); }

  [[nodiscard]] void* allocate(std::uint64_t bytes, std::string_view what) override {
    use_device();
    return device_memory(bytes, what);
  }
  void release(void* memory) noexcept override { static_cast<void>(Api::free(memory)); }
  [[nodiscard]] void* allocate_pinned(std::uint64_t bytes, std::string_view what) override {
    use_device();
    void* memory = nullptr;
    check<Api>(Api::malloc_host(&memory, at_least_one(bytes)),
               fmt::format("{} of pinned memory for {}", readable_bytes(bytes), what));
    return memory;
  }
  void release_pinned(void* memory) noexcept override { static_cast<void>(Api::free_host(memory)); }

  [[nodiscard]] std::unique_ptr<Stream> make_stream() override {
    use_device();
    return std::make_unique<VendorStream<Api>>(device_);
  }
  [[nodiscard]] std::unique_ptr<Event> make_event() override {
    use_device();
    return std::make_unique<VendorEvent<Api>>();
  }

  void copy_in(Stream& stream, void* device, const void* host, std::uint64_t bytes) override {
    copy_as(stream, device, host, bytes, Api::kHostToDevice, "copying to the device");
  }
  void copy_out(Stream& stream, void* host, const void* device, std::uint64_t bytes) override {
    copy_as(stream, host, device, bytes, Api::kDeviceToHost, "copying from the device");
  }
  void copy(Stream& stream, void* to, const void* from, std::uint64_t bytes) override {
    copy_as(stream, to, from, bytes, Api::kDeviceToDevice, "copying on the device");
  }
  void clear(Stream& stream, void* device, std::uint64_t bytes) override {
    if (bytes != 0) check<Api>(Api::memset_async(device, 0, bytes, native<Api>(stream)), "clearing memory");
  }

  void multiply(Stream& stream, const ProductCall& call) override {
    if (call.rows == 0 || call.out == 0) return;
    use_device();
    if (!products_->multiply(native<Api>(stream), call))
      kernels_->add_bias(stream, {.y = call.y, .bias = call.bias, .rows = call.rows, .width = call.out});
  }
  [[nodiscard]] Kernels& kernels() override { return *kernels_; }
  [[nodiscard]] CollectiveLibrary* collective_library() override {
    if (collectives_ == nullptr) collectives_ = Api::make_collective_library(device_);
    return collectives_.get();
  }

  [[nodiscard]] std::unique_ptr<Graph> record(Stream& stream, const std::function<void()>& work) override {
    use_device();
    Recording<Api> recording(native<Api>(stream));
    work();
    return std::make_unique<VendorGraph<Api>>(recording.take().get());
  }

 private:
  static int made_current(int device) {
    check<Api>(Api::set_device(device), "choosing a device");
    return device;
  }
  // A thread begins with device 0.
  void use_device() const { static_cast<void>(made_current(device_)); }

  // There is no memory of 0 bytes.
  static std::uint64_t at_least_one(std::uint64_t bytes) { return std::max<std::uint64_t>(bytes, 1); }

  // Of the current device.
  static void* device_memory(std::uint64_t bytes, std::string_view what) {
    void* memory = nullptr;
    check<Api>(Api::malloc(&memory, at_least_one(bytes)), fmt::format("{} for {}", readable_bytes(bytes), what));
    return memory;
  }

  static void copy_as(Stream& stream, void* to, const void* from, std::uint64_t bytes, typename Api::CopyKind kind,
                      const char* doing) {
    if (bytes != 0) check<Api>(Api::copy_async(to, from, bytes, kind, native<Api>(stream)), doing);
  }

  int device_;
  DeviceProperties properties_;
  Owned<Api, void*> workspace_;
  std::unique_ptr<Products<Api>> products_;
  std::unique_ptr<Kernels> kernels_;
  std::unique_ptr<CollectiveLibrary> collectives_;
};

// Of one of devices<Api>(). Throws ErrorKind::unavailable, backend.unavailable, where the device or the vendor's
// library is not there. Products of one runtime share a workspace: they, and graphs that hold them, belong in one
// stream.
template <class Api>
[[nodiscard]] std::unique_ptr<Runtime> make_runtime(int device) {
  const Found found = look<Api>();
  if (found.devices.empty())
    throw Error(ErrorKind::unavailable, "backend.unavailable", fmt::format("{}: {}", Api::kName, found.why_none));
  if (std::ranges::find(found.devices, device, &Device::index) == found.devices.end()) {
    throw Error(ErrorKind::unavailable, "backend.unavailable",
                fmt::format("{}: there is no device {} that this build has kernels for", Api::kName, device));
  }
  return std::make_unique<VendorRuntime<Api>>(device);
}

}  // namespace mlbench::gpu::vendor
