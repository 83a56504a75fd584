// What tests that need a device begin with.
#pragma once

#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "backends/cuda/cuda_runtime.h"

namespace mlbench::cuda {

// A runtime of the first device for each test; without one the test is skipped, with the reason.
class OnADevice : public testing::Test {
 protected:
  void SetUp() override {
    const auto devices = cuda_devices();
    if (devices.empty()) GTEST_SKIP() << cuda_why_none();
    runtime_ = make_cuda_runtime(devices.front().index);
    stream_ = runtime_->make_stream();
  }

  [[nodiscard]] gpu::Runtime& runtime() const { return *runtime_; }
  [[nodiscard]] gpu::Stream& stream() const { return *stream_; }

 private:
  std::unique_ptr<gpu::Runtime> runtime_;
  std::unique_ptr<gpu::Stream> stream_;
};

}  // namespace mlbench::cuda
