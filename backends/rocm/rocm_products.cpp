#include "backends/rocm/rocm_products.h"

#include <limits>

#include <fmt/format.h>

#include "backends/gpu/vendor/lt_products.h"
#include "core/error.h"

namespace mlbench::rocm {
namespace {

rocblas_datatype data_type(DType stored) {
  switch (stored) {
    case DType::f32: return rocblas_datatype_f32_r;
    case DType::bf16: return rocblas_datatype_bf16_r;
    case DType::f16: return rocblas_datatype_f16_r;
    case DType::f64: break;
  }
  throw Error(ErrorKind::internal, "backend.failed",
              fmt::format("rocm: products of {}: they are made for f32, bf16 and f16", name(stored)));
}

rocblas_int size(Index count, const gpu::ProductCall& call) {
  if (count <= std::numeric_limits<rocblas_int>::max()) return static_cast<rocblas_int>(count);
  throw Error(ErrorKind::internal, "backend.failed",
              fmt::format("rocm: a {}: rocBLAS counts to 2147483647", described_as(gpu::vendor::shape_of(call))));
}

}  // namespace

// Without atomics sums have the same bits in every run; with a workspace of ours nothing is allocated while a stream
// records.
RocmProducts::RocmProducts(const RocblasFunctions& library, void* workspace, std::uint64_t workspace_bytes)
    : library_(&library),
      handle_(nullptr, library.destroy),
      lt_products_(make_lt_products(workspace, workspace_bytes)) {
  rocblas_handle raw = nullptr;
  check(library, library.create(&raw), "starting");
  handle_.reset(raw);
  check(library, library.set_atomics_mode(raw, rocblas_atomics_not_allowed), "asking for the same bits in every run");
  check(library, library.set_workspace(raw, workspace, workspace_bytes), "giving it a workspace");
}

// y^T [out, rows] = W x^T, as rocBLAS counts columns first: it takes x [rows, in] for x^T, and W [out, in] for a W^T to
// be transposed.
bool RocmProducts::multiply(hipStream_t stream, const gpu::ProductCall& call) {
  using gpu::vendor::Queued;
  if (lt_products_ != nullptr && call.stored != DType::f32) {
    const Queued queued = lt_products_->queue(stream, call);
    if (queued != Queued::nothing) return queued == Queued::all;
  }
  const rocblas_datatype stored = data_type(call.stored), sums = rocblas_datatype_f32_r;
  const rocblas_int in = size(call.in, call), out = size(call.out, call);
  constexpr float kOne = 1.0F, kZero = 0.0F;
  check(*library_, library_->set_stream(handle_.get(), stream), "choosing a stream");
  const rocblas_status status =
      library_->gemm(handle_.get(), rocblas_operation_transpose, rocblas_operation_none, out, size(call.rows, call), in,
                     &kOne, call.weight, stored, in, call.x, stored, in, &kZero, call.y, sums, out, call.y, sums, out,
                     sums, rocblas_gemm_algo_standard, 0, 0);
  if (status != rocblas_status_success)
    check(*library_, status, fmt::format("queueing a {}", described_as(gpu::vendor::shape_of(call))));
  return call.bias == nullptr;
}

}  // namespace mlbench::rocm
