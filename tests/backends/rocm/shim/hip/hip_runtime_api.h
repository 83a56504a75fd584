// For tests: what the ROCm backend takes of HIP's runtime, by CUDA's, so that its own code is compiled where there is no
// HIP, and runs where there is an NVIDIA GPU, with warps of 32. hip_runtime.h adds what kernels take.
#pragma once

#include <cstring>

#include <cuda_runtime_api.h>

#define HIP_VERSION_MAJOR 0
#define HIP_VERSION_MINOR 0
#define HIP_VERSION_PATCH 0

using hipError_t = cudaError_t;
using hipStream_t = cudaStream_t;
using hipEvent_t = cudaEvent_t;
using hipGraph_t = cudaGraph_t;
using hipGraphExec_t = cudaGraphExec_t;
using hipMemcpyKind = cudaMemcpyKind;

inline constexpr auto hipSuccess = cudaSuccess;
inline constexpr auto hipErrorNoDevice = cudaErrorNoDevice;
inline constexpr auto hipStreamNonBlocking = cudaStreamNonBlocking;
inline constexpr auto hipEventDisableTiming = cudaEventDisableTiming;
inline constexpr auto hipStreamCaptureModeThreadLocal = cudaStreamCaptureModeThreadLocal;
inline constexpr auto hipMemcpyHostToDevice = cudaMemcpyHostToDevice;
inline constexpr auto hipMemcpyDeviceToHost = cudaMemcpyDeviceToHost;
inline constexpr auto hipMemcpyDeviceToDevice = cudaMemcpyDeviceToDevice;

#define hipGetErrorString cudaGetErrorString
#define hipGetErrorName cudaGetErrorName
#define hipDeviceGetPCIBusId cudaDeviceGetPCIBusId
#define hipGetLastError cudaGetLastError
#define hipGetDeviceCount cudaGetDeviceCount
#define hipSetDevice cudaSetDevice
#define hipMemGetInfo cudaMemGetInfo
#define hipMalloc cudaMalloc
#define hipFree cudaFree
#define hipHostFree cudaFreeHost
#define hipMemcpyAsync cudaMemcpyAsync
#define hipMemsetAsync cudaMemsetAsync
#define hipStreamCreateWithFlags cudaStreamCreateWithFlags
#define hipStreamDestroy cudaStreamDestroy
#define hipStreamSynchronize cudaStreamSynchronize
#define hipStreamWaitEvent cudaStreamWaitEvent
#define hipEventCreateWithFlags cudaEventCreateWithFlags
#define hipEventDestroy cudaEventDestroy
#define hipEventRecord cudaEventRecord
#define hipEventSynchronize cudaEventSynchronize
#define hipStreamBeginCapture cudaStreamBeginCapture
#define hipStreamEndCapture cudaStreamEndCapture
#define hipGraphDestroy cudaGraphDestroy
#define hipGraphLaunch cudaGraphLaunch
#define hipGraphExecDestroy cudaGraphExecDestroy

// The processor's name is MLBENCH_ROCM_ARCHITECTURES of a build with this.
struct hipDeviceProp_t : cudaDeviceProp {
  char gcnArchName[256];
};
inline hipError_t hipGetDeviceProperties(hipDeviceProp_t* said, int device) {
  std::strcpy(said->gcnArchName, "shim");
  return cudaGetDeviceProperties(said, device);
}
inline hipError_t hipHostMalloc(void** memory, std::size_t bytes, unsigned flags) {
  return cudaHostAlloc(memory, bytes, flags);
}
inline hipError_t hipGraphInstantiate(hipGraphExec_t* instance, hipGraph_t graph, void* /*node*/, char* /*log*/,
                                      std::size_t /*log_bytes*/) {
  return cudaGraphInstantiate(instance, graph, 0);
}
