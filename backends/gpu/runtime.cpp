#include "backends/gpu/runtime.h"

#include <fmt/format.h>

#include "core/error.h"

namespace mlbench::gpu {

void require_free(const Runtime& runtime, std::uint64_t bytes, std::string_view what) {
  const std::uint64_t free = runtime.free_bytes();
  if (bytes <= free) return;
  constexpr double kGiB = 0x1p30;
  throw Error(ErrorKind::unavailable, "memory.exceeded",
              fmt::format("{} take {:.2f} GiB, of which {} has {:.2f} free", what, static_cast<double>(bytes) / kGiB,
                          runtime.properties().name, static_cast<double>(free) / kGiB));
}

}  // namespace mlbench::gpu
