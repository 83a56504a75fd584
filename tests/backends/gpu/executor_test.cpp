#include "backends/gpu/executor/executor.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backends/gpu/kernels/vocabulary.h"
#include "core/error.h"
#include "kernel_test.h"

namespace mlbench::gpu::host_device {
namespace {

using testing::HasSubstr;
using testing::UnorderedElementsAreArray;

struct Options : testing::Test {
  ~Options() override { executor::options() = {}; }
  test::NoStream stream;
};
using Executor = Options;
using Launches = Options;
using SharedMemory = Options;

std::string message_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), "backend.failed");
    return error.message();
  }
  return "none";
}

// Who was here, in order.
struct Visit {
  int block, thread;
  friend bool operator==(const Visit&, const Visit&) = default;
  friend bool operator<(const Visit& a, const Visit& b) {
    return std::tie(a.block, a.thread) < std::tie(b.block, b.thread);
  }
};
struct VisitCall {
  std::vector<Visit>* visits = nullptr;
  int barriers = 0;
};

int number(Place place, Place extent) { return (place.z * extent.y + place.y) * extent.x + place.x; }

GPU_KERNEL void visit(VisitCall call) {
  for (int i = 0; i <= call.barriers; ++i) {
    if (i > 0) barrier();
    call.visits->push_back({number(block_place(), grid_extent()), number(thread_place(), block_extent())});
  }
}

std::vector<Visit> visits_of(Stream& stream, Place grid, Place block, int barriers) {
  std::vector<Visit> visits;
  launch(visit, grid, block, 0, stream, VisitCall{&visits, barriers});
  return visits;
}

TEST_F(Executor, EveryThreadOfEveryBlockRunsOnce) {
  const Place grid{3, 2, 4};
  const Place block{5, 3, 2};
  std::vector<Visit> all;
  for (int b = 0; b < 24; ++b) {
    for (int t = 0; t < 30; ++t) all.push_back({b, t});
  }
  EXPECT_THAT(visits_of(stream, grid, block, 0), UnorderedElementsAreArray(all));
}

TEST_F(Executor, ABlockEndsBeforeAnotherBegins) {
  const auto visits = visits_of(stream, {7, 1, 1}, {40, 1, 1}, 2);
  for (std::size_t i = 0; i < visits.size(); ++i) EXPECT_EQ(visits[i].block, visits[i / 120 * 120].block);
}

TEST_F(Executor, NobodyPassesABarrierBeforeAllHaveReachedIt) {
  const auto visits = visits_of(stream, {1, 1, 1}, {100, 1, 1}, 3);
  ASSERT_EQ(visits.size(), 400U);
  for (std::size_t from = 0; from < 400; from += 100) {
    std::set<int> threads;
    for (std::size_t i = from; i < from + 100; ++i) threads.insert(visits[i].thread);
    EXPECT_EQ(threads.size(), 100U);
  }
}

TEST_F(Executor, SameSeedSameOrder) {
  executor::options().seed = 7;
  const auto visits = visits_of(stream, {4, 1, 1}, {64, 1, 1}, 2);
  EXPECT_EQ(visits_of(stream, {4, 1, 1}, {64, 1, 1}, 2), visits);
  executor::options().seed = 8;
  EXPECT_NE(visits_of(stream, {4, 1, 1}, {64, 1, 1}, 2), visits);
}

TEST_F(Executor, OrderOfBlocksAndOfThreadsIsDrawn) {
  std::set<int> first_blocks, first_threads;
  for (executor::options().seed = 0; executor::options().seed < 30; ++executor::options().seed) {
    const auto visits = visits_of(stream, {4, 1, 1}, {4, 1, 1}, 1);
    first_blocks.insert(visits[0].block);
    first_threads.insert(visits[4].thread);  // after the barrier
  }
  EXPECT_EQ(first_blocks.size(), 4U);  // missed by chance once in 1400 sets of seeds; these are fixed
  EXPECT_EQ(first_threads.size(), 4U);
}

TEST_F(Executor, LaunchesOfSeveralThreadsTakeTurns) {
  const auto launches = [] {
    test::NoStream own;
    for (int i = 0; i < 50; ++i) EXPECT_EQ(visits_of(own, {2, 1, 1}, {64, 1, 1}, 3).size(), 512U);
  };
  std::thread other(launches);
  launches();
  other.join();
}

