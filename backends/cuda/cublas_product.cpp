#include "backends/cuda/cublas_product.h"

#include <array>
#include <span>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "core/error.h"

namespace mlbench::cuda {
namespace {

cudaDataType_t data_type(DType stored) {
  switch (stored) {
    case DType::f32: return CUDA_R_32F;
    case DType::bf16: return CUDA_R_16BF;
    case DType::f16: return CUDA_R_16F;
    case DType::f64: break;
  }
  throw Error(ErrorKind::internal, "backend.failed",
              fmt::format("cuda: products of {}: they are made for f32, bf16 and f16", name(stored)));
}

std::uint32_t alignment(const void* pointer) {
  const auto address = reinterpret_cast<std::uintptr_t>(pointer) | kFullAlignment;
  return static_cast<std::uint32_t>(address & (~address + 1));  // its lowest bit
}

// Implementations that would not keep to what is declared: f32 is multiplied as f32, and sums are float32.
std::uint64_t forbidden_implementations(DType stored) {
  constexpr std::uint64_t kNarrowSums = CUBLASLT_NUMERICAL_IMPL_FLAGS_ACCUMULATOR_16F;
  constexpr std::uint64_t kNarrowInputs = CUBLASLT_NUMERICAL_IMPL_FLAGS_INPUT_TF32 |
                                          CUBLASLT_NUMERICAL_IMPL_FLAGS_INPUT_16BF |
                                          CUBLASLT_NUMERICAL_IMPL_FLAGS_INPUT_16F;
  return stored == DType::f32 ? kNarrowSums | kNarrowInputs : kNarrowSums;
}

std::string described_as(const ProductShape& shape) {
  return fmt::format("{} product of {} rows, {} to {}", name(shape.stored), shape.rows, shape.in, shape.out);
}

std::uint64_t size(Index count) { return static_cast<std::uint64_t>(count); }

}  // namespace

ProductShape shape_of(const gpu::ProductCall& call) {
  return {.stored = call.stored,
          .bias = call.bias != nullptr,
          .rows = call.rows,
          .in = call.in,
          .out = call.out,
          .x_alignment = alignment(call.x),
          .weight_alignment = alignment(call.weight),
          .y_alignment = alignment(call.y)};
}

CublasProducts::CublasProducts(const CublasFunctions& library, void* workspace, std::uint64_t workspace_bytes)
    : library_(&library), handle_(nullptr, library.destroy), workspace_(workspace), workspace_bytes_(workspace_bytes) {
  cublasLtHandle_t raw = nullptr;
  check(library, library.create(&raw), "starting");
  handle_.reset(raw);
}

// The library counts columns first: a row-major [r, c] is a matrix of c rows and r columns to it.
CublasProducts::Layout CublasProducts::layout(cudaDataType_t type, Index rows, Index cols) const {
  cublasLtMatrixLayout_t raw = nullptr;
  check(*library_, library_->create_layout(&raw, type, size(cols), size(rows), cols), "describing a matrix");
  return {raw, library_->destroy_layout};
}

CublasProducts::Handle<cublasLtMatmulPreferenceOpaque_t> CublasProducts::preference(const ProductShape& shape) const {
  cublasLtMatmulPreference_t raw = nullptr;
  check(*library_, library_->create_preference(&raw), "making preferences");
  Handle<cublasLtMatmulPreferenceOpaque_t> made(raw, library_->destroy_preference);
  const auto set = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
    check(*library_, library_->set_preference(raw, attribute, &value, sizeof value), "setting a preference");
  };
  set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, workspace_bytes_);
  // Parts of a sum are added in a step of their own, in order, or not at all: the same bits in every run.
  set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, std::uint32_t{CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE});
  set(CUBLASLT_MATMUL_PREF_IMPL_MASK, ~forbidden_implementations(shape.stored));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, shape.weight_alignment);
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, shape.x_alignment);
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, shape.y_alignment);
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, shape.y_alignment);
  return made;
}

