// CUDA's names for backends/gpu/vendor, and what of a device is NVIDIA's own.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include <cuda_runtime_api.h>

#include "backends/gpu/collectives.h"
#include "backends/gpu/runtime.h"
#include "backends/gpu/vendor/products.h"

namespace mlbench::cuda {

inline constexpr int kWarpWidth = 32;  // of every NVIDIA device so far

struct CudaApi {
  using Status = cudaError_t;
  using Stream = cudaStream_t;
  using Event = cudaEvent_t;
  using Graph = cudaGraph_t;
  using GraphInstance = cudaGraphExec_t;
  using CopyKind = cudaMemcpyKind;
  using Properties = cudaDeviceProp;

  static constexpr std::string_view kName = "cuda";
  static constexpr int kHostWarpWidth = kWarpWidth;  // that the host executor takes

  static constexpr Status kSuccess = cudaSuccess, kNoDevice = cudaErrorNoDevice;
  static constexpr unsigned kNonBlocking = cudaStreamNonBlocking, kWithoutTiming = cudaEventDisableTiming;
  static constexpr auto kCaptureOfThread = cudaStreamCaptureModeThreadLocal;
  static constexpr CopyKind kHostToDevice = cudaMemcpyHostToDevice, kDeviceToHost = cudaMemcpyDeviceToHost,
                            kDeviceToDevice = cudaMemcpyDeviceToDevice;

  // NOLINTBEGIN(readability-identifier-naming): they are called as functions
  static constexpr auto error_string = &cudaGetErrorString;
  static constexpr auto error_name = &cudaGetErrorName;
  static constexpr auto last_error = &cudaGetLastError;
  static constexpr auto device_count = &cudaGetDeviceCount;
  static constexpr auto get_properties = &cudaGetDeviceProperties;
  static constexpr auto set_device = &cudaSetDevice;
  static constexpr auto pci_id = &cudaDeviceGetPCIBusId;
  static constexpr auto memory_info = &cudaMemGetInfo;
  static constexpr Status (*malloc)(void**, std::size_t) = &cudaMalloc;
  static constexpr auto free = &cudaFree;
  static constexpr Status (*malloc_host)(void**, std::size_t) = &cudaMallocHost;
  static constexpr auto free_host = &cudaFreeHost;
  static constexpr auto copy_async = &cudaMemcpyAsync;
  static constexpr auto memset_async = &cudaMemsetAsync;
  static constexpr auto create_stream = &cudaStreamCreateWithFlags;
  static constexpr auto destroy_stream = &cudaStreamDestroy;
  static constexpr auto synchronize_stream = &cudaStreamSynchronize;
  static constexpr auto hold_stream = &cudaStreamWaitEvent;
  static constexpr Status (*create_event)(Event*, unsigned) = &cudaEventCreateWithFlags;
  static constexpr auto destroy_event = &cudaEventDestroy;
  static constexpr Status (*record_event)(Event, Stream) = &cudaEventRecord;
  static constexpr auto synchronize_event = &cudaEventSynchronize;
  static constexpr auto begin_capture = &cudaStreamBeginCapture;
  static constexpr auto end_capture = &cudaStreamEndCapture;
  static constexpr auto destroy_graph = &cudaGraphDestroy;
  static constexpr auto launch_graph = &cudaGraphLaunch;
  static constexpr auto destroy_instance = &cudaGraphExecDestroy;
  // NOLINTEND(readability-identifier-naming)
  static Status instantiate(GraphInstance* instance, Graph graph) { return cudaGraphInstantiate(instance, graph, 0); }

  // "CUDA 13.0, cuBLASLt 13.1.0, NCCL 2.28.9"; "CUDA 13.0, without cuBLASLt, without NCCL" where they cannot be opened.
  [[nodiscard]] static std::string version();
  // In one line, for cudaGetDeviceCount's answer.
  [[nodiscard]] static std::string why_not_counted(Status status);
  // "" where cuBLASLt can be opened.
  [[nodiscard]] static std::string why_no_library();
  // "" where this build has kernels for such a device.
  [[nodiscard]] static std::string why_without_kernels(const Properties& said);
  // "sm_90"
  [[nodiscard]] static std::string processor_of(const Properties& said);
  [[nodiscard]] static gpu::DeviceProperties properties_of(const Properties& said);
  [[nodiscard]] static backends::Summation product_sums(DType stored);

  // On the current device.
  [[nodiscard]] static std::unique_ptr<gpu::vendor::Products<CudaApi>> make_products(void* workspace,
                                                                                     std::uint64_t workspace_bytes);
  [[nodiscard]] static std::unique_ptr<gpu::Kernels> make_kernels(const Properties& said);  // cuda_kernels.cu
  // For that device; null where there is nothing that sums over devices.
  [[nodiscard]] static std::unique_ptr<gpu::CollectiveLibrary> make_collective_library(int device);
};

}  // namespace mlbench::cuda