struct CountedCall {
  std::atomic<int>* alive = nullptr;
  int bad_thread = -1;
};

GPU_KERNEL void counted(CountedCall call) {
  struct Counted {
    explicit Counted(std::atomic<int>& n) : alive(n) { ++alive; }
    Counted(const Counted&) = delete;
    Counted& operator=(const Counted&) = delete;
    ~Counted() { --alive; }
    std::atomic<int>& alive;
  };
  const Counted me(*call.alive);
  barrier();
  if (thread_place().x == call.bad_thread) throw std::runtime_error("bad thread");
  barrier();
}

TEST_F(Executor, FaultLeavesNothingOnTheStacks) {
  std::atomic<int> alive = 0;
  for (executor::options().seed = 0; executor::options().seed < 20; ++executor::options().seed) {
    EXPECT_THROW(launch(counted, {3, 1, 1}, {64, 1, 1}, 0, stream, CountedCall{&alive, 17}), std::runtime_error);
    EXPECT_EQ(alive, 0);
    launch(counted, {3, 1, 1}, {64, 1, 1}, 0, stream, CountedCall{&alive, -1});
    EXPECT_EQ(alive, 0);
  }
}

struct NestedCall {
  Stream* stream = nullptr;
};
GPU_KERNEL void nested(NestedCall call) {
  std::vector<Visit> visits;
  launch(visit, {1, 1, 1}, {1, 1, 1}, 0, *call.stream, VisitCall{&visits, 0});
}

TEST_F(Executor, NestedLaunchIsRefused) {
  EXPECT_THAT(message_of([&] {
                launch(nested, {1, 1, 1}, {4, 1, 1}, 0, stream, NestedCall{&stream});
              }),
              HasSubstr("a kernel launches another, at nested (executor_test.cpp:"));
  EXPECT_EQ(visits_of(stream, {1, 1, 1}, {4, 1, 1}, 0).size(), 4U);
}

TEST_F(Executor, WordsOfKernelsAreRefusedElsewhere) {
  EXPECT_THAT(message_of([] { (void)thread_place(); }), HasSubstr("outside of kernels"));
  EXPECT_THAT(message_of([] { barrier(); }), HasSubstr("outside of kernels"));
  EXPECT_THAT(message_of([] { (void)shuffle<32>(1.0F, 0); }), HasSubstr("outside of kernels"));
  EXPECT_THAT(message_of([] { (void)lane<32>(); }), HasSubstr("outside of kernels"));
}

std::string refusal(Stream& stream, Place grid, Place block, Index shared_bytes) {
  std::vector<Visit> visits;
  std::string message = message_of([&] { launch(visit, grid, block, shared_bytes, stream, VisitCall{&visits, 0}); });
  EXPECT_TRUE(visits.empty());
  return message;
}

TEST_F(Launches, ShapeThatNoDeviceTakesIsRefused) {
  EXPECT_THAT(refusal(stream, {1, 1, 1}, {1025, 1, 1}, 0),
              HasSubstr("the kernel of VisitCall, launched at executor_test.cpp:"));
  EXPECT_THAT(refusal(stream, {1, 1, 1}, {1025, 1, 1}, 0),
              HasSubstr("blocks of (1025, 1, 1) threads: at least 1 and at"));
  EXPECT_THAT(refusal(stream, {1, 1, 1}, {32, 32, 2}, 0), HasSubstr("blocks of (32, 32, 2) threads"));
  EXPECT_THAT(refusal(stream, {1, 1, 1}, {1 << 16, 1 << 16, 1}, 0), HasSubstr("blocks of (65536, 65536, 1) threads"));
  EXPECT_THAT(refusal(stream, {1, 1, 1}, {0, 1, 1}, 0), HasSubstr("blocks of (0, 1, 1) threads"));
  EXPECT_THAT(refusal(stream, {1, 1, 1}, {-1, -1, 1}, 0), HasSubstr("blocks of (-1, -1, 1) threads"));
  EXPECT_THAT(refusal(stream, {0, 1, 1}, {32, 1, 1}, 0), HasSubstr("a grid of (0, 1, 1) blocks"));
  EXPECT_THAT(refusal(stream, {1, 65536, 1}, {32, 1, 1}, 0), HasSubstr("a grid of (1, 65536, 1) blocks"));
  EXPECT_THAT(refusal(stream, {1, 1, -1}, {32, 1, 1}, 0), HasSubstr("a grid of (1, 1, -1) blocks"));
}

