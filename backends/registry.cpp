#include "backends/registry.h"

#include <filesystem>

#include "backends/cpu/cpu_backend.h"

namespace mlbench::backends {
namespace {

constexpr Entry kEntries[] = {
    {"cpu", "oneDNN on this machine's processor", &cpu::make_cpu_backend, ""},
    {"cuda", "CUDA with cuBLAS", nullptr, "libmlbench_cuda.so"},
    {"rocm", "ROCm with HIP", nullptr, "libmlbench_rocm.so"},
};

}  // namespace

std::span<const Entry> built_in() { return kEntries; }

std::vector<std::string> library_places(std::string_view file) {
  std::error_code none;
  const std::filesystem::path folder = std::filesystem::read_symlink("/proc/self/exe", none).parent_path();
  return {folder / file, folder / "lib" / file, folder.parent_path() / "lib" / "mlbench" / file};
}

}  // namespace mlbench::backends
