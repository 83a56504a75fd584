// A vendor's stream behind the interface.
#pragma once

#include <memory>
#include <type_traits>

#include "backends/gpu/runtime.h"
#include "backends/gpu/vendor/status.h"

namespace mlbench::gpu::vendor {

// What the vendor made for us, given back when its owner goes; what then fails has failed before.
template <class Api, class Raw>
using Owned = std::unique_ptr<std::remove_pointer_t<Raw>, typename Api::Status (*)(Raw)>;

template <class Api>
class VendorStream final : public Stream {
 public:
  // Of the current device.
  explicit VendorStream(int device) : device_(device), stream_(nullptr, Api::destroy_stream) {
    typename Api::Stream raw = nullptr;
    check<Api>(Api::create_stream(&raw, Api::kNonBlocking), "making a stream");
    stream_.reset(raw);
  }

  void synchronize() override { check<Api>(Api::synchronize_stream(stream_.get()), "waiting for a stream's work"); }

  [[nodiscard]] typename Api::Stream native() const { return stream_.get(); }
  // A thread begins with device 0, whichever the stream is of.
  void use_device() const { check<Api>(Api::set_device(device_), "choosing a device"); }

 private:
  int device_;
  Owned<Api, typename Api::Stream> stream_;
};

// Every stream that meets a vendor's runtime is its own.
template <class Api>
[[nodiscard]] VendorStream<Api>& vendor_stream(Stream& stream) {
  return static_cast<VendorStream<Api>&>(stream);
}
template <class Api>
[[nodiscard]] typename Api::Stream native(Stream& stream) {
  return vendor_stream<Api>(stream).native();
}

// For kernels: a launch is to be on the stream's device.
template <class Api>
[[nodiscard]] typename Api::Stream native_for_launch(Stream& stream) {
  vendor_stream<Api>(stream).use_device();
  return native<Api>(stream);
}

}  // namespace mlbench::gpu::vendor
