#include "backends/cuda/cuda_runtime.h"

#include <algorithm>
#include <utility>

#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include "backends/cuda/cublas_product.h"
#include "backends/cuda/cuda_error.h"
#include "backends/cuda/cuda_stream.h"
#include "core/error.h"

namespace mlbench::cuda {
namespace {

class CudaEvent final : public gpu::Event {
 public:
  CudaEvent() : event_(nullptr, &cudaEventDestroy) {
    cudaEvent_t raw = nullptr;
    check(cudaEventCreateWithFlags(&raw, cudaEventDisableTiming), "making an event");
    event_.reset(raw);
  }

  void record(gpu::Stream& stream) override {
    check(cudaEventRecord(event_.get(), native(stream)), "marking a point in a stream");
  }
  void hold(gpu::Stream& stream) override {
    check(cudaStreamWaitEvent(native(stream), event_.get(), cudaEventWaitDefault), "letting a stream wait");
  }
  void wait() override { check(cudaEventSynchronize(event_.get()), "waiting for a point in a stream"); }

 private:
  Owned<cudaEvent_t> event_;
};

class CudaGraph final : public gpu::Graph {
 public:
  explicit CudaGraph(cudaGraph_t recorded) : graph_(nullptr, &cudaGraphExecDestroy) {
    cudaGraphExec_t raw = nullptr;
    check(cudaGraphInstantiate(&raw, recorded, 0), "making a graph of what was recorded");
    graph_.reset(raw);
  }

  void launch(gpu::Stream& stream) override {
    check(cudaGraphLaunch(graph_.get(), native(stream)), "queueing a graph");
  }

 private:
  Owned<cudaGraphExec_t> graph_;
};

// A stream that records from here to take(), or to the end of this.
class Recording {
 public:
  explicit Recording(cudaStream_t stream) : stream_(stream) {
    check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "beginning to record");
  }
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;
  ~Recording() {
    if (stream_ == nullptr) return;
    static_cast<void>(end());  // the stream is to be of use again
    static_cast<void>(cudaGetLastError());
  }

  [[nodiscard]] Owned<cudaGraph_t> take() {
    auto [status, graph] = end();
    check(status, "recording what a stream is to do");
    return std::move(graph);
  }

 private:
  std::pair<cudaError_t, Owned<cudaGraph_t>> end() {
    cudaGraph_t raw = nullptr;
    const cudaError_t status = cudaStreamEndCapture(std::exchange(stream_, nullptr), &raw);
    return {status, Owned<cudaGraph_t>(raw, &cudaGraphDestroy)};
  }

  cudaStream_t stream_;
};

int made_current(int device) {
  check(cudaSetDevice(device), "choosing a device");
  return device;
}

gpu::DeviceProperties properties_of(int device) {
  cudaDeviceProp said{};
  check(cudaGetDeviceProperties(&said, device), "asking for a device's properties");
  return {.name = said.name,
          .memory_bytes = said.totalGlobalMem,
          .warp_width = said.warpSize,
          .shared_bytes = static_cast<Index>(said.sharedMemPerBlockOptin),
          .processors = said.multiProcessorCount};
}

constexpr std::uint64_t kWorkspaceBytes = 32 << 20;  // what NVIDIA advises for Hopper

// CUDA has no memory of 0 bytes.
std::uint64_t at_least_one(std::uint64_t bytes) { return std::max<std::uint64_t>(bytes, 1); }

// Of the current device.
void* device_memory(std::uint64_t bytes, std::string_view what) {
  void* memory = nullptr;
  check(cudaMalloc(&memory, at_least_one(bytes)), fmt::format("{} for {}", readable_bytes(bytes), what));
  return memory;
}

class CudaRuntime final : public gpu::Runtime {
 public:
  explicit CudaRuntime(int device)
      : device_(made_current(device)),
        properties_(properties_of(device)),
        workspace_(device_memory(kWorkspaceBytes, "cuBLASLt"), &cudaFree),
        products_(cublas(), workspace_.get(), kWorkspaceBytes),
        kernels_(make_cuda_kernels()) {}

