// The words that compute, against their definitions, in blocks of several warps and in several orders of threads.
#include "backends/gpu/kernels/vocabulary.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "kernel_test.h"

namespace mlbench::gpu::host_device {
namespace {

using test::on_every_warp;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// x and y, one value a thread.
template <class T>
struct ValuesCall {
  const T* x = nullptr;
  T* y = nullptr;
  int argument = 0;
};

enum class Word { shuffle, shuffle_xor, shuffle_down };

template <int W, Word word, class T>
GPU_KERNEL void ask_lanes(ValuesCall<T> call) {
  const int i = thread_place().x;
  if constexpr (word == Word::shuffle) call.y[i] = shuffle<W>(call.x[i], (call.argument + 3 * lane<W>()) % W);
  if constexpr (word == Word::shuffle_xor) call.y[i] = shuffle_xor<W>(call.x[i], call.argument);
  if constexpr (word == Word::shuffle_down) call.y[i] = shuffle_down<W>(call.x[i], call.argument);
}

int asked_lane(Word word, int lane, int argument, int width) {
  if (word == Word::shuffle) return (argument + 3 * lane) % width;
  if (word == Word::shuffle_xor) return lane ^ argument;
  return lane + argument < width ? lane + argument : lane;
}

template <class T>
std::vector<T> results(void (*kernel)(ValuesCall<T>), const std::vector<T>& x, int argument = 0) {
  test::NoStream stream;
  std::vector<T> y(x.size());
  launch(kernel, {1, 1, 1}, {static_cast<int>(x.size()), 1, 1}, 0, stream, ValuesCall<T>{x.data(), y.data(), argument});
  return y;
}

template <int W, Word word, class T>
void expect_lanes() {
  for (const int argument : {0, 1, 5, W - 1}) {
    std::vector<T> x, expected;
    for (int i = 0; i < 3 * W; ++i) x.push_back(static_cast<T>(i) + static_cast<T>(1 << 20));
    for (int i = 0; i < 3 * W; ++i) {
      const int source = i / W * W + asked_lane(word, i % W, argument, W);
      expected.push_back(x[static_cast<std::size_t>(source)]);
    }
    EXPECT_EQ(results(ask_lanes<W, word, T>, x, argument), expected) << argument;
  }
}

TEST(Vocabulary, ShufflesGiveTheLaneThatIsAskedFor) {
  on_every_warp([](auto w) {
    expect_lanes<w(), Word::shuffle, float>();
    expect_lanes<w(), Word::shuffle, double>();
    expect_lanes<w(), Word::shuffle_xor, std::int32_t>();
    expect_lanes<w(), Word::shuffle_xor, std::int64_t>();
    expect_lanes<w(), Word::shuffle_down, float>();
    expect_lanes<w(), Word::shuffle_down, std::uint32_t>();
  });
}

// A lane that is ahead writes what the next shuffle needs while others still read the last one's.
template <int W>
GPU_KERNEL void shuffle_around(ValuesCall<float> call) {
  const int i = thread_place().x;
  float value = call.x[i];
  for (int n = 0; n < call.argument; ++n) value = shuffle<W>(value, (lane<W>() + 1) % W);
  call.y[i] = value;
}

TEST(Vocabulary, ShufflesInARowDoNotDisturbEachOther) {
  on_every_warp([](auto w) {
    std::vector<float> x, expected;
    for (int i = 0; i < 2 * w(); ++i) x.push_back(static_cast<float>(i));
    for (int i = 0; i < 2 * w(); ++i) {
      const int source = i / w() * w() + (i + 37) % w();
      expected.push_back(static_cast<float>(source));
    }
    EXPECT_EQ(results(shuffle_around<w()>, x, 37), expected);
  });
}

template <int W>
GPU_KERNEL void vote(ValuesCall<std::uint64_t> call) {
  const int i = thread_place().x;
  call.y[i] = ballot<W>(call.x[i] != 0);
}

TEST(Vocabulary, BallotHasABitForEachLane) {
  on_every_warp([](auto w) {
    std::vector<std::uint64_t> x, expected;
    std::vector<std::uint64_t> votes(3, 0);
    for (unsigned i = 0; i < 3U * w(); ++i) {
      x.push_back(scattered(5, i) % 3 == 0 ? 0 : 1);
      votes[i / w()] |= x.back() << (i % w());
    }
    for (unsigned i = 0; i < 3U * w(); ++i) expected.push_back(votes[i / w()]);
    EXPECT_EQ(results(vote<w()>, x), expected);
  });
}

template <int W>
GPU_KERNEL void sum_in_warps(ValuesCall<float> call) {
  const int i = thread_place().x;
  call.y[i] = warp_sum<W>(call.x[i]);
}

template <int W>
GPU_KERNEL void largest_in_warps(ValuesCall<float> call) {
  const int i = thread_place().x;
  call.y[i] = warp_max<W>(call.x[i]);
}

TEST(Vocabulary, WarpSumOfIntegersIsExact) {
  on_every_warp([](auto w) {
    std::vector<float> x, expected, sums(3, 0.0F);
    for (std::size_t i = 0; i < 3U * w(); ++i) {
      x.push_back(static_cast<float>(scattered(1, i) % 1000) - 500.0F);
      sums[i / w()] += x.back();
    }
    for (std::size_t i = 0; i < 3U * w(); ++i) expected.push_back(sums[i / w()]);
    EXPECT_EQ(results(sum_in_warps<w()>, x), expected);
  });
}

TEST(Vocabulary, WarpSumOfLargeAndSmallIsTheSameInEveryLane) {
  on_every_warp([](auto w) {
    std::vector<float> x;
    for (std::size_t i = 0; i < w(); ++i)
      x.push_back(std::ldexp(static_cast<float>(scattered(1, i) % 1000), static_cast<int>(i % 30)));
    const std::vector<float> y = results(sum_in_warps<w()>, x);
    EXPECT_EQ(y, std::vector<float>(x.size(), y[0]));
  });
}

TEST(Vocabulary, WarpMaxKnowsInfinitiesAndPassesOverNan) {
  on_every_warp([](auto w) {
    std::vector<float> x(4 * w(), -kInfinity), expected;
    x[5] = -3.0F;
    x[w() + 7] = kInfinity;
    x[2 * w() + 1] = kNan;
    x[2 * w() + 2] = 2.0F;
    for (const float value : {-3.0F, kInfinity, 2.0F, -kInfinity}) expected.insert(expected.end(), w(), value);
    EXPECT_EQ(results(largest_in_warps<w()>, x), expected);
  });
}

// The sum, then at once the largest value with the same scratch, then the sum again.
template <int W>
GPU_KERNEL void reduce_block(ValuesCall<float> call) {
  GPU_SHARED(float, of_warps, [executor::kMaxThreads / W]);
  const int i = thread_place().x;
  const float sum = block_sum<W>(call.x[i], of_warps);
  const float largest = block_max<W>(call.x[i], of_warps);
  const float again = block_sum<W>(1.0F, of_warps);
  call.y[i] = sum * 1e6F + largest * 1e3F + (again == static_cast<float>(block_extent().x) ? 0.0F : kNan);
}

TEST(Vocabulary, BlockReductionsCanFollowEachOtherWithTheSameScratch) {
  on_every_warp([](auto w) {
    for (const int warps : {1, 2, 3, 1024 / w()}) {
      std::vector<float> x(static_cast<std::size_t>(warps * w()), 0.0F);
      x[x.size() - 3] = 2.0F;  // small integers: exact
      x[1] = 7.0F;
      EXPECT_EQ(results(reduce_block<w()>, x), std::vector<float>(x.size(), 9e6F + 7e3F)) << warps;
    }
  });
}

TEST(Vocabulary, BlockReductionsHoldInManyOrders) {
  const std::vector<float> x(128, 1.0F);
  for (executor::options().seed = 0; executor::options().seed < 100; ++executor::options().seed) {
    EXPECT_EQ(results(reduce_block<32>, x), std::vector<float>(128, 128e6F + 1e3F));
  }
  executor::options() = {};
}

template <int W>
GPU_KERNEL void places(ValuesCall<std::int32_t> call) {
  const int i = thread_place().x;
  call.y[i] = 1000 * warp<W>() + lane<W>();
}

TEST(Vocabulary, LanesAndWarpsCountThreads) {
  on_every_warp([](auto w) {
    std::vector<std::int32_t> expected;
    for (int i = 0; i < 3 * w(); ++i) expected.push_back(1000 * (i / w()) + i % w());
    EXPECT_EQ(results(places<w()>, std::vector<std::int32_t>(expected.size())), expected);
  });
}

TEST(Vocabulary, LanesOfABlockOfTwoDimensionsAreRefused) {
  on_every_warp([](auto w) {
    test::NoStream stream;
    std::vector<std::int32_t> y(64);
    const ValuesCall<std::int32_t> call{y.data(), y.data()};
    EXPECT_EQ(test::code_of([&] { launch(places<w()>, {1, 1, 1}, {8, 8, 1}, 0, stream, call); }), "backend.failed");
  });
}

template <class T, int n>
GPU_KERNEL void copy_packs(ValuesCall<T> call) {
  Pack<T, n> pack = load_pack<T, n>(call.x + n * thread_place().x);
  std::reverse(pack.values, pack.values + n);
  store_pack(call.y + n * thread_place().x, pack);
}

TEST(Vocabulary, PacksKeepTheirOrder) {
  test::NoStream stream;
  std::vector<float> x, y(16), expected;
  for (int i = 0; i < 16; ++i) x.push_back(static_cast<float>(i));
  for (int i = 0; i < 16; ++i) expected.push_back(static_cast<float>(i ^ 3));
  launch(copy_packs<float, 4>, {1, 1, 1}, {4, 1, 1}, 0, stream, ValuesCall<float>{x.data(), y.data()});
  EXPECT_EQ(y, expected);
}

// A call within one unit in the last place (two of float32's unit roundoffs) of float64's result: the functions of the
// C library are that good.
TEST(Vocabulary, FunctionsAreOfFullAccuracy) {
  const auto expect_near = [](float got, double expected, float x) {
    EXPECT_LE(std::abs(got - expected), 0x1p-23 * std::abs(expected) + 0x1p-149) << x;
  };
  for (const float x : {-80.0F, -3.7F, -1.0F, -1e-4F, 0.0F, 1e-30F, 0.3F, 1.0F, 2.5F, 80.0F}) {
    expect_near(gpu_exp(x), std::exp(static_cast<double>(x)), x);
    expect_near(gpu_erf(x), std::erf(static_cast<double>(x)), x);
    expect_near(gpu_tanh(x), std::tanh(static_cast<double>(x)), x);
    EXPECT_EQ(gpu_abs(x), std::fabs(x));
    if (x <= 0.0F) continue;
    expect_near(gpu_sqrt(x), std::sqrt(static_cast<double>(x)), x);
    expect_near(gpu_rsqrt(x), 1.0 / std::sqrt(static_cast<double>(x)), x);
  }
  EXPECT_EQ(gpu_fma(0x1.000002p0F, 0x1.000002p0F, -1.0F), 0x1.000004p0F - 1.0F + 0x1p-46F);
  EXPECT_EQ(gpu_max(1.0F, kNan), 1.0F);
  EXPECT_EQ(gpu_min(kNan, -kInfinity), -kInfinity);
}

}  // namespace
}  // namespace mlbench::gpu::host_device