// y^T [out, rows] = W x^T, where the library takes x [rows, in] for x^T, and W [out, in] for a W^T to be transposed.
CublasProducts::Plan CublasProducts::described(const ProductShape& shape, const float* bias) const {
  const cudaDataType_t stored = data_type(shape.stored);
  cublasLtMatmulDesc_t raw = nullptr;
  check(*library_, library_->create_operation(&raw, CUBLAS_COMPUTE_32F, CUDA_R_32F), "describing a product");
  Plan plan{.adds_bias = bias != nullptr,
            .operation = {raw, library_->destroy_operation},
            .weight = layout(stored, shape.out, shape.in),
            .x = layout(stored, shape.rows, shape.in),
            .y = layout(CUDA_R_32F, shape.rows, shape.out)};
  const auto set = [&](cublasLtMatmulDescAttributes_t attribute, auto value) {
    check(*library_, library_->set_operation(raw, attribute, &value, sizeof value), "describing a product");
  };
  set(CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T);
  if (bias != nullptr) {
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
    set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, CUDA_R_32F);
    set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
  }
  return plan;
}

// False: the library has no way to do it.
bool CublasProducts::choose(const ProductShape& shape, Plan& plan) const {
  const auto wanted = preference(shape);
  std::array<cublasLtMatmulHeuristicResult_t, 4> found{};
  int count = 0;
  const cublasStatus_t status =
      library_->get_heuristic(handle_.get(), plan.operation.get(), plan.weight.get(), plan.x.get(), plan.y.get(),
                              plan.y.get(), wanted.get(), static_cast<int>(found.size()), found.data(), &count);
  if (status == CUBLAS_STATUS_NOT_SUPPORTED) return false;
  check(*library_, status, fmt::format("asking how to do a {}", described_as(shape)));
  for (const auto& way : std::span(found).first(static_cast<std::size_t>(count))) {  // best first
    if (way.state != CUBLAS_STATUS_SUCCESS) continue;
    plan.algorithm = way.algo;
    return true;
  }
  return false;
}

CublasProducts::Plan CublasProducts::make_plan(const ProductShape& shape, const float* bias) const {
  Plan plan = described(shape, bias);
  if (choose(shape, plan)) return plan;
  if (bias != nullptr) {
    plan = described(shape, nullptr);
    if (choose(shape, plan)) return plan;
  }
  throw Error(ErrorKind::internal, "backend.failed",
              fmt::format("cuda: cuBLASLt {} has no way to do a {}", version_text(library_->get_version()),
                          described_as(shape)));
}

CublasProducts::Plan& CublasProducts::plan(const ProductShape& shape, const float* bias) {
  if (const auto found = plans_.find(shape); found != plans_.end()) return found->second;
  return plans_.emplace(shape, make_plan(shape, bias)).first->second;
}

bool CublasProducts::multiply(cudaStream_t stream, const gpu::ProductCall& call) {
  const ProductShape shape = shape_of(call);
  const Plan& way = plan(shape, call.bias);
  if (way.adds_bias) {
    check(*library_,
          library_->set_operation(way.operation.get(), CUBLASLT_MATMUL_DESC_BIAS_POINTER, &call.bias, sizeof call.bias),
          "naming a bias");
  }
  constexpr float kOne = 1.0F, kZero = 0.0F;
  const cublasStatus_t status = library_->matmul(
      handle_.get(), way.operation.get(), &kOne, call.weight, way.weight.get(), call.x, way.x.get(), &kZero, call.y,
      way.y.get(), call.y, way.y.get(), &way.algorithm, workspace_, workspace_bytes_, stream);
  if (status != CUBLAS_STATUS_SUCCESS) check(*library_, status, fmt::format("queueing a {}", described_as(shape)));
  return way.adds_bias || call.bias == nullptr;
}

}  // namespace mlbench::cuda
