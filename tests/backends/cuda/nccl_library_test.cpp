// NCCL as it is installed; what it is asked for is tested without it (tests/backends/gpu/ccl_test.cpp).
#include "backends/cuda/nccl_library.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mlbench::cuda {
namespace {

TEST(NcclLibrary, SaysItsVersion) {
  const auto nccl = make_nccl(0);
  if (nccl == nullptr) GTEST_SKIP() << "NCCL cannot be opened here";
  EXPECT_THAT(nccl->name(), testing::MatchesRegex("NCCL 2\\.[0-9]+\\.[0-9]+"));
}

}  // namespace
}  // namespace mlbench::cuda