  [[nodiscard]] const gpu::DeviceProperties& properties() const override { return properties_; }
  [[nodiscard]] std::uint64_t free_bytes() const override {
    use_device();
    std::size_t free = 0, all = 0;
    check(cudaMemGetInfo(&free, &all), "asking for free memory");
    return free;
  }
  // f32 by fused multiply-adds. Tensor cores add exact products of bf16 and f16 to a float32 sum after aligning all
  // terms, and drop what falls off the end (Fasi, Higham, Mikaitis and Pranesh, "Numerical behavior of NVIDIA tensor
  // cores", PeerJ Comput. Sci. 7, 2021).
  [[nodiscard]] backends::Summation product_sums(DType stored) const override {
    if (stored == DType::bf16 || stored == DType::f16) return {.fused = 1, .truncates = true};
    return {};
  }

  [[nodiscard]] void* allocate(std::uint64_t bytes, std::string_view what) override {
    use_device();
    return device_memory(bytes, what);
  }
  void release(void* memory) noexcept override { static_cast<void>(cudaFree(memory)); }
  [[nodiscard]] void* allocate_pinned(std::uint64_t bytes, std::string_view what) override {
    use_device();
    void* memory = nullptr;
    check(cudaMallocHost(&memory, at_least_one(bytes)),
          fmt::format("{} of pinned memory for {}", readable_bytes(bytes), what));
    return memory;
  }
  void release_pinned(void* memory) noexcept override { static_cast<void>(cudaFreeHost(memory)); }

  [[nodiscard]] std::unique_ptr<gpu::Stream> make_stream() override {
    use_device();
    return std::make_unique<CudaStream>(device_);
  }
  [[nodiscard]] std::unique_ptr<gpu::Event> make_event() override {
    use_device();
    return std::make_unique<CudaEvent>();
  }

  void copy_in(gpu::Stream& stream, void* device, const void* host, std::uint64_t bytes) override {
    copy_as(stream, device, host, bytes, cudaMemcpyHostToDevice, "copying to the device");
  }
  void copy_out(gpu::Stream& stream, void* host, const void* device, std::uint64_t bytes) override {
    copy_as(stream, host, device, bytes, cudaMemcpyDeviceToHost, "copying from the device");
  }
  void copy(gpu::Stream& stream, void* to, const void* from, std::uint64_t bytes) override {
    copy_as(stream, to, from, bytes, cudaMemcpyDeviceToDevice, "copying on the device");
  }
  void clear(gpu::Stream& stream, void* device, std::uint64_t bytes) override {
    if (bytes != 0) check(cudaMemsetAsync(device, 0, bytes, native(stream)), "clearing memory");
  }

  void multiply(gpu::Stream& stream, const gpu::ProductCall& call) override {
    if (call.rows == 0 || call.out == 0) return;
    use_device();
    if (!products_.multiply(native(stream), call))
      kernels_->add_bias(stream, {.y = call.y, .bias = call.bias, .rows = call.rows, .width = call.out});
  }
  [[nodiscard]] gpu::Kernels& kernels() override { return *kernels_; }

  [[nodiscard]] std::unique_ptr<gpu::Graph> record(gpu::Stream& stream, const std::function<void()>& work) override {
    use_device();
    Recording recording(native(stream));
    work();
    return std::make_unique<CudaGraph>(recording.take().get());
  }

 private:
  // A thread begins with device 0.
  void use_device() const { static_cast<void>(made_current(device_)); }

  static void copy_as(gpu::Stream& stream, void* to, const void* from, std::uint64_t bytes, cudaMemcpyKind kind,
                      const char* doing) {
    if (bytes != 0) check(cudaMemcpyAsync(to, from, bytes, kind, native(stream)), doing);
  }

  int device_;
  gpu::DeviceProperties properties_;
  std::unique_ptr<void, cudaError_t (*)(void*)> workspace_;
  CublasProducts products_;
  std::unique_ptr<gpu::Kernels> kernels_;
};

}  // namespace

std::unique_ptr<gpu::Runtime> make_cuda_runtime(int device) {
  const std::vector<CudaDevice> devices = cuda_devices();
  if (devices.empty()) throw Error(ErrorKind::unavailable, "backend.unavailable", "cuda: " + cuda_why_none());
  if (std::none_of(devices.begin(), devices.end(), [&](const CudaDevice& d) { return d.index == device; })) {
    throw Error(ErrorKind::unavailable, "backend.unavailable",
                fmt::format("cuda: there is no device {} of compute capability 8.0 or newer", device));
  }
  return std::make_unique<CudaRuntime>(device);
}

}  // namespace mlbench::cuda
