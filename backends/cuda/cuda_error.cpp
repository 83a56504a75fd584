#include "backends/cuda/cuda_error.h"

#include <fmt/format.h>

#include "core/error.h"

namespace mlbench::cuda {

std::string text_of(cudaError_t status) {
  return fmt::format("{} ({})", cudaGetErrorString(status), cudaGetErrorName(status));
}

void fail(cudaError_t status, std::string_view doing) {
  static_cast<void>(cudaGetLastError());  // else the next launch would seem to have failed
  throw Error(ErrorKind::internal, "backend.failed", fmt::format("cuda: {}: {}", doing, text_of(status)));
}

std::string readable_bytes(std::uint64_t bytes) {
  const auto count = static_cast<double>(bytes);
  if (count >= 0x1p30) return fmt::format("{:.1f} GiB", count / 0x1p30);
  if (count >= 0x1p20) return fmt::format("{:.1f} MiB", count / 0x1p20);
  return fmt::format("{} bytes", bytes);
}

}  // namespace mlbench::cuda
