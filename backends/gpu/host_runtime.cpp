#include "backends/gpu/host_runtime.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <vector>

#include <fmt/format.h>
#include <unistd.h>

#include "backends/gpu/executor/executor.h"
#include "backends/gpu/host_queue.h"
#include "backends/gpu/kernels/launched_kernels.h"
#include "backends/gpu/kernels/vocabulary.h"
#include "core/error.h"

namespace mlbench::gpu {
namespace {

constexpr std::align_val_t kAlignment{256};

class HostStream final : public Stream {
 public:
  void synchronize() override {}
};

class HostEvent final : public Event {
 public:
  void record(Stream& /*stream*/) override {}
  void hold(Stream& /*stream*/) override {}
  void wait() override {}
};

class HostGraph final : public Graph {
 public:
  explicit HostGraph(HostWork work) : work_(std::move(work)) {}
  void launch(Stream& /*stream*/) override {
    for (const std::function<void()>& step : work_) step();
  }

 private:
  HostWork work_;
};

void* allocated(std::uint64_t bytes, std::string_view what) {
  try {
    return ::operator new(bytes == 0 ? 1 : bytes, kAlignment);
  } catch (const std::bad_alloc&) {
    throw Error(ErrorKind::internal, "backend.failed",
                fmt::format("host executor: {} bytes for {}: out of memory", bytes, what));
  }
}

// One output of one row. Eight sums side by side, as the compiler likes them.
float dot(const float* x, const float* w, Index count) {
  constexpr int kSums = 8;
  float sums[kSums] = {};
  Index i = 0;
  for (; i + kSums <= count; i += kSums) {
    for (int s = 0; s < kSums; ++s) sums[s] += x[i + s] * w[i + s];
  }
  for (; i < count; ++i) sums[0] += x[i] * w[i];
  return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

// `count` values from `first` on as float32, where they stand or in `scratch`.
template <DType stored>
const float* as_floats(const void* values, Index first, Index count, std::vector<float>& scratch) {
  const auto* from = static_cast<const typename Stored<stored>::type*>(values) + first;
  if constexpr (stored == DType::f32) {
    return from;
  } else {
    scratch.resize(static_cast<std::size_t>(count));
    std::transform(from, from + count, scratch.begin(), [](auto value) { return host_device::to_float(value); });
    return scratch.data();
  }
}

template <DType stored>
void multiply_as(const ProductCall& call) {
  std::vector<float> of_x, of_weight;
  const float* x = as_floats<stored>(call.x, 0, call.rows * call.in, of_x);
  for (Index n = 0; n < call.out; ++n) {
    const float* w = as_floats<stored>(call.weight, n * call.in, call.in, of_weight);
    for (Index r = 0; r < call.rows; ++r) {
      const float sum = dot(x + r * call.in, w, call.in);
      call.y[r * call.out + n] = call.bias == nullptr ? sum : sum + call.bias[n];
    }
  }
}

template <int W>
class HostRuntime final : public Runtime {
 public:
  HostRuntime() {
    const auto pages = static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES));
    properties_ = {.name = fmt::format("host executor, {} threads to a warp", W),
                   .memory_bytes = pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)),
                   .warp_width = W,
                   .on_host = true};
    executor::options().warp_width = W;
  }

  [[nodiscard]] const DeviceProperties& properties() const override { return properties_; }
  [[nodiscard]] std::uint64_t free_bytes() const override {
    return static_cast<std::uint64_t>(::sysconf(_SC_AVPHYS_PAGES)) *
           static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  }
  [[nodiscard]] backends::Summation product_sums(DType /*stored*/) const override { return {}; }

  [[nodiscard]] void* allocate(std::uint64_t bytes, std::string_view what) override { return allocated(bytes, what); }
  void release(void* memory) noexcept override { ::operator delete(memory, kAlignment); }
  [[nodiscard]] void* allocate_pinned(std::uint64_t bytes, std::string_view what) override {
    return allocated(bytes, what);
  }
  void release_pinned(void* memory) noexcept override { ::operator delete(memory, kAlignment); }

  [[nodiscard]] std::unique_ptr<Stream> make_stream() override { return std::make_unique<HostStream>(); }
  [[nodiscard]] std::unique_ptr<Event> make_event() override { return std::make_unique<HostEvent>(); }

  void copy_in(Stream& stream, void* device, const void* host, std::uint64_t bytes) override {
    copy(stream, device, host, bytes);
  }
  void copy_out(Stream& stream, void* host, const void* device, std::uint64_t bytes) override {
    copy(stream, host, device, bytes);
  }
  void copy(Stream& /*stream*/, void* to, const void* from, std::uint64_t bytes) override {
    if (bytes > 0) queue_.put([=] { std::memcpy(to, from, bytes); });
  }
  void clear(Stream& /*stream*/, void* device, std::uint64_t bytes) override {
    if (bytes > 0) queue_.put([=] { std::memset(device, 0, bytes); });
  }

  void multiply(Stream& /*stream*/, const ProductCall& call) override {
    queue_.put([call] {
      switch (call.stored) {
        case DType::bf16: return multiply_as<DType::bf16>(call);
        case DType::f16: return multiply_as<DType::f16>(call);
        default: return multiply_as<DType::f32>(call);
      }
    });
  }
  [[nodiscard]] Kernels& kernels() override { return kernels_; }

  [[nodiscard]] std::unique_ptr<Graph> record(Stream& /*stream*/, const std::function<void()>& work) override {
    return std::make_unique<HostGraph>(queue_.recorded(work));
  }

 private:
  DeviceProperties properties_;
  HostQueue queue_;
  QueuedKernels<host_device::LaunchedKernels<W>> kernels_{queue_};
};

}  // namespace

std::unique_ptr<Runtime> make_host_runtime(int warp_width) {
  if (warp_width == 64) return std::make_unique<HostRuntime<64>>();
  return std::make_unique<HostRuntime<32>>();
}

}  // namespace mlbench::gpu
