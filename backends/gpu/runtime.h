// A device as a session sees it: memory, streams, events, graphs, products and kernels. Implemented once per vendor,
// and once for the host, where kernels run on the processor (backends/gpu/executor).
//
// Everything throws Error, ErrorKind::internal with code backend.failed and a message that says what was being done:
// "cuda: 2.1 GiB for the cache: out of memory". Work that is queued may also fail later, in synchronize() or in what is
// asked next; the session can only be destroyed then.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "backends/backend.h"
#include "backends/gpu/kernels.h"

namespace mlbench::gpu {

class CollectiveLibrary;

struct DeviceProperties {
  std::string name;  // "NVIDIA H200"
  std::uint64_t memory_bytes = 0;
  int warp_width = 32;            // threads that run in step: 32 or 64
  Index shared_bytes = 48 << 10;  // that a block may have
  int processors = 1;             // that run blocks at the same time
  bool on_host = false;           // kernels run on the processor: of speed nothing follows
};

// Work in order.
class Stream {
 public:
  virtual ~Stream() = default;
  // Returns when all of it is done.
  virtual void synchronize() = 0;
};

// A point in a stream's work.
class Event {
 public:
  virtual ~Event() = default;
  virtual void record(Stream& stream) = 0;
  // What is queued in `stream` from now on waits for it.
  virtual void hold(Stream& stream) = 0;
  // Returns when it was reached.
  virtual void wait() = 0;
};

// Recorded work, to be queued again as a whole.
class Graph {
 public:
  virtual ~Graph() = default;
  virtual void launch(Stream& stream) = 0;
};

// y = x W^T + bias: x [rows, in], W [out, in], y float32 [rows, out]. Sums are float32, as product_sums() says; f32 is
// multiplied as f32, nothing narrower.
struct ProductCall {
  DType stored = DType::f32;  // of x and W
  const void* x = nullptr;
  const void* weight = nullptr;
  const float* bias = nullptr;  // [out]; null: none
  float* y = nullptr;
  Index rows = 0, in = 0, out = 0;
};

class Runtime {
 public:
  virtual ~Runtime() = default;

  [[nodiscard]] virtual const DeviceProperties& properties() const = 0;
  [[nodiscard]] virtual std::uint64_t free_bytes() const = 0;
  // How products of this type round their sums.
  [[nodiscard]] virtual backends::Summation product_sums(DType stored) const = 0;

  // `what` it is for, for messages. Aligned to 256 bytes; not initialized. Of 0 bytes: not null.
  [[nodiscard]] virtual void* allocate(std::uint64_t bytes, std::string_view what) = 0;
  virtual void release(void* memory) noexcept = 0;
  // Host memory that copies need not stage.
  [[nodiscard]] virtual void* allocate_pinned(std::uint64_t bytes, std::string_view what) = 0;
  virtual void release_pinned(void* memory) noexcept = 0;

  [[nodiscard]] virtual std::unique_ptr<Stream> make_stream() = 0;
  [[nodiscard]] virtual std::unique_ptr<Event> make_event() = 0;

  // Queued; host memory must stay as it is until they are done.
  virtual void copy_in(Stream& stream, void* device, const void* host, std::uint64_t bytes) = 0;
  virtual void copy_out(Stream& stream, void* host, const void* device, std::uint64_t bytes) = 0;
  virtual void copy(Stream& stream, void* to, const void* from, std::uint64_t bytes) = 0;
  virtual void clear(Stream& stream, void* device, std::uint64_t bytes) = 0;  // all bits 0

  virtual void multiply(Stream& stream, const ProductCall& call) = 0;
  [[nodiscard]] virtual Kernels& kernels() = 0;
  // What sums over devices like this one; null where there is nothing that does.
  [[nodiscard]] virtual CollectiveLibrary* collective_library() { return nullptr; }

  // What `work` queues in the stream, recorded and not done. Copies in it must be of pinned memory.
  [[nodiscard]] virtual std::unique_ptr<Graph> record(Stream& stream, const std::function<void()>& work) = 0;
};

// Throws ErrorKind::unavailable, memory.exceeded, where the device has no `bytes` free for `what`.
void require_free(const Runtime& runtime, std::uint64_t bytes, std::string_view what);

// Memory of an owner.
template <void* (Runtime::*kAllocate)(std::uint64_t, std::string_view), void (Runtime::*kRelease)(void*) noexcept>
class Owned {
 public:
  Owned() = default;
  Owned(Runtime& runtime, std::uint64_t bytes, std::string_view what)
      : runtime_(&runtime), data_((runtime.*kAllocate)(bytes, what)), bytes_(bytes) {}
  Owned(Owned&& other) noexcept { swap(other); }
  Owned& operator=(Owned&& other) noexcept {
    Owned(std::move(other)).swap(*this);
    return *this;
  }
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  ~Owned() {
    if (data_ != nullptr) (runtime_->*kRelease)(data_);
  }

  [[nodiscard]] void* data() const { return data_; }
  [[nodiscard]] float* floats() const { return static_cast<float*>(data_); }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }

 private:
  void swap(Owned& other) noexcept {
    std::swap(runtime_, other.runtime_);
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
  }

  Runtime* runtime_ = nullptr;
  void* data_ = nullptr;
  std::uint64_t bytes_ = 0;
};
using Memory = Owned<&Runtime::allocate, &Runtime::release>;                // of the device
using Pinned = Owned<&Runtime::allocate_pinned, &Runtime::release_pinned>;  // of the host

}  // namespace mlbench::gpu
