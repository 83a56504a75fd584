// What CUDA says of a call becomes an Error, ErrorKind::internal with code backend.failed.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <cuda_runtime_api.h>

namespace mlbench::cuda {

// "out of memory (cudaErrorMemoryAllocation)"
[[nodiscard]] std::string text_of(cudaError_t status);

// Throws "cuda: DOING: out of memory (cudaErrorMemoryAllocation)". What CUDA keeps of it to say again is taken from it,
// unless the device itself is lost: then every later call fails, too.
[[noreturn]] void fail(cudaError_t status, std::string_view doing);

inline void check(cudaError_t status, std::string_view doing) {
  if (status != cudaSuccess) fail(status, doing);
}

// "2.1 GiB", for messages.
[[nodiscard]] std::string readable_bytes(std::uint64_t bytes);

}  // namespace mlbench::cuda
