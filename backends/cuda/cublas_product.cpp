#include "backends/cuda/cublas_product.h"

#include <fmt/format.h>

#include "core/error.h"

namespace mlbench::cuda {

using gpu::vendor::Queued;

cudaDataType_t CublasLt::data_type(DType stored) {
  switch (stored) {
    case DType::f32: return CUDA_R_32F;
    case DType::bf16: return CUDA_R_16BF;
    case DType::f16: return CUDA_R_16F;
    case DType::f64: break;
  }
  throw Error(ErrorKind::internal, "backend.failed",
              fmt::format("cuda: products of {}: they are made for f32, bf16 and f16", name(stored)));
}

std::uint64_t CublasLt::forbidden_implementations(DType stored) {
  constexpr std::uint64_t kNarrowSums = CUBLASLT_NUMERICAL_IMPL_FLAGS_ACCUMULATOR_16F;
  constexpr std::uint64_t kNarrowInputs = CUBLASLT_NUMERICAL_IMPL_FLAGS_INPUT_TF32 |
                                          CUBLASLT_NUMERICAL_IMPL_FLAGS_INPUT_16BF |
                                          CUBLASLT_NUMERICAL_IMPL_FLAGS_INPUT_16F;
  return stored == DType::f32 ? kNarrowSums | kNarrowInputs : kNarrowSums;
}

bool CublasProducts::multiply(cudaStream_t stream, const gpu::ProductCall& call) {
  const Queued queued = products_.queue(stream, call);
  if (queued != Queued::nothing) return queued == Queued::all;
  throw Error(ErrorKind::internal, "backend.failed",
              fmt::format("cuda: cuBLASLt {} has no way to do a {}", version_text(library_->get_version()),
                          described_as(gpu::vendor::shape_of(call))));
}

}  // namespace mlbench::cuda
