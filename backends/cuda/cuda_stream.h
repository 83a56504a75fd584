// A stream of CUDA behind the interface, for those who queue work of their own in it.
#pragma once

#include <memory>
#include <type_traits>

#include <cuda_runtime_api.h>

#include "backends/cuda/cuda_error.h"
#include "backends/gpu/runtime.h"

namespace mlbench::cuda {

// What CUDA made for us, given back when its owner goes; what then fails has failed before.
template <class Raw>
using Owned = std::unique_ptr<std::remove_pointer_t<Raw>, cudaError_t (*)(Raw)>;

class CudaStream final : public gpu::Stream {
 public:
  // Of the current device.
  explicit CudaStream(int device) : device_(device), stream_(nullptr, &cudaStreamDestroy) {
    cudaStream_t raw = nullptr;
    check(cudaStreamCreateWithFlags(&raw, cudaStreamNonBlocking), "making a stream");
    stream_.reset(raw);
  }

  void synchronize() override { check(cudaStreamSynchronize(stream_.get()), "waiting for a stream's work"); }

  [[nodiscard]] cudaStream_t native() const { return stream_.get(); }
  // A thread begins with device 0, whichever the stream is of.
  void use_device() const { check(cudaSetDevice(device_), "choosing a device"); }

 private:
  int device_;
  Owned<cudaStream_t> stream_;
};

// Every stream that meets a CUDA runtime is its own.
[[nodiscard]] inline CudaStream& cuda_stream(gpu::Stream& stream) { return static_cast<CudaStream&>(stream); }
[[nodiscard]] inline cudaStream_t native(gpu::Stream& stream) { return cuda_stream(stream).native(); }

}  // namespace mlbench::cuda
