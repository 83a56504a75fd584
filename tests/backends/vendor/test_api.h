// The vendor whose device is tested: its names, which the build gives.
#pragma once

#include MLBENCH_TEST_API_HEADER

namespace mlbench::gpu::vendor {

using Api = MLBENCH_TEST_API;

}  // namespace mlbench::gpu::vendor
