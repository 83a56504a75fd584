#include "backends/registry.h"

#include "backends/cpu/cpu_backend.h"

namespace mlbench::backends {
namespace {

constexpr Entry kEntries[] = {
    {"cpu", "oneDNN on this machine's processor", &cpu::make_cpu_backend, ""},
    {"cuda", "CUDA with cuBLAS", nullptr, "CUDA support (needs the CUDA toolkit)"},
    {"rocm", "ROCm with HIP", nullptr, "ROCm support (needs HIP and rocBLAS)"},
};

}  // namespace

std::span<const Entry> built_in() { return kEntries; }

}  // namespace mlbench::backends
