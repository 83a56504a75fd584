// What CUDA alone says of its devices.
#include <cuda_runtime_api.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backends/cuda/cuda_api.h"
#include "backends/gpu/vendor/devices.h"
#include "core/error.h"

namespace mlbench::cuda {
namespace {

using testing::HasSubstr;
using testing::MatchesRegex;

TEST(CudaDevices, WithoutADriverTheReasonNamesIt) {
  int driver = 0;
  static_cast<void>(cudaDriverGetVersion(&driver));
  if (driver != 0) GTEST_SKIP() << "the machine has a driver for CUDA " << driver / 1000;
  EXPECT_EQ(gpu::vendor::look<CudaApi>().why_none,
            "no CUDA driver: cudaGetDeviceCount says 35, CUDA driver version is insufficient for CUDA runtime version; "
            "the machine has no NVIDIA GPU or its driver is missing");
}

TEST(CudaDevices, OlderThanTheKernelsAreNotUsed) {
  cudaDeviceProp said{};
  said.major = 7;
  said.minor = 5;
  EXPECT_EQ(CudaApi::why_without_kernels(said), "its compute capability is 7.5, kernels are built for 8.0 and newer");
  said.major = 9;
  EXPECT_EQ(CudaApi::why_without_kernels(said), "");
}

TEST(CudaVersion, NamesCudaAndItsLibrary) {
  EXPECT_THAT(CudaApi::version(),
              MatchesRegex("CUDA [0-9]+\\.[0-9], (cuBLASLt [0-9]+\\.[0-9]+\\.[0-9]+|without cuBLASLt), "
                           "(NCCL [0-9]+\\.[0-9]+\\.[0-9]+|without NCCL)"));
}

}  // namespace
}  // namespace mlbench::cuda
