// Memory, order of work, and graphs, on a device.
#include <cstring>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/backends/vendor/device.h"
#include "tests/support/expect_error.h"

namespace mlbench::gpu::vendor {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class DeviceRuntimes : public OnADevice {
 protected:
  [[nodiscard]] std::vector<float> read(const void* device, std::size_t count) const {
    std::vector<float> out(count, -1.0F);
    runtime().copy_out(stream(), out.data(), device, count * sizeof(float));
    stream().synchronize();
    return out;
  }
  void write(void* device, const std::vector<float>& values) const {
    runtime().copy_in(stream(), device, values.data(), values.size() * sizeof(float));
    stream().synchronize();
  }
  // Adds one row of `count` values.
  void add(Stream& in, void* to, void* added, Index count) const {
    runtime().kernels().add_bias(
        in, {.y = static_cast<float*>(to), .bias = static_cast<const float*>(added), .rows = 1, .width = count});
  }
};

std::vector<float> counted(std::size_t count) {
  std::vector<float> out(count);
  for (std::size_t i = 0; i < count; ++i) out[i] = static_cast<float>(i % 1000);
  return out;
}

TEST_F(DeviceRuntimes, SayWhatTheyRunOn) {
  const DeviceProperties& said = runtime().properties();
  EXPECT_TRUE(said.warp_width == 32 || said.warp_width == 64) << said.warp_width;
  EXPECT_FALSE(said.on_host);
  EXPECT_GE(said.shared_bytes, 48 << 10);
  EXPECT_GT(said.processors, 1);
  EXPECT_LE(runtime().free_bytes(), said.memory_bytes);
  EXPECT_EQ(runtime().product_sums(DType::f32), backends::Summation{});
  for (const DType stored : {DType::bf16, DType::f16})
    EXPECT_EQ(runtime().product_sums(stored), (backends::Summation{.fused = 1, .truncates = true}));
}

TEST_F(DeviceRuntimes, GiveBackWhatWasCopiedIn) {
  for (const std::size_t count : {std::size_t{1}, std::size_t{257}, std::size_t{1} << 20U}) {
    const std::vector<float> values = counted(count);
    const Memory first(runtime(), count * sizeof(float), "a test"), second(runtime(), count * sizeof(float), "a test");
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(first.data()) % 256, 0U);
    runtime().copy_in(stream(), first.data(), values.data(), first.bytes());
    runtime().copy(stream(), second.data(), first.data(), first.bytes());
    runtime().clear(stream(), first.data(), first.bytes());
    EXPECT_EQ(read(second.data(), count), values);
    EXPECT_EQ(read(first.data(), count), std::vector<float>(count, 0.0F));
  }
}

TEST_F(DeviceRuntimes, HaveMemoryOfNoBytes) {
  const Memory nothing(runtime(), 0, "nothing");
  EXPECT_NE(nothing.data(), nullptr);
  EXPECT_NO_THROW(runtime().copy_in(stream(), nothing.data(), nullptr, 0));
  EXPECT_NO_THROW(runtime().clear(stream(), nothing.data(), 0));
  EXPECT_NO_THROW(runtime().multiply(stream(), {.rows = 0, .in = 4, .out = 4}));
  stream().synchronize();
}

TEST_F(DeviceRuntimes, SayForWhatMemoryDidNotSufficeAndGoOn) {
  const std::uint64_t too_much = 2 * runtime().properties().memory_bytes;
  const Error error = test::error_of([&] { static_cast<void>(runtime().allocate(too_much, "the cache")); });
  EXPECT_EQ(error.code(), "backend.failed");
  EXPECT_THAT(error.message(), AllOf(HasSubstr("GiB for the cache: "), HasSubstr("out of memory")));
  const Memory memory(runtime(), 4, "a test"), one(runtime(), 4, "a test");
  write(memory.data(), {1.0F});
  write(one.data(), {1.0F});
  add(stream(), memory.data(), one.data(), 1);  // a launch, which asks for the last error
  EXPECT_EQ(read(memory.data(), 1), std::vector<float>{2.0F});
}

