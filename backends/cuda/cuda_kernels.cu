// The kernels of backends/gpu, as nvcc makes them.
#include "backends/cuda/cuda_runtime.h"
#include "backends/cuda/cuda_stream.h"
#include "backends/gpu/kernels/launched_kernels.h"

namespace mlbench {

cudaStream_t gpu::cuda_device::native_stream(Stream& stream) {
  const cuda::CudaStream& own = cuda::cuda_stream(stream);
  own.use_device();  // a launch is to be on the stream's
  return own.native();
}

std::unique_ptr<gpu::Kernels> cuda::make_cuda_kernels() {
  return std::make_unique<gpu::cuda_device::LaunchedKernels<32>>();
}

}  // namespace mlbench