TEST_F(Launches, LargestBlockIsTaken) { EXPECT_EQ(visits_of(stream, {1, 1, 1}, {1024, 1, 1}, 1).size(), 2048U); }

TEST_F(Launches, WidthThatNoDeviceHasIsRefused) {
  executor::options().warp_width = 16;
  EXPECT_THAT(refusal(stream, {1, 1, 1}, {32, 1, 1}, 0), HasSubstr("warp width of 16: it is 32 or 64"));
}

TEST_F(Launches, TooMuchDynamicSharedMemoryIsRefused) {
  executor::options().shared_bytes = 1000;
  EXPECT_EQ(visits_of(stream, {1, 1, 1}, {32, 1, 1}, 0).size(), 32U);
  EXPECT_THAT(refusal(stream, {1, 1, 1}, {32, 1, 1}, 1001),
              HasSubstr("1001 bytes of dynamic shared memory: a block may have 1000"));
  EXPECT_THAT(refusal(stream, {1, 1, 1}, {32, 1, 1}, -1), HasSubstr("-1 bytes of dynamic shared memory"));
}

struct ArraysCall {
  std::vector<const void*>* places = nullptr;
  int* written = nullptr;  // values that were not NaN before anybody wrote
};

template <int n>
GPU_DEVICE const void* inner_array() {
  GPU_SHARED(float, inner, [n]);
  return inner;
}

GPU_KERNEL void arrays(ArraysCall call) {
  GPU_DYNAMIC_SHARED(float, dynamic);
  GPU_SHARED(float, matrix, [3][5]);
  GPU_SHARED(Index, one);
  GPU_SHARED(std::uint16_t, narrow, [7]);
  for (int i = 0; i < 10; ++i) *call.written += std::isnan(dynamic[i]) ? 0 : 1;
  for (const auto& row : matrix) {
    for (const float value : row) *call.written += std::isnan(value) ? 0 : 1;
  }
  *call.written += one == -1 && narrow[6] == 0xFFFF ? 0 : 1;
  for (const void* place :
       {static_cast<const void*>(dynamic), static_cast<const void*>(matrix), static_cast<const void*>(&one),
        static_cast<const void*>(narrow), inner_array<4>(), inner_array<5>()}) {
    call.places->push_back(place);
  }
  barrier();
  dynamic[0] = matrix[2][4] = 1.0F;
  one = 5;
}

TEST_F(SharedMemory, ABlockHasOneArrayOfEachDeclaration) {
  std::vector<const void*> places;
  int written = 0;
  launch(arrays, {1, 1, 1}, {33, 1, 1}, 40, stream, ArraysCall{&places, &written});
  EXPECT_EQ(places.size(), 6U * 33U);
  EXPECT_EQ(std::set<const void*>(places.begin(), places.end()).size(), 6U);
  for (const void* place : places) EXPECT_EQ(reinterpret_cast<std::uintptr_t>(place) % 16, 0U);
}

TEST_F(SharedMemory, IsNanInEveryBlockUntilItIsWritten) {
  std::vector<const void*> places;
  int written = 0;
  for (int i = 0; i < 3; ++i) launch(arrays, {4, 1, 1}, {2, 1, 1}, 40, stream, ArraysCall{&places, &written});
  EXPECT_EQ(written, 0);
}

TEST_F(SharedMemory, DeclarationBeyondTheLimitIsReported) {
  std::vector<const void*> places;
  int written = 0;
  const ArraysCall call{&places, &written};
  executor::options().shared_bytes = 40 + 60 + 8 + 14 + 16 + 20;
  launch(arrays, {1, 1, 1}, {2, 1, 1}, 40, stream, call);
  --executor::options().shared_bytes;
  EXPECT_THAT(message_of([&] {
                launch(arrays, {1, 1, 1}, {2, 1, 1}, 40, stream, call);
              }),
              HasSubstr("in inner_array<5> (executor_test.cpp:"));
  EXPECT_THAT(message_of([&] {
                launch(arrays, {1, 1, 1}, {2, 1, 1}, 40, stream, call);
              }),
              HasSubstr("inner: 158 bytes of shared memory in all, a block may have 157"));
}

}  // namespace
}  // namespace mlbench::gpu::host_device
