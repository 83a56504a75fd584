// What ROCm alone says of its devices.
#include <unistd.h>

#include <cstring>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backends/gpu/vendor/devices.h"
#include "backends/rocm/hip_api.h"

namespace mlbench::rocm {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::MatchesRegex;
using testing::StartsWith;

HipApi::Properties properties_of_a(const char* processor) {
  HipApi::Properties said{};
  std::strncpy(said.gcnArchName, processor, sizeof said.gcnArchName - 1);
  return said;
}

TEST(RocmDevices, WithoutADriverTheReasonNamesIt) {
  if (::access("/dev/kfd", F_OK) == 0) GTEST_SKIP() << "the machine has AMD's driver";
  EXPECT_THAT(gpu::vendor::look<HipApi>().why_none,
              AllOf(StartsWith("no AMD GPU: hipGetDeviceCount says 100"), HasSubstr("there is no /dev/kfd")));
}

TEST(RocmDevices, AreKnownByTheirProcessor) {
  EXPECT_EQ(HipApi::processor_of(properties_of_a("gfx90a:sramecc+:xnack-")), "gfx90a");
  EXPECT_EQ(HipApi::processor_of(properties_of_a("gfx1100")), "gfx1100");
}

TEST(RocmDevices, WithoutKernelsAreNotUsed) {
  EXPECT_EQ(HipApi::why_without_kernels(properties_of_a(MLBENCH_ROCM_PROCESSOR ":sramecc+:xnack-")), "");
  EXPECT_THAT(HipApi::why_without_kernels(properties_of_a("gfx90")),
              AllOf(StartsWith("it is gfx90, kernels are built for " MLBENCH_ROCM_PROCESSOR),
                    HasSubstr("-DMLBENCH_ROCM_ARCHITECTURES=gfx90 ")));
}

TEST(RocmVersion, NamesHipAndItsLibrary) {
  EXPECT_THAT(HipApi::version(), MatchesRegex("HIP [0-9]+\\.[0-9]+\\.[0-9]+, (rocBLAS [0-9].*|without rocBLAS), "
                                              "(RCCL [0-9]+\\.[0-9]+\\.[0-9]+|without RCCL)"));
}

}  // namespace
}  // namespace mlbench::rocm
