// How the executor says what went wrong: a kernel by its argument's type and the line that launched it.
#pragma once

#include <string>
#include <string_view>

#include <fmt/format.h>

#include "backends/gpu/executor/executor.h"
#include "core/error.h"

namespace mlbench::gpu::executor {

// "norms.h:97"
[[nodiscard]] inline std::string line_of(const Here& here) {
  const std::string_view file = here.file;
  return fmt::format("{}:{}", file.substr(file.rfind('/') + 1), here.line);
}

[[nodiscard]] inline Error error(const std::string& what) {
  return Error(ErrorKind::internal, "backend.failed", fmt::format("host executor: {}", what));
}

// "(0, 2, 0)"
[[nodiscard]] inline std::string text(Place place) { return fmt::format("({}, {}, {})", place.x, place.y, place.z); }

// "normalize_rows<32, DType::f32> (norms.h:97)"
[[nodiscard]] inline std::string text(const Here& here) { return fmt::format("{} ({})", here.function, line_of(here)); }

// "the kernel of NormCall, launched at norms.h:99"
[[nodiscard]] inline std::string text(const Launch& launch) {
  return fmt::format("the kernel of {}, launched at {}", launch.call, line_of(launch.here));
}

// Throws where no device would take the launch.
inline void check(const Launch& launch, const Options& options, int most_threads) {
  const auto refuse = [&](const std::string& what) { throw error(fmt::format("{}: {}", text(launch), what)); };
  const Place grid = launch.grid;
  const Place block = launch.block;
  if (options.warp_width != 32 && options.warp_width != 64) {
    refuse(fmt::format("at a warp width of {}: it is 32 or 64", options.warp_width));
  }
  const auto threads = static_cast<Index>(block.x) * block.y * block.z;
  if (block.x < 1 || block.y < 1 || block.z < 1 || threads > most_threads) {
    refuse(fmt::format("blocks of {} threads: at least 1 and at most {} can be", text(block), most_threads));
  }
  constexpr int kMostBlocks = 65535;  // CUDA's limit for y and z
  if (grid.x < 1 || grid.y < 1 || grid.z < 1 || grid.y > kMostBlocks || grid.z > kMostBlocks) {
    refuse(fmt::format("a grid of {} blocks: at least 1 and at most 2147483647, 65535, 65535 can be", text(grid)));
  }
  if (launch.shared_bytes < 0 || launch.shared_bytes > options.shared_bytes) {
    refuse(fmt::format("{} bytes of dynamic shared memory: a block may have {}", launch.shared_bytes,
                       options.shared_bytes));
  }
}

}  // namespace mlbench::gpu::executor
