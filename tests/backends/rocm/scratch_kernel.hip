// For tests: a kernel that no compiler keeps in registers, as it chooses among more values than there are.
#include <hip/hip_runtime.h>

namespace mlbench::gpu::hip_device {

template <int W>
__global__ void choose(float* values, const int* which) {
  float kept[1024];
  for (int i = 0; i < 1024; ++i) kept[which[i]] = values[i * W];
  values[0] = kept[which[0]];
}
template __global__ void choose<64>(float*, const int*);

}  // namespace mlbench::gpu::hip_device
