// What cuBLASLt is asked for, seen by a library that only writes it down: no device is needed.
#include <array>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backends/cuda/cublas_product.h"
#include "tests/support/expect_error.h"

namespace mlbench::cuda {
namespace {

using gpu::vendor::kFullAlignment;
using gpu::vendor::shape_of;

using testing::ElementsAre;
using testing::HasSubstr;

// How the library behaves, and what it was asked.
struct Library {
  bool has_bias = true, has_any = true;
  cublasStatus_t matmul_status = CUBLAS_STATUS_SUCCESS;
  std::map<int, std::uint64_t> operation, preferences;            // the last description, the last preferences
  std::vector<std::array<std::uint64_t, 3>> layouts;              // rows, columns, from column to column
  int searches = 0, products = 0, described = 0, given_back = 0;  // descriptions and layouts
  const void *a = nullptr, *b = nullptr;
};
Library library;  // the table's functions have no other way to it

std::uint64_t value_of(const void* value, std::size_t bytes) {
  std::uint64_t out = 0;
  std::memcpy(&out, value, bytes);
  return out;
}

// Handles are never looked into: any address but null will do.
template <class T>
T* some_handle() {
  static std::byte place[64];
  return reinterpret_cast<T*>(place);
}

cublasStatus_t described() {
  ++library.described;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t given_back() {
  ++library.given_back;
  return CUBLAS_STATUS_SUCCESS;
}

// The third way of three, the first that works.
cublasStatus_t found(cublasLtMatmulHeuristicResult_t* ways, int* count) {
  ++library.searches;
  const bool wants_bias = library.operation.contains(CUBLASLT_MATMUL_DESC_EPILOGUE);
  *count = 0;
  if (!library.has_any) return CUBLAS_STATUS_SUCCESS;
  if (wants_bias && !library.has_bias) return CUBLAS_STATUS_NOT_SUPPORTED;
  *count = 3;
  ways[0].state = ways[1].state = CUBLAS_STATUS_NOT_SUPPORTED;
  ways[2].state = CUBLAS_STATUS_SUCCESS;
  ways[2].algo.data[0] = 42;
  return CUBLAS_STATUS_SUCCESS;
}

CublasFunctions functions() {
  CublasFunctions f;
  f.create = [](cublasLtHandle_t* handle) {
    *handle = some_handle<cublasLtContext>();
    return CUBLAS_STATUS_SUCCESS;
  };
  f.destroy = [](cublasLtHandle_t) { return CUBLAS_STATUS_SUCCESS; };
  f.get_version = [] { return std::size_t{130102}; };
  f.get_status_string = [](cublasStatus_t) { return "as the test wants it"; };
  f.create_operation = [](cublasLtMatmulDesc_t* made, cublasComputeType_t compute, cudaDataType_t) {
    EXPECT_EQ(compute, CUBLAS_COMPUTE_32F);
    library.operation.clear();
    *made = some_handle<cublasLtMatmulDescOpaque_t>();
    return described();
  };
  f.destroy_operation = [](cublasLtMatmulDesc_t) { return given_back(); };
  f.set_operation = [](cublasLtMatmulDesc_t, cublasLtMatmulDescAttributes_t which, const void* value, size_t bytes) {
    library.operation[which] = value_of(value, bytes);
    return CUBLAS_STATUS_SUCCESS;
  };
  f.create_layout = [](cublasLtMatrixLayout_t* made, cudaDataType, std::uint64_t rows, std::uint64_t cols,
                       std::int64_t stride) {
    library.layouts.push_back({rows, cols, static_cast<std::uint64_t>(stride)});
    *made = some_handle<cublasLtMatrixLayoutOpaque_t>();
    return described();
  };
  f.destroy_layout = [](cublasLtMatrixLayout_t) { return given_back(); };
  f.create_preference = [](cublasLtMatmulPreference_t* made) {
    library.preferences.clear();
    *made = some_handle<cublasLtMatmulPreferenceOpaque_t>();
    return described();
  };
  f.destroy_preference = [](cublasLtMatmulPreference_t) { return given_back(); };
  f.set_preference = [](cublasLtMatmulPreference_t, cublasLtMatmulPreferenceAttributes_t which, const void* value,
                        size_t bytes) {
    library.preferences[which] = value_of(value, bytes);
    return CUBLAS_STATUS_SUCCESS;
  };
  f.get_heuristic = [](cublasLtHandle_t, cublasLtMatmulDesc_t, cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                       cublasLtMatrixLayout_t, cublasLtMatrixLayout_t, cublasLtMatmulPreference_t, int wanted,
                       cublasLtMatmulHeuristicResult_t* ways, int* count) {
    EXPECT_GE(wanted, 3);
    return found(ways, count);
  };
  f.matmul = [](cublasLtHandle_t, cublasLtMatmulDesc_t, const void*, const void* a, cublasLtMatrixLayout_t,
                const void* b, cublasLtMatrixLayout_t, const void*, const void*, cublasLtMatrixLayout_t, void*,
                cublasLtMatrixLayout_t, const cublasLtMatmulAlgo_t* algorithm, void* workspace, size_t bytes,
                cudaStream_t) {
    EXPECT_EQ(algorithm->data[0], 42U) << "not the first way that works";
    EXPECT_NE(workspace, nullptr);
    EXPECT_EQ(bytes, 4096U);
    ++library.products;
    library.a = a;
    library.b = b;
    return library.matmul_status;
  };
  return f;
}

class CublasPlans : public testing::Test {
 protected:
  void SetUp() override { library = Library{}; }

  [[nodiscard]] gpu::ProductCall call(Index rows, DType stored = DType::bf16, bool bias = false) const {
    return {.stored = stored,
            .x = memory_,
            .weight = memory_ + 256,
            .bias = bias ? bias_ : nullptr,
            .y = const_cast<float*>(bias_),  // NOLINT: nothing is written
            .rows = rows,
            .in = 24,
            .out = 40};
  }
  [[nodiscard]] CublasProducts& products() { return products_; }
  [[nodiscard]] const float* bias() const { return bias_; }

 private:
  alignas(256) std::byte memory_[512]{};
  alignas(256) float bias_[64]{};
  CublasFunctions functions_ = functions();
  CublasProducts products_{functions_, memory_, 4096};
};

TEST_F(CublasPlans, AreMadeOncePerShape) {
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(products().multiply(nullptr, call(7)));
  EXPECT_EQ(library.searches, 1);
  EXPECT_EQ(library.products, 3);
  static_cast<void>(products().multiply(nullptr, call(8)));
  static_cast<void>(products().multiply(nullptr, call(7, DType::f16)));
  static_cast<void>(products().multiply(nullptr, call(7, DType::bf16, true)));
  EXPECT_EQ(library.searches, 4);
  EXPECT_EQ(products().planned(), 4U);
}

// Counted columns first: y^T [out, rows] = W [out, in] x^T.
TEST_F(CublasPlans, TransposeTheWeight) {
  const auto asked = call(7);
  static_cast<void>(products().multiply(nullptr, asked));
  using Layout = std::array<std::uint64_t, 3>;
  EXPECT_THAT(library.layouts, ElementsAre(Layout{24, 40, 24}, Layout{24, 7, 24}, Layout{40, 7, 40}));
  EXPECT_EQ(library.operation.at(CUBLASLT_MATMUL_DESC_TRANSA), std::uint64_t{CUBLAS_OP_T});
  EXPECT_FALSE(library.operation.contains(CUBLASLT_MATMUL_DESC_TRANSB));
  EXPECT_EQ(library.a, asked.weight);
  EXPECT_EQ(library.b, asked.x);
}

TEST_F(CublasPlans, AllowNoNarrowerArithmeticThanIsDeclared) {
  const auto allowed = [&](DType stored) {
    static_cast<void>(products().multiply(nullptr, call(7, stored)));
    return library.preferences.at(CUBLASLT_MATMUL_PREF_IMPL_MASK);
  };
  EXPECT_EQ(allowed(DType::f32) & CUBLASLT_NUMERICAL_IMPL_FLAGS_INPUT_TF32, 0U);
  EXPECT_NE(allowed(DType::f32) & CUBLASLT_NUMERICAL_IMPL_FLAGS_INPUT_32F, 0U);
  EXPECT_NE(allowed(DType::f16) & CUBLASLT_NUMERICAL_IMPL_FLAGS_INPUT_16F, 0U);
  for (const DType stored : {DType::f32, DType::bf16, DType::f16})
    EXPECT_EQ(allowed(stored) & CUBLASLT_NUMERICAL_IMPL_FLAGS_ACCUMULATOR_16F, 0U) << name(stored);
}

TEST_F(CublasPlans, AddPartsOfASumInASeparateStepOnly) {
  static_cast<void>(products().multiply(nullptr, call(7)));
  EXPECT_EQ(library.preferences.at(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK),
            std::uint64_t{CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE});
  EXPECT_EQ(library.preferences.at(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES), 4096U);
}

TEST_F(CublasPlans, LeaveTheBiasToTheLibraryWhereItCan) {
  EXPECT_TRUE(products().multiply(nullptr, call(7, DType::bf16, true)));
  EXPECT_EQ(library.operation.at(CUBLASLT_MATMUL_DESC_EPILOGUE), std::uint64_t{CUBLASLT_EPILOGUE_BIAS});
  EXPECT_EQ(library.operation.at(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE), std::uint64_t{CUDA_R_32F});
  auto other = call(7, DType::bf16, true);
  other.bias = bias() + 8;
  EXPECT_TRUE(products().multiply(nullptr, other));
  EXPECT_EQ(library.operation.at(CUBLASLT_MATMUL_DESC_BIAS_POINTER), reinterpret_cast<std::uintptr_t>(other.bias));
  EXPECT_EQ(library.searches, 1);
}

TEST_F(CublasPlans, SayThatTheBiasIsStillToBeAdded) {
  library.has_bias = false;
  for (int i = 0; i < 2; ++i) EXPECT_FALSE(products().multiply(nullptr, call(7, DType::bf16, true)));
  EXPECT_FALSE(library.operation.contains(CUBLASLT_MATMUL_DESC_EPILOGUE));
  EXPECT_EQ(library.searches, 2) << "with the bias and without, once";
  EXPECT_TRUE(products().multiply(nullptr, call(7)));
}

TEST_F(CublasPlans, TellTheLibraryOfMemoryThatIsNotAligned) {
  auto asked = call(7);
  EXPECT_EQ(shape_of(asked).x_alignment, kFullAlignment);
  static_cast<void>(products().multiply(nullptr, asked));
  EXPECT_EQ(library.preferences.at(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES), 16U);
  asked.x = static_cast<const std::byte*>(asked.x) + 2;
  asked.y += 1;
  EXPECT_EQ(shape_of(asked).x_alignment, 2U);
  static_cast<void>(products().multiply(nullptr, asked));
  EXPECT_EQ(library.preferences.at(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES), 16U);
  EXPECT_EQ(library.preferences.at(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES), 2U);
  EXPECT_EQ(library.preferences.at(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES), 4U);
}

TEST_F(CublasPlans, ThatDoNotExistNameTheProduct) {
  library.has_any = false;
  const Error error = test::error_of([&] { static_cast<void>(products().multiply(nullptr, call(7))); });
  EXPECT_EQ(error.code(), "backend.failed");
  EXPECT_EQ(error.message(), "cuda: cuBLASLt 13.1.2 has no way to do a bf16 product of 7 rows, 24 to 40");
  EXPECT_EQ(library.described, library.given_back);
}

TEST_F(CublasPlans, OfTypesThatAreNotMultipliedAreRefused) {
  const Error error = test::error_of([&] { static_cast<void>(products().multiply(nullptr, call(7, DType::f64))); });
  EXPECT_THAT(error.message(), HasSubstr("products of f64"));
  EXPECT_EQ(library.described, library.given_back);
}

TEST_F(CublasPlans, ThatFailWhenQueuedSayWhatTheLibrarySays) {
  library.matmul_status = CUBLAS_STATUS_EXECUTION_FAILED;
  const Error error = test::error_of([&] { static_cast<void>(products().multiply(nullptr, call(7))); });
  EXPECT_EQ(error.message(), "cuda: cuBLASLt: queueing a bf16 product of 7 rows, 24 to 40: as the test wants it");
}

TEST(CublasProducts, GiveBackAllTheyMade) {
  library = Library{};
  const CublasFunctions table = functions();
  std::array<float, 64> memory{};
  {
    CublasProducts products(table, memory.data(), 4096);
    static_cast<void>(products.multiply(nullptr, {.x = memory.data(),
                                                  .weight = memory.data(),
                                                  .bias = memory.data(),
                                                  .y = memory.data(),
                                                  .rows = 2,
                                                  .in = 3,
                                                  .out = 4}));
    EXPECT_GT(library.described, library.given_back);
  }
  EXPECT_EQ(library.described, library.given_back);
}

}  // namespace
}  // namespace mlbench::cuda
