// Wrong kernels are found out, by an error or by a wrong result, whatever the order of threads; right ones never are.
#include "planted_faults.h"

#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "kernel_test.h"

namespace mlbench::gpu::host_device {
namespace {

using testing::AllOf;
using testing::ContainsRegex;
using testing::HasSubstr;

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kAddressSanitizer = true;
#else
constexpr bool kAddressSanitizer = false;
#endif

constexpr int kSteps = 5;

using Planted = void (*)(PlantedCall);

// One block of two warps, x[i] = i + 1; its y.
struct Case {
  explicit Case(int block) : n(block), x(static_cast<std::size_t>(kSteps * n)), y(static_cast<std::size_t>(n), -1.0F) {
    std::iota(x.begin(), x.end(), 1.0F);
  }
  void run(Planted kernel, bool planted) {
    const PlantedCall call{x.data(), y.data(), kSteps, planted};
    launch(kernel, {1, 1, 1}, {n, 1, 1}, n * static_cast<int>(sizeof(float)), stream, call);
  }

  test::NoStream stream;
  int n;
  std::vector<float> x, y;
};

// "none" where nothing is thrown.
std::string message_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::internal);
    EXPECT_EQ(error.code(), "backend.failed");
    return error.message();
  }
  return "none";
}

template <int W>
std::vector<float> reversed(const Case& c) {
  return {c.x.rend() - c.n, c.x.rend()};
}

template <int W>
void expect_works() {
  Case c(2 * W);
  c.run(missing_barrier<W>, false);
  EXPECT_EQ(c.y, reversed<W>(c));
}

// Calls test(std::integral_constant<int, W>()) for warps of 32 and of 64 threads, in this many orders of threads each.
template <class Test>
void in_orders(std::uint64_t orders, const Test& test) {
  const auto with = [&](auto w) {
    executor::options().warp_width = w();
    for (std::uint64_t seed = 0; seed < orders; ++seed) {
      SCOPED_TRACE(testing::Message() << "warps of " << w() << ", seed " << seed);
      executor::options().seed = seed;
      test(w);
    }
  };
  with(std::integral_constant<int, 32>());
  with(std::integral_constant<int, 64>());
  executor::options() = {};
}

// The mistake gives such an error in every order, after which the executor works.
template <class Kernel, class Matcher>
void expect_fault(const Kernel& kernel, const Matcher& matcher) {
  in_orders(20, [&](auto w) {
    EXPECT_THAT(message_of([&] { Case(2 * w()).run(kernel(w), true); }), matcher);
    expect_works<w()>();
  });
}

// The mistake gives a wrong result in every order.
template <class Kernel>
void expect_wrong_result(const Kernel& kernel) {
  in_orders(20, [&](auto w) {
    Case right(2 * w());
    right.run(kernel(w), false);
    Case wrong(2 * w());
    wrong.run(kernel(w), true);
    EXPECT_NE(right.y, wrong.y);
  });
}

TEST(PlantedFaults, MissingBarrierGivesAWrongResult) {
  expect_wrong_result([](auto w) { return missing_barrier<w()>; });
}
TEST(PlantedFaults, MissingSecondBarrierGivesAWrongResult) {
  expect_wrong_result([](auto w) { return missing_second_barrier<w()>; });
}
TEST(PlantedFaults, ShuffleIsNoBarrier) {
  expect_wrong_result([](auto w) { return warp_taken_for_barrier<w()>; });
}

TEST(PlantedFaults, EarlyReturnIsReported) {
  expect_fault([](auto w) { return early_return<w()>; },
               AllOf(ContainsRegex("the kernel of PlantedCall, launched at planted_faults_test.cpp:[0-9]+"),
                     ContainsRegex("block \\(0, 0, 0\\).* 3 of [0-9]+ have returned; [0-9]+ from "
                                   "\\(0, 0, 0\\) on wait for the block at early_return<[0-9]+> "
                                   "\\(planted_faults.h:[0-9]+\\)")));
}
TEST(PlantedFaults, DivergentBarrierIsReported) {
  expect_fault([](auto w) { return divergent_barrier<w()>; },
               ContainsRegex("thread \\([0-9]+, 0, 0\\), in divergent_barrier<[0-9]+> \\(planted_faults.h:[0-9]+\\): "
                             "a divergent barrier: others wait at divergent_barrier<[0-9]+> \\(planted_faults.h"));
}
TEST(PlantedFaults, ShuffleOfHalfAWarpIsReported) {
  expect_fault(
      [](auto w) { return half_a_warp_shuffles<w()>; },
      ContainsRegex("not all threads reach: [0-9]+ of [0-9]+ have returned; .* for their warp at half_a_warp"));
}
TEST(PlantedFaults, ShuffleAgainstBarrierIsReported) {
  expect_fault([](auto w) { return shuffle_against_barrier<w()>; },
               AllOf(HasSubstr("for their warp at"), HasSubstr("for the block at")));
}
TEST(PlantedFaults, LaneThatDoesNotExistIsReported) {
  expect_fault([](auto w) { return lane_that_does_not_exist<w()>; }, ContainsRegex("lane (32|64) does not exist"));
}
TEST(PlantedFaults, MisalignedPackIsReported) {
  expect_fault([](auto w) { return misaligned_pack<w()>; },
               HasSubstr("a pack of 16 bytes where no multiple of them stands"));
}

