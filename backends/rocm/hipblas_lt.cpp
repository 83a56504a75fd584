#include "backends/rocm/hipblas_lt.h"

#include <array>
#include <optional>

#include <fmt/format.h>
#include <hipblaslt/hipblaslt.h>

#include "backends/gpu/vendor/library.h"
#include "core/error.h"

namespace mlbench::rocm {
namespace {

// What backends/gpu/vendor/lt_products.h needs to know of hipBLASLt.
struct HipblasLt {
  struct Functions {
    decltype(&hipblasLtCreate) create = nullptr;
    decltype(&hipblasLtDestroy) destroy = nullptr;
    decltype(&hipblasLtMatmul) matmul = nullptr;
    decltype(&hipblasLtMatmulAlgoGetHeuristic) get_heuristic = nullptr;
    decltype(&hipblasLtMatmulDescCreate) create_operation = nullptr;
    decltype(&hipblasLtMatmulDescDestroy) destroy_operation = nullptr;
    decltype(&hipblasLtMatmulDescSetAttribute) set_operation = nullptr;
    decltype(&hipblasLtMatrixLayoutCreate) create_layout = nullptr;
    decltype(&hipblasLtMatrixLayoutDestroy) destroy_layout = nullptr;
    decltype(&hipblasLtMatmulPreferenceCreate) create_preference = nullptr;
    decltype(&hipblasLtMatmulPreferenceDestroy) destroy_preference = nullptr;
    decltype(&hipblasLtMatmulPreferenceSetAttribute) set_preference = nullptr;
  };
  using Status = hipblasStatus_t;
  using Stream = hipStream_t;
  using Handle = hipblasLtHandle_t;
  using Operation = hipblasLtMatmulDesc_t;
  using Layout = hipblasLtMatrixLayout_t;
  using Preference = hipblasLtMatmulPreference_t;
  using Algorithm = hipblasLtMatmulAlgo_t;
  using Heuristic = hipblasLtMatmulHeuristicResult_t;
  using DataType = hipDataType;
  using OperationName = hipblasLtMatmulDescAttributes_t;
  using PreferenceName = hipblasLtMatmulPreferenceAttributes_t;
  template <class Raw>
  using Destroy = hipblasStatus_t (*)(Raw);

  static constexpr Status kSuccess = HIPBLAS_STATUS_SUCCESS, kNotSupported = HIPBLAS_STATUS_NOT_SUPPORTED;
  static constexpr hipblasComputeType_t kSumsInFloat32 = HIPBLAS_COMPUTE_32F;
  static constexpr OperationName kTransposeOfFirst = HIPBLASLT_MATMUL_DESC_TRANSA,
                                 kEpilogue = HIPBLASLT_MATMUL_DESC_EPILOGUE,
                                 kBiasType = HIPBLASLT_MATMUL_DESC_BIAS_DATA_TYPE,
                                 kBiasPointer = HIPBLASLT_MATMUL_DESC_BIAS_POINTER;
  static constexpr hipblasOperation_t kTransposed = HIPBLAS_OP_T;
  static constexpr hipblasLtEpilogue_t kAddsBias = HIPBLASLT_EPILOGUE_BIAS;

  [[nodiscard]] static DataType data_type(DType stored) {
    return stored == DType::bf16 ? HIP_R_16BF : stored == DType::f16 ? HIP_R_16F : HIP_R_32F;
  }
  static void check(const Functions& /*library*/, Status status, std::string_view doing) {
    if (status == kSuccess) return;
    throw Error(ErrorKind::internal, "backend.failed",
                fmt::format("rocm: hipBLASLt: {}: status {}", doing, static_cast<int>(status)));
  }
  // It is told neither of alignment nor of ways to leave out: none of its ways narrows what it was given.
  template <class Set>
  static void prefer(const gpu::vendor::ProductShape& /*shape*/, std::uint64_t workspace_bytes, const Set& set) {
    set(HIPBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, workspace_bytes);
  }
};

HipblasLt::Functions open_hipblas_lt() {
  const std::string name = MLBENCH_HIPBLASLT;
  const gpu::vendor::Library library({"hipBLASLt, which multiplies matrices,", "it is part of ROCm"},
                                     std::array{name, "/opt/rocm/lib/" + name});
  HipblasLt::Functions f;
  library.find("hipblasLtCreate", f.create);
  library.find("hipblasLtDestroy", f.destroy);
  library.find("hipblasLtMatmul", f.matmul);
  library.find("hipblasLtMatmulAlgoGetHeuristic", f.get_heuristic);
  library.find("hipblasLtMatmulDescCreate", f.create_operation);
  library.find("hipblasLtMatmulDescDestroy", f.destroy_operation);
  library.find("hipblasLtMatmulDescSetAttribute", f.set_operation);
  library.find("hipblasLtMatrixLayoutCreate", f.create_layout);
  library.find("hipblasLtMatrixLayoutDestroy", f.destroy_layout);
  library.find("hipblasLtMatmulPreferenceCreate", f.create_preference);
  library.find("hipblasLtMatmulPreferenceDestroy", f.destroy_preference);
  library.find("hipblasLtMatmulPreferenceSetAttribute", f.set_preference);
  return f;
}

// Null where it is not there: rocBLAS does the work then.
const HipblasLt::Functions* hipblas_lt() {
  static const std::optional<HipblasLt::Functions> library = []() -> std::optional<HipblasLt::Functions> {
    try {
      return open_hipblas_lt();
    } catch (const Error&) {
      return std::nullopt;
    }
  }();
  return library ? &*library : nullptr;
}

class Products final : public HipblasLtProducts {
 public:
  Products(const HipblasLt::Functions& library, void* workspace, std::uint64_t workspace_bytes)
      : products_(library, workspace, workspace_bytes) {}

  [[nodiscard]] gpu::vendor::Queued queue(hipStream_t stream, const gpu::ProductCall& call) override {
    return products_.queue(stream, call);
  }

 private:
  gpu::vendor::LtProducts<HipblasLt> products_;
};

}  // namespace

std::unique_ptr<HipblasLtProducts> make_lt_products(void* workspace, std::uint64_t workspace_bytes) {
  const HipblasLt::Functions* library = hipblas_lt();
  return library == nullptr ? nullptr : std::make_unique<Products>(*library, workspace, workspace_bytes);
}

std::string lt_version() { return hipblas_lt() == nullptr ? "" : ", hipBLASLt"; }

}  // namespace mlbench::rocm
