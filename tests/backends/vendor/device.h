// What tests that need a device begin with.
#pragma once

#include <memory>

#include <gtest/gtest.h>

#include "backends/gpu/vendor/runtime.h"
#include "tests/backends/vendor/test_api.h"

namespace mlbench::gpu::vendor {

// A runtime of the first device for each test; without one the test is skipped, with the reason.
class OnADevice : public testing::Test {
 protected:
  void SetUp() override {
    const Found found = look<Api>();
    if (found.devices.empty()) GTEST_SKIP() << found.why_none;
    runtime_ = make_runtime<Api>(found.devices.front().index);
    stream_ = runtime_->make_stream();
  }

  [[nodiscard]] Runtime& runtime() const { return *runtime_; }
  [[nodiscard]] Stream& stream() const { return *stream_; }

 private:
  std::unique_ptr<Runtime> runtime_;
  std::unique_ptr<Stream> stream_;
};

}  // namespace mlbench::gpu::vendor
