#include "backends/cpu/probe.h"

#include <chrono>
#include <cmath>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backends/cpu/cpu_backend.h"
#include "backends/cpu/threads.h"
#include "tests/support/expect_error.h"

namespace mlbench::cpu {
namespace {

using mlbench::test::code_of;

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20U;

TEST(BufferToRead, IsFourTimesTheCachesAndAtLeast256MiB) {
  EXPECT_EQ(buffer_bytes_to_read(0, 65536 * kMiB), 256 * kMiB);
  EXPECT_EQ(buffer_bytes_to_read(32 * kMiB, 65536 * kMiB), 256 * kMiB);
  EXPECT_EQ(buffer_bytes_to_read(64 * kMiB + 1024, 65536 * kMiB), 256 * kMiB + 4096);
  EXPECT_EQ(buffer_bytes_to_read(512 * kMiB, 65536 * kMiB), 2048 * kMiB);
}

TEST(BufferToRead, LeavesThreeQuartersOfTheMemoryAlone) {
  EXPECT_EQ(buffer_bytes_to_read(32 * kMiB, 512 * kMiB), 128 * kMiB);
  EXPECT_EQ(buffer_bytes_to_read(32 * kMiB, 256 * kMiB + 16383), 64 * kMiB);
}

TEST(BufferToRead, IsNoneWhereCachesWouldHoldMuchOfIt) {
  EXPECT_EQ(buffer_bytes_to_read(32 * kMiB, 256 * kMiB - 4), 0U);
  EXPECT_EQ(buffer_bytes_to_read(512 * kMiB, 2048 * kMiB), 0U);
}

// The rates are of work that was done while the test looked at its clock, and no machine does thousands of
// operations in a cycle of each of its cores many times over.
void expect_plausible(DType dtype, int threads) {
  const auto start = std::chrono::steady_clock::now();
  const backends::DeviceRates rates = measure_rates(dtype, threads, 0.02);
  const double elapsed = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  constexpr double kSmallestProduct = 2.0 * 512 * 512 * 512;
  EXPECT_GE(rates.flops_per_second * elapsed, kSmallestProduct);
  EXPECT_LT(rates.flops_per_second, 4096 * 8e9 * all_threads());
  if (rates.read_bytes_per_second == 0.0) GTEST_SKIP() << "memory is too small for a buffer beyond the caches";
  EXPECT_GE(rates.read_bytes_per_second * elapsed, static_cast<double>(8 * kMiB));
  EXPECT_LT(rates.read_bytes_per_second, 128 * 8e9 * all_threads());
}

TEST(Probe, MeasuresEveryTypeThatTheBackendStores) {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) expect_plausible(dtype, 1);
}

// Under OMP_THREAD_LIMIT too, where they are one.
TEST(Probe, MeasuresWithTwoThreads) { expect_plausible(DType::f32, 2); }

TEST(Probe, MeasuresWithMoreThreadsThanProcessors) { expect_plausible(DType::f32, all_threads() + 1); }

TEST(Probe, RefusesATimeThatIsNone) {
  for (const double seconds : {0.0, -1.0, std::nan(""), static_cast<double>(INFINITY)})
    EXPECT_EQ(code_of([&] { (void)measure_rates(DType::f32, 1, seconds); }), "config.value") << seconds;
}

TEST(Probe, RefusesWhatTheBackendDoesNotRun) {
  const auto backend = make_cpu_backend();
  for (const backends::RunConfig& run : {backends::RunConfig{.dtype = DType::f64},
                                         {.dtype = DType::f32, .device = "cuda:0"},
                                         {.dtype = DType::f32, .threads = -1}})
    EXPECT_EQ(code_of([&] { (void)backend->measure_rates(run, 0.01); }), "config.unsupported");
}

}  // namespace
}  // namespace mlbench::cpu
