#include "backends/cpu/cpu_backend.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backends/cpu/onednn.h"
#include "backends/cpu/product.h"
#include "core/error.h"
#include "models/presets.h"
#include "tests/reference/small_models.h"

namespace mlbench::cpu {
namespace {

using backends::RunConfig;
using testing::HasSubstr;
using testing::StartsWith;

ModelConfig llama(const nlohmann::json& overrides = nlohmann::json::object()) {
  return preset_config(small_preset(Architecture::llama), overrides);
}

std::string refusal(const ModelConfig& config, const RunConfig& run) {
  const backends::Support support = make_cpu_backend()->supports(config, run);
  EXPECT_EQ(support.ok, support.reason.empty());
  return support.reason;
}

TEST(CpuBackend, SupportsAllArchitecturesInThreeTypes) {
  for (const Architecture architecture : kArchitectures) {
    for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
      EXPECT_EQ(refusal(preset_config(small_preset(architecture)), {.dtype = dtype}), "");
      EXPECT_EQ(refusal(preset_config(small_preset(architecture)), {.dtype = dtype, .device = "cpu", .threads = 1}),
                "");
    }
  }
}

TEST(CpuBackend, RefusesFloat64) { EXPECT_THAT(refusal(llama(), {.dtype = DType::f64}), StartsWith("f64: ")); }

TEST(CpuBackend, RefusesDevicesThatItLacks) {
  EXPECT_THAT(refusal(llama(), {.device = "cuda:0"}), HasSubstr("cuda:0"));
}

TEST(CpuBackend, LoadsNoPartOfAModelWithoutAGroup) {
  const Model model = ref::test::small_model(Architecture::llama);
  for (const RunConfig& run : {RunConfig{.tensor_parallel = 2}, RunConfig{.pipeline_parallel = 2}}) {
    EXPECT_TRUE(make_cpu_backend()->supports(model.config, run));
    try {
      (void)make_cpu_backend()->load(model, run);
      FAIL() << "it was loaded";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), "config.unsupported");
      EXPECT_THAT(error.message(), HasSubstr("group"));
    }
  }
}

TEST(CpuBackend, RefusesNegativeThreads) { EXPECT_THAT(refusal(llama(), {.threads = -1}), HasSubstr("-1 threads")); }

TEST(CpuBackend, RefusesRopeKindsThatItLacks) {
  const std::vector<double> factors(16, 1.0);  // D/2
  const nlohmann::json lacking[] = {
      {{"rope_type", "dynamic"}, {"factor", 2.0}},
      {{"rope_type", "yarn"}, {"factor", 2.0}},
      {{"rope_type", "longrope"}, {"short_factor", factors}, {"long_factor", factors}, {"factor", 2.0}}};
  for (const nlohmann::json& scaling : lacking) {
    EXPECT_THAT(refusal(llama({{"rope_scaling", scaling}}), {}), HasSubstr(scaling["rope_type"].get<std::string>()));
  }
  EXPECT_EQ(refusal(llama({{"rope_scaling", {{"rope_type", "linear"}, {"factor", 2.0}}}}), {}), "");
}

TEST(CpuBackend, LoadsNothingThatItDoesNotSupport) {
  const Model model = ref::test::small_model(Architecture::llama);
  try {
    (void)make_cpu_backend()->load(model, {.dtype = DType::f64});
    ADD_FAILURE() << "loaded";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), "config.unsupported");
    EXPECT_EQ(error.kind(), ErrorKind::request);
  }
}

TEST(CpuBackend, HasOneDeviceAndSaysWhatItIs) {
  const auto backend = make_cpu_backend();
  EXPECT_EQ(backend->name(), "cpu");
  EXPECT_THAT(backend->version(), StartsWith("oneDNN "));
  const auto devices = backend->devices();
  ASSERT_EQ(devices.size(), 1U);
  EXPECT_EQ(devices[0].id, "cpu");
  EXPECT_THAT(devices[0].description, HasSubstr(std::string(onednn::instruction_set())));
  EXPECT_THAT(devices[0].description, HasSubstr(" threads"));
  EXPECT_GT(devices[0].memory_bytes, 0x1p20);
}

// Llama small, two layers: h 192, I 520, Hq 6, Hkv 2, d 32, V 1031.
TEST(CpuBackend, EstimatesMemoryFromSizes) {
  const ModelConfig config = llama({{"num_hidden_layers", 2}});
  const KvLimits limits{.max_batch_size = 1, .max_total_seq_len = 64, .prefill_chunk_size = 32, .page_size = 16};
  const auto bf16 = make_cpu_backend()->memory(config, {.dtype = DType::bf16}, limits);
  EXPECT_EQ(bf16.weights_bytes, 4U * (2U * 2U * 192U + 192U));        // norms; matrices are used where they stand
  EXPECT_EQ(bf16.cache_bytes, 2U * (5U * 16U * 2U * 2U * 2U * 32U));  // 5 pages, 2 layers, K and V
  EXPECT_GT(bf16.scratch_bytes, 0U);
  const auto f32 = make_cpu_backend()->memory(config, {.dtype = DType::f32}, limits);
  EXPECT_EQ(f32.weights_bytes, bf16.weights_bytes);
  EXPECT_EQ(f32.scratch_bytes, bf16.scratch_bytes);
  const auto tied = make_cpu_backend()->memory(llama({{"num_hidden_layers", 2}, {"tie_word_embeddings", true}}),
                                               {.dtype = DType::bf16}, limits);
  EXPECT_EQ(tied.weights_bytes, bf16.weights_bytes);
}

// The second registration of these tests (CMakeLists.txt) runs without what this machine may have.
TEST(CpuBackend, ObeysOneDnnsLimitOfInstructionSets) {
  const char* limit = std::getenv("ONEDNN_MAX_CPU_ISA");
  if (limit == nullptr || std::string_view(limit) != "AVX2") GTEST_SKIP() << "no ONEDNN_MAX_CPU_ISA=AVX2 here";
  EXPECT_EQ(onednn::instruction_set(), "avx2");
  EXPECT_FALSE(Products::native(DType::bf16));
}

}  // namespace
}  // namespace mlbench::cpu
