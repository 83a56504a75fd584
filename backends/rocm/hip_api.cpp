#include "backends/rocm/hip_api.h"

#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include <fmt/format.h>

#include "backends/gpu/vendor/stream.h"
#include "backends/rocm/rccl_library.h"
#include "backends/rocm/rocm_products.h"
#include "core/error.h"

namespace mlbench {

// For kernels, whose header is for hipcc alone.
namespace gpu::hip_device {
[[nodiscard]] hipStream_t native_stream(Stream& stream);
hipStream_t native_stream(Stream& stream) { return vendor::native_for_launch<rocm::HipApi>(stream); }
}  // namespace gpu::hip_device

namespace rocm {
namespace {

// "gfx90a,gfx942,gfx1100"
constexpr std::string_view kBuiltFor = MLBENCH_ROCM_ARCHITECTURES;

bool is_built_for(std::string_view processor) {
  return fmt::format(",{},", kBuiltFor).find(fmt::format(",{},", processor)) != std::string::npos;
}

std::string visible_devices() {
  std::string out;
  for (const char* name : {"HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"}) {
    if (const char* value = std::getenv(name)) out += fmt::format("; {} is {}", name, in_quotes(value));
  }
  return out;
}

}  // namespace

std::string HipApi::processor_of(const Properties& said) {
  const std::string_view name = said.gcnArchName;
  return std::string(name.substr(0, name.find(':')));
}

// The kernel driver's device says most: without it HIP finds nothing, whatever else is installed.
std::string HipApi::why_not_counted(Status status) {
  constexpr const char* kDriver = "/dev/kfd";
  const std::string said =
      fmt::format("hipGetDeviceCount says {}, {}", static_cast<int>(status), hipGetErrorString(status));
  if (::access(kDriver, F_OK) != 0) {
    return fmt::format(
        "no AMD GPU: {}; there is no {}: the machine has no such GPU, or its driver amdgpu is not loaded", said,
        kDriver);
  }
  if (::access(kDriver, R_OK | W_OK) != 0) {
    return fmt::format(
        "no AMD GPU that this user may use: {}; {}: {}; the user has to be in the groups render and video", said,
        kDriver, std::strerror(errno));
  }
  return fmt::format("no ROCm device: {}{}", said, visible_devices());
}

std::string HipApi::why_no_library() {
  try {
    static_cast<void>(rocblas());
    return "";
  } catch (const Error& error) {
    return error.message();
  }
}

std::string HipApi::why_without_kernels(const Properties& said) {
  const std::string processor = processor_of(said);
  if (is_built_for(processor)) return "";
  return fmt::format("it is {}, kernels are built for {}; -DMLBENCH_ROCM_ARCHITECTURES={} builds them", processor,
                     kBuiltFor, processor);
}

gpu::DeviceProperties HipApi::properties_of(const Properties& said) {
  return {.name = said.name,
          .memory_bytes = said.totalGlobalMem,
          .warp_width = said.warpSize,
          .shared_bytes = static_cast<Index>(said.sharedMemPerBlock),
          .processors = said.multiProcessorCount};
}

// f32 by fused multiply-adds. Matrix cores make exact products of bf16 and f16; how they round their float32 sums
// differs between generations, by cutting off among other ways (Xie, Wang, Yang and Yang, "MMA-Sim", arXiv:2511.10909),
// which is the coarsest.
backends::Summation HipApi::product_sums(DType stored) {
  if (stored == DType::bf16 || stored == DType::f16) return {.fused = 1, .truncates = true};
  return {};
}

std::string HipApi::version() {
  std::string out = fmt::format("HIP {}.{}.{}", HIP_VERSION_MAJOR, HIP_VERSION_MINOR, HIP_VERSION_PATCH);
  out += why_no_library().empty() ? ", rocBLAS " + rocblas_version() + lt_version() : ", without rocBLAS";
  const auto rccl = make_rccl(0);
  return out + ", " + (rccl == nullptr ? "without RCCL" : rccl->name());
}

std::unique_ptr<gpu::CollectiveLibrary> HipApi::make_collective_library(int device) { return make_rccl(device); }

std::unique_ptr<gpu::vendor::Products<HipApi>> HipApi::make_products(void* workspace, std::uint64_t workspace_bytes) {
  return std::make_unique<RocmProducts>(rocblas(), workspace, workspace_bytes);
}

std::unique_ptr<gpu::Kernels> HipApi::make_kernels(const Properties& said) {
  return said.warpSize == 64 ? make_kernels_of_64(processor_of(said)) : make_kernels_of_32(processor_of(said));
}

}  // namespace rocm
}  // namespace mlbench
