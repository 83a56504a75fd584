// What is said of devices, with one and without.
#include <cstdlib>
#include <string>

#include <cuda_runtime_api.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backends/cuda/cuda_error.h"
#include "backends/cuda/cuda_runtime.h"
#include "tests/support/expect_error.h"

namespace mlbench::cuda {
namespace {

using testing::HasSubstr;
using testing::MatchesRegex;
using testing::Not;
using testing::StartsWith;

TEST(CudaDevices, AreThereOrThereIsAReasonInOneLine) {
  const std::string why = cuda_why_none();
  EXPECT_EQ(cuda_devices().empty(), !why.empty());
  EXPECT_THAT(why, Not(HasSubstr("\n")));
}

TEST(CudaDevices, WithoutADriverTheReasonNamesIt) {
  int driver = 0;
  static_cast<void>(cudaDriverGetVersion(&driver));
  if (driver != 0) GTEST_SKIP() << "the machine has a driver for CUDA " << driver / 1000;
  EXPECT_EQ(cuda_why_none(),
            "no CUDA driver: cudaGetDeviceCount says 35, CUDA driver version is insufficient for CUDA runtime version; "
            "the machine has no NVIDIA GPU or its driver is missing");
}

TEST(CudaDevices, HaveKernelsAndMemory) {
  const auto devices = cuda_devices();
  if (devices.empty()) GTEST_SKIP() << cuda_why_none();
  for (const CudaDevice& device : devices) {
    EXPECT_GE(device.major, 8) << device.name;
    EXPECT_GT(device.memory_bytes, 0U) << device.name;
    EXPECT_FALSE(device.name.empty());
  }
}

TEST(CudaDevices, ThatAreNotThereCannotBeUsed) {
  for (const int device : {-1, 4096}) {
    const Error error = test::error_of([&] { static_cast<void>(make_cuda_runtime(device)); });
    EXPECT_EQ(error.kind(), ErrorKind::unavailable);
    EXPECT_EQ(error.code(), "backend.unavailable");
    EXPECT_THAT(error.message(), StartsWith("cuda: "));
  }
}

TEST(CudaDevices, AskingForThemLeavesNoErrorBehind) {
  if (cuda_devices().empty()) GTEST_SKIP() << cuda_why_none();
  static_cast<void>(cuda_devices());
  EXPECT_EQ(cudaPeekAtLastError(), cudaSuccess);
}

TEST(CudaVersion, NamesCudaAndItsLibrary) {
  EXPECT_THAT(cuda_version(),
              MatchesRegex("CUDA [0-9]+\\.[0-9], (cuBLASLt [0-9]+\\.[0-9]+\\.[0-9]+|without cuBLASLt)"));
}

TEST(CudaErrors, SayWhatWasBeingDone) {
  EXPECT_NO_THROW(check(cudaSuccess, "nothing"));
  const Error error = test::error_of([] { check(cudaErrorMemoryAllocation, "2.1 GiB for the cache"); });
  EXPECT_EQ(error.kind(), ErrorKind::internal);
  EXPECT_EQ(error.code(), "backend.failed");
  EXPECT_EQ(error.message(), "cuda: 2.1 GiB for the cache: out of memory (cudaErrorMemoryAllocation)");
}

TEST(CudaErrors, AreNotSaidAgainOfTheNextCall) {
  if (cuda_devices().empty()) GTEST_SKIP() << "without a driver CUDA says so for ever: " << cuda_why_none();
  void* memory = nullptr;
  const cudaError_t status = cudaMalloc(&memory, std::size_t{1} << 60U);  // more than any device has
  ASSERT_NE(status, cudaSuccess);
  EXPECT_THROW(check(status, "too much"), Error);
  EXPECT_EQ(cudaPeekAtLastError(), cudaSuccess);
}

TEST(CudaErrors, CountBytesAsPeopleDo) {
  EXPECT_EQ(readable_bytes(0), "0 bytes");
  EXPECT_EQ(readable_bytes((1U << 20U) - 1), "1048575 bytes");
  EXPECT_EQ(readable_bytes(1U << 20U), "1.0 MiB");
  EXPECT_EQ(readable_bytes(std::uint64_t{2254857830}), "2.1 GiB");
}

}  // namespace
}  // namespace mlbench::cuda