// A long row of additions in one stream, what comes of it read in another. Without the event the second stream, which
// waits for none, would read too early.
TEST_F(DeviceRuntimes, LetAStreamWaitForAnother) {
  constexpr Index kCount = 1 << 22;
  constexpr int kTimes = 200;
  const std::uint64_t bytes = kCount * sizeof(float);
  const Memory sum(runtime(), bytes, "a test"), one(runtime(), bytes, "a test");
  write(one.data(), std::vector<float>(kCount, 1.0F));
  runtime().clear(stream(), sum.data(), bytes);
  stream().synchronize();
  const auto other = runtime().make_stream();
  const auto done = runtime().make_event();
  for (int i = 0; i < kTimes; ++i) add(stream(), sum.data(), one.data(), kCount);
  done->record(stream());
  done->hold(*other);
  std::vector<float> seen(kCount);
  runtime().copy_out(*other, seen.data(), sum.data(), bytes);
  other->synchronize();
  EXPECT_EQ(seen, std::vector<float>(kCount, static_cast<float>(kTimes)));
  done->wait();
}

TEST_F(DeviceRuntimes, DoNothingWhileTheyRecordAndAllWhenTheyReplay) {
  const Memory sum(runtime(), 400, "a test"), one(runtime(), 400, "a test");
  runtime().clear(stream(), sum.data(), 400);
  write(one.data(), std::vector<float>(100, 1.0F));
  const auto graph = runtime().record(stream(), [&] {
    add(stream(), sum.data(), one.data(), 100);
    add(stream(), sum.data(), one.data(), 100);
  });
  EXPECT_EQ(read(sum.data(), 100), std::vector<float>(100, 0.0F));
  for (int i = 0; i < 3; ++i) graph->launch(stream());
  EXPECT_EQ(read(sum.data(), 100), std::vector<float>(100, 6.0F));
  write(one.data(), std::vector<float>(100, 10.0F));  // what a graph reads may change between its runs
  graph->launch(stream());
  EXPECT_EQ(read(sum.data(), 100), std::vector<float>(100, 26.0F));
}

TEST_F(DeviceRuntimes, AreOfUseAfterARecordingThatFailed) {
  const Memory sum(runtime(), 4, "a test"), one(runtime(), 4, "a test");
  write(sum.data(), {0.0F});
  write(one.data(), {1.0F});
  // Waiting cannot be recorded; and an error of the one who queues is passed on.
  EXPECT_EQ(test::code_of([&] { static_cast<void>(runtime().record(stream(), [&] { stream().synchronize(); })); }),
            "backend.failed");
  EXPECT_EQ(test::code_of([&] {
              static_cast<void>(runtime().record(stream(), [&] {
                add(stream(), sum.data(), one.data(), 1);
                throw request_error("config.value", "of the work");
              }));
            }),
            "config.value");
  add(stream(), sum.data(), one.data(), 1);
  EXPECT_EQ(read(sum.data(), 1), std::vector<float>{1.0F});
  const auto graph = runtime().record(stream(), [&] { add(stream(), sum.data(), one.data(), 1); });
  graph->launch(stream());
  EXPECT_EQ(read(sum.data(), 1), std::vector<float>{2.0F});
}

TEST_F(DeviceRuntimes, CopyPinnedMemoryInGraphs) {
  auto* pinned = static_cast<float*>(runtime().allocate_pinned(8, "a test"));
  const Memory memory(runtime(), 8, "a test");
  const auto graph = runtime().record(stream(), [&] { runtime().copy_in(stream(), memory.data(), pinned, 8); });
  for (const float value : {1.0F, 2.0F}) {
    pinned[0] = pinned[1] = value;
    graph->launch(stream());
    EXPECT_EQ(read(memory.data(), 2), std::vector<float>(2, value));
  }
  runtime().release_pinned(pinned);
}

}  // namespace
}  // namespace mlbench::gpu::vendor
