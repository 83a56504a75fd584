// HIP's names for backends/gpu/vendor, and what of a device is AMD's own.
#pragma once

#include <memory>
#include <string>

#include <hip/hip_runtime_api.h>

#include "backends/gpu/collectives.h"
#include "backends/gpu/runtime.h"
#include "backends/gpu/vendor/products.h"

namespace mlbench::rocm {

struct HipApi {
  using Status = hipError_t;
  using Stream = hipStream_t;
  using Event = hipEvent_t;
  using Graph = hipGraph_t;
  using GraphInstance = hipGraphExec_t;
  using CopyKind = hipMemcpyKind;
  using Properties = hipDeviceProp_t;

  static constexpr std::string_view kName = "rocm";
  static constexpr int kHostWarpWidth = 64;  // of the Instinct series

  static constexpr Status kSuccess = hipSuccess, kNoDevice = hipErrorNoDevice;
  static constexpr unsigned kNonBlocking = hipStreamNonBlocking, kWithoutTiming = hipEventDisableTiming;
  static constexpr auto kCaptureOfThread = hipStreamCaptureModeThreadLocal;
  static constexpr CopyKind kHostToDevice = hipMemcpyHostToDevice, kDeviceToHost = hipMemcpyDeviceToHost,
                            kDeviceToDevice = hipMemcpyDeviceToDevice;

  // NOLINTBEGIN(readability-identifier-naming): they are called as functions
  // Where HIP has templates of the same name, the type chooses.
  static constexpr auto error_string = &hipGetErrorString;
  static constexpr auto error_name = &hipGetErrorName;
  static constexpr Status (*last_error)() = &hipGetLastError;
  static constexpr auto device_count = &hipGetDeviceCount;
  static constexpr Status (*get_properties)(Properties*, int) = &hipGetDeviceProperties;
  static constexpr auto set_device = &hipSetDevice;
  static constexpr auto pci_id = &hipDeviceGetPCIBusId;
  static constexpr auto memory_info = &hipMemGetInfo;
  static constexpr Status (*malloc)(void**, std::size_t) = &hipMalloc;
  static constexpr Status (*free)(void*) = &hipFree;
  static Status malloc_host(void** memory, std::size_t bytes) { return hipHostMalloc(memory, bytes, 0); }
  static constexpr auto free_host = &hipHostFree;
  static constexpr auto copy_async = &hipMemcpyAsync;
  static constexpr auto memset_async = &hipMemsetAsync;
  static constexpr auto create_stream = &hipStreamCreateWithFlags;
  static constexpr auto destroy_stream = &hipStreamDestroy;
  static constexpr auto synchronize_stream = &hipStreamSynchronize;
  static constexpr auto hold_stream = &hipStreamWaitEvent;
  static constexpr Status (*create_event)(Event*, unsigned) = &hipEventCreateWithFlags;
  static constexpr auto destroy_event = &hipEventDestroy;
  static constexpr Status (*record_event)(Event, Stream) = &hipEventRecord;
  static constexpr auto synchronize_event = &hipEventSynchronize;
  static constexpr auto begin_capture = &hipStreamBeginCapture;
  static constexpr auto end_capture = &hipStreamEndCapture;
  static constexpr auto destroy_graph = &hipGraphDestroy;
  static constexpr auto launch_graph = &hipGraphLaunch;
  static constexpr auto destroy_instance = &hipGraphExecDestroy;
  // NOLINTEND(readability-identifier-naming)
  static Status instantiate(GraphInstance* instance, Graph graph) {
    return hipGraphInstantiate(instance, graph, nullptr, nullptr, 0);
  }

  // "HIP 5.7.31921, rocBLAS 3.1.0, RCCL 2.17.1"; "..., without rocBLAS, without RCCL" where they cannot be opened.
  [[nodiscard]] static std::string version();
  // In one line, for hipGetDeviceCount's answer.
  [[nodiscard]] static std::string why_not_counted(Status status);
  // "" where rocBLAS can be opened.
  [[nodiscard]] static std::string why_no_library();
  // "" where this build has kernels for such a device.
  [[nodiscard]] static std::string why_without_kernels(const Properties& said);
  // "gfx90a" of "gfx90a:sramecc+:xnack-"
  [[nodiscard]] static std::string processor_of(const Properties& said);
  [[nodiscard]] static gpu::DeviceProperties properties_of(const Properties& said);
  [[nodiscard]] static backends::Summation product_sums(DType stored);

  // On the current device.
  [[nodiscard]] static std::unique_ptr<gpu::vendor::Products<HipApi>> make_products(void* workspace,
                                                                                    std::uint64_t workspace_bytes);
  [[nodiscard]] static std::unique_ptr<gpu::Kernels> make_kernels(const Properties& said);
  // For that device; null where there is nothing that sums over devices.
  [[nodiscard]] static std::unique_ptr<gpu::CollectiveLibrary> make_collective_library(int device);
};

// rocm_kernels.hip, which is compiled for each. `processor` says which products its matrix cores make.
[[nodiscard]] std::unique_ptr<gpu::Kernels> make_kernels_of_32(const std::string& processor);
[[nodiscard]] std::unique_ptr<gpu::Kernels> make_kernels_of_64(const std::string& processor);

}  // namespace mlbench::rocm