TEST(PlantedFaults, SharedMemoryOverrunByOneIsReported) {
  if (kAddressSanitizer) {
    EXPECT_DEATH(Case(64).run(overrun_by_one<32>, true), "use-after-poison");
    return;
  }
  expect_fault([](auto w) { return overrun_by_one<w()>; },
               AllOf(HasSubstr("before the barrier at overrun_by_one"),
                     HasSubstr("wrote 1 bytes past the end of dynamic shared memory")));
}
TEST(PlantedFaults, SharedMemoryWrittenBeforeItsStartIsReportedAtTheEnd) {
  if (kAddressSanitizer) {
    EXPECT_DEATH(Case(64).run(overrun_at_the_end<32>, true), "use-after-poison");
    return;
  }
  expect_fault([](auto w) { return overrun_at_the_end<w()>; },
               HasSubstr("before the block's end a thread wrote 4 bytes before the start of row"));
}
TEST(PlantedFaults, GlobalMemoryOverrunByOneIsReported) {
  if (!kAddressSanitizer) GTEST_SKIP() << "only AddressSanitizer sees it";
  Case c(kSteps);
  c.n = 32;
  EXPECT_DEATH(c.run(global_overrun<32>, true), "heap-buffer-overflow");
}
TEST(PlantedFaults, StackOverflowEndsTheProcess) {
  EXPECT_DEATH(Case(64).run(deep_stack<32>, true), kAddressSanitizer ? "stack-overflow" : "");
}

TEST(PlantedFaults, ExceptionOfAKernelPasses) {
  in_orders(2, [](auto w) {
    Case c(2 * w());
    EXPECT_THROW(c.run(throws<w()>, true), std::runtime_error);
    expect_works<w()>();
  });
}

TEST(PlantedFaults, WrongWarpWidthIsReported) {
  executor::options().warp_width = 32;
  Case c(64);
  EXPECT_THAT(message_of([&] { c.run(half_a_warp_shuffles<64>, false); }),
              HasSubstr("made for warps of 64 threads, launched on a device with 32"));
  executor::options().warp_width = 64;
  EXPECT_THAT(message_of([&] { c.run(half_a_warp_shuffles<32>, false); }),
              HasSubstr("made for warps of 32 threads, launched on a device with 64"));
  executor::options() = {};
}
TEST(PlantedFaults, ShuffleInABlockOfNoWholeWarpsIsReported) {
  in_orders(2, [](auto w) {
    Case c(w() + 1);
    EXPECT_THAT(message_of([&] { c.run(half_a_warp_shuffles<w()>, false); }),
                ContainsRegex("in a block of (33|65) threads"));
  });
}

// Right kernels, of all of the above.
template <int W>
void expect_right_results() {
  const std::vector<float> ones(2 * W, 1.0F);
  const auto y_of = [](Planted kernel) {
    Case c(2 * W);
    c.run(kernel, false);
    return c.y;
  };
  Case c(2 * W);
  std::vector<float> neighbours, sums, largest, first;
  for (int i = 0; i < 2 * W; ++i) {
    neighbours.push_back(static_cast<float>((i ^ 1) + 1));
    const int lane_0 = i / W * W;
    largest.push_back(static_cast<float>(lane_0 + W));
    first.push_back(static_cast<float>(lane_0 + 1));
    float sum = 0.0F;
    for (int s = 0; s < kSteps; ++s) sum += static_cast<float>(s * 2 * W + 2 * W - i);
    sums.push_back(sum);
  }
  EXPECT_EQ(y_of(missing_barrier<W>), reversed<W>(c));
  EXPECT_EQ(y_of(missing_second_barrier<W>), sums);
  EXPECT_EQ(y_of(warp_taken_for_barrier<W>), largest);
  EXPECT_EQ(y_of(early_return<W>), ones);
  EXPECT_EQ(y_of(divergent_barrier<W>), ones);
  EXPECT_EQ(y_of(half_a_warp_shuffles<W>), neighbours);
  EXPECT_EQ(y_of(shuffle_against_barrier<W>), neighbours);
  EXPECT_EQ(y_of(lane_that_does_not_exist<W>), first);
  const std::vector<float> same(c.x.begin(), c.x.begin() + 2 * W);
  EXPECT_EQ(y_of(overrun_by_one<W>), same);
  EXPECT_EQ(y_of(overrun_at_the_end<W>), same);
  EXPECT_EQ(y_of(deep_stack<W>), std::vector<float>(2 * W, 0.0F));
  EXPECT_EQ(y_of(throws<W>), ones);
}

TEST(PlantedFaults, RightKernelsAreNeverReported) {
  in_orders(100, [](auto w) { expect_right_results<w()>(); });
}

}  // namespace
}  // namespace mlbench::gpu::host_device
