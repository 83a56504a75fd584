#include "harness/memory.h"

#include <sys/resource.h>

#include <fstream>

#include <fmt/format.h>

#include "core/error.h"

namespace mlbench::harness {

std::uint64_t available_memory_bytes() {
  std::ifstream file("/proc/meminfo");
  std::string name, unit;
  std::uint64_t kib = 0;
  while (file >> name >> kib) {
    std::getline(file, unit);
    if (name == "MemAvailable:") return kib * 1024;
  }
  return 0;
}

std::uint64_t peak_memory_bytes() {
  rusage usage{};
  return ::getrusage(RUSAGE_SELF, &usage) == 0 ? static_cast<std::uint64_t>(usage.ru_maxrss) * 1024 : 0;
}

void require_memory(std::uint64_t bytes, const std::string& what) {
  const std::uint64_t available = available_memory_bytes();
  if (available == 0 || bytes <= available) return;
  throw request_error("memory.exceeded",
                      fmt::format("{}: the run takes up to {:.1f} GiB; this machine has {:.1f} GiB free", what,
                                  static_cast<double>(bytes) / 0x1p30, static_cast<double>(available) / 0x1p30));
}

}  // namespace mlbench::harness
