// Every option of the configurations against the reference, in float32: there a wrong formula has nowhere to hide.
#include <gtest/gtest.h>

#include "tests/backends/cpu/side_by_side.h"

namespace mlbench::cpu::test {
namespace {

using nlohmann::json;
using ref::test::small_model;
using ref::test::some_tokens;

struct Variant {
  const char* name;
  Architecture architecture;
  json overrides;
};

class Options : public testing::TestWithParam<Variant> {};

TEST_P(Options, AreTheReferences) {
  SideBySide sides(small_model(GetParam().architecture, GetParam().overrides), DType::f32);
  sides.both([](auto& cache) {
    cache.add_sequence(0);
    cache.add_sequence(1);
  });
  sides.run({Method::batch_prefill, {0, 1}, {90, 4}, some_tokens(94), {93, 89}});
  sides.run({Method::batch_decode, {1, 0}, {1, 1}, some_tokens(2, 2)});
  sides.compare_entries(0);
}

const Variant kVariants[] = {
    {"LlamaMultiQuery", Architecture::llama, {{"num_key_value_heads", 1}}},
    {"LlamaOneHeadEach", Architecture::llama, {{"num_key_value_heads", 6}}},
    {"LlamaHeadDim", Architecture::llama, {{"head_dim", 48}}},
    {"LlamaTied", Architecture::llama, {{"tie_word_embeddings", true}}},
    {"LlamaBiases", Architecture::llama, {{"attention_bias", true}, {"mlp_bias", true}}},
    {"LlamaPlainRope", Architecture::llama, {{"rope_scaling", nullptr}, {"rope_theta", 5e5}}},
    {"LlamaLinearRope", Architecture::llama, {{"rope_scaling", {{"rope_type", "linear"}, {"factor", 4.0}}}}},
    {"LlamaGelu", Architecture::llama, {{"hidden_act", "gelu"}}},
    {"LlamaGeluNew", Architecture::llama, {{"hidden_act", "gelu_new"}}},
    {"LlamaGeluFast", Architecture::llama, {{"hidden_act", "gelu_fast"}}},
    {"LlamaRelu", Architecture::llama, {{"hidden_act", "relu"}}},
    {"OrionMultiQuery", Architecture::orion, {{"num_key_value_heads", 1}}},
    {"OrionBiases", Architecture::orion, {{"attention_bias", true}}},
    {"OlmoTightClip", Architecture::olmo, {{"clip_qkv", 0.5}}},
    {"OlmoNoClip", Architecture::olmo, {{"clip_qkv", nullptr}}},
    {"OlmoGroupsBiasesTied",
     Architecture::olmo,
     {{"num_key_value_heads", 2}, {"attention_bias", true}, {"tie_word_embeddings", true}}},
    {"PhiQkNorm", Architecture::phi, {{"qk_layernorm", true}}},
    {"PhiMultiQueryQkNorm", Architecture::phi, {{"qk_layernorm", true}, {"num_key_value_heads", 1}}},
    {"PhiAllRotated", Architecture::phi, {{"partial_rotary_factor", 1.0}}},
    {"PhiTied", Architecture::phi, {{"tie_word_embeddings", true}}},
    {"BigCodeManyHeads", Architecture::gpt_bigcode, {{"multi_query", false}}},
    {"BigCodeUnscaledScores", Architecture::gpt_bigcode, {{"scale_attn_weights", false}}},
    {"BigCodeGelu", Architecture::gpt_bigcode, {{"activation_function", "gelu"}}},
    {"BigCodeUntied", Architecture::gpt_bigcode, {{"tie_word_embeddings", false}}},
};

INSTANTIATE_TEST_SUITE_P(All, Options, testing::ValuesIn(kVariants),
                         [](const auto& instance) { return std::string(instance.param.name); });

class Windows : public testing::TestWithParam<bool> {};

// Chunks longer than the window, a sink, slides over page borders; with one key-value head and with many.
TEST_P(Windows, OfGptBigCodeAreTheReferences) {
  KvLimits limits = kLimits;
  limits.page_size = 4;
  limits.support_sliding_window = true;
  SideBySide sides(small_model(Architecture::gpt_bigcode, {{"multi_query", GetParam()}}), DType::f32, limits);
  sides.both([](auto& cache) {
    cache.add_sequence(0);
    cache.add_sequence(1);
    cache.enable_sliding_window_for_seq(0, 8, 2);
    cache.enable_sliding_window_for_seq(1, 5, 0);
  });
  sides.run({Method::batch_prefill, {0, 1}, {10, 7}, some_tokens(17), {9, 16}});
  for (std::uint32_t i = 0; i < 7; ++i) {
    sides.run({Method::batch_decode, {0, 1}, {1, 1}, some_tokens(2, 2 + i)});
    sides.compare_entries(0);
    sides.compare_entries(1);
  }
  sides.prefill(0, some_tokens(11, 30));
  sides.compare_entries(0);
}

INSTANTIATE_TEST_SUITE_P(All, Windows, testing::Bool(),
                         [](const auto& instance) { return instance.param ? "OneKvHead" : "ManyKvHeads"; });

}  // namespace
}  // namespace mlbench::cpu::test
