// The same work on a device and on the host executor, whose kernels are the same source and are checked against
// the reference (tests/backends/gpu).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <vector>

#include <gtest/gtest.h>

#include "backends/gpu/host_runtime.h"
#include "core/dtype.h"
#include "tests/backends/vendor/device.h"

namespace mlbench::gpu::vendor {

inline constexpr DType kStored[] = {DType::f32, DType::bf16, DType::f16};
inline constexpr double kUnit = 0x1p-24;  // float32's unit roundoff

// Half a step between neighbours of the type, relative.
[[nodiscard]] inline double unit_of(DType stored) {
  return stored == DType::bf16 ? 0x1p-8 : stored == DType::f16 ? 0x1p-11 : kUnit;
}

// In [-1, 1], always the same, exact in the type.
[[nodiscard]] inline std::vector<double> some_values(Index count, DType stored, double seed) {
  std::vector<double> out;
  for (Index i = 0; i < count; ++i)
    out.push_back(rounded_to(std::sin(12.9898 * (static_cast<double>(i) + seed)), stored));
  return out;
}

// One of the two devices, and what a test put there.
class Side {
 public:
  explicit Side(Runtime& runtime) : runtime_(&runtime), stream_(runtime.make_stream()) {}

  [[nodiscard]] Kernels& kernels() { return runtime_->kernels(); }
  [[nodiscard]] Stream& stream() { return *stream_; }

  [[nodiscard]] void* put(const std::vector<double>& values, DType stored) {
    std::vector<std::byte> bytes(values.size() * size_bytes(stored));
    narrow(stored, values, bytes.data());
    return put_bytes(bytes.data(), bytes.size());
  }
  [[nodiscard]] float* floats(const std::vector<double>& values) {
    return static_cast<float*>(put(values, DType::f32));
  }
  template <class T>
  [[nodiscard]] T* plain(const std::vector<T>& values) {
    return static_cast<T*>(put_bytes(values.data(), values.size() * sizeof(T)));
  }
  // All bits 0.
  [[nodiscard]] void* room(Index count, DType stored) {
    return put(std::vector<double>(static_cast<std::size_t>(count)), stored);
  }
  [[nodiscard]] float* float_room(Index count) { return static_cast<float*>(room(count, DType::f32)); }

  [[nodiscard]] std::vector<double> get(const void* data, Index count, DType stored = DType::f32) {
    std::vector<std::byte> bytes(static_cast<std::size_t>(count) * size_bytes(stored));
    runtime_->copy_out(*stream_, bytes.data(), data, bytes.size());
    stream_->synchronize();
    std::vector<double> out(static_cast<std::size_t>(count));
    widen(stored, bytes.data(), out);
    return out;
  }

 private:
  void* put_bytes(const void* from, std::size_t bytes) {
    memory_.emplace_back(*runtime_, bytes, "a test");
    runtime_->copy_in(*stream_, memory_.back().data(), from, bytes);
    stream_->synchronize();
    return memory_.back().data();
  }

  Runtime* runtime_;
  std::unique_ptr<Stream> stream_;
  std::vector<Memory> memory_;
};

class OnBothSides : public OnADevice {
 protected:
  void SetUp() override {
    OnADevice::SetUp();
    if (IsSkipped()) return;
    host_ = make_host_runtime(runtime().properties().warp_width);
  }

  using Work = std::function<std::vector<double>(Side&)>;
  // What `work` gives on the device is within `bound` of what it gives on the host; 0: the same values.
  void expect_alike(const Work& work, double bound) const {
    Side host(*host_), device(runtime());
    const std::vector<double> expected = work(host), got = work(device);
    ASSERT_EQ(got.size(), expected.size());
    EXPECT_TRUE(std::any_of(expected.begin(), expected.end(), [](double x) { return x != 0.0; })) << "no work was done";
    for (std::size_t i = 0; i < got.size(); ++i)
      ASSERT_LE(std::abs(got[i] - expected[i]), bound) << i << ": " << got[i] << ", on the host " << expected[i];
  }

 private:
  std::unique_ptr<Runtime> host_;
};

}  // namespace mlbench::gpu::vendor
