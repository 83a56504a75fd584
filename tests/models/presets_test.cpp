// Every row of the specification's tables of published configurations (presets.md).
#include "models/presets.h"

#include <set>

#include "models/tensor_inventory.h"
#include "tests/support/expect_error.h"

namespace mlbench {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct Row {
  const char* name;
  Architecture architecture;
  Index h, I, L, Hq, Hkv, d, V;
  double theta;          // 0: no RoPE
  double llama3_factor;  // 0: no scaling
  Index positions;
  bool tied;
  Activation activation;
  Index D;  // rotary size
  double clip_qkv;
  Index parameters;  // as printed in the table
  Index kv;
};

constexpr auto kLlama = Architecture::llama;
constexpr auto kOrion = Architecture::orion;
constexpr auto kOlmo = Architecture::olmo;
constexpr auto kPhi = Architecture::phi;
constexpr auto kBigCode = Architecture::gpt_bigcode;
constexpr auto kSilu = Activation::silu;
constexpr auto kTanh = Activation::gelu_tanh;
constexpr auto kErf = Activation::gelu_erf;

// clang-format off
constexpr Row kRows[] = {
    {"llama-2-7b",               kLlama, 4096, 11008, 32, 32, 32, 128, 32000,  1e4,   0,  4096,   false, kSilu, 128, 0, 6738415616,  262144},
    {"llama-2-13b",              kLlama, 5120, 13824, 40, 40, 40, 128, 32000,  1e4,   0,  4096,   false, kSilu, 128, 0, 13015864320, 409600},
    {"llama-2-70b",              kLlama, 8192, 28672, 80, 64, 8,  128, 32000,  1e4,   0,  4096,   false, kSilu, 128, 0, 68976648192, 163840},
    {"llama-3-8b",               kLlama, 4096, 14336, 32, 32, 8,  128, 128256, 5e5,   0,  8192,   false, kSilu, 128, 0, 8030261248,  65536},
    {"llama-3.1-8b",             kLlama, 4096, 14336, 32, 32, 8,  128, 128256, 5e5,   8,  131072, false, kSilu, 128, 0, 8030261248,  65536},
    {"llama-3.1-70b",            kLlama, 8192, 28672, 80, 64, 8,  128, 128256, 5e5,   8,  131072, false, kSilu, 128, 0, 70553706496, 163840},
    {"llama-3.2-1b",             kLlama, 2048, 8192,  16, 32, 8,  64,  128256, 5e5,   32, 131072, true,  kSilu, 64,  0, 1235814400,  16384},
    {"llama-3.2-3b",             kLlama, 3072, 8192,  28, 24, 8,  128, 128256, 5e5,   32, 131072, true,  kSilu, 128, 0, 3212749824,  57344},
    {"tinyllama-1.1b",           kLlama, 2048, 5632,  22, 32, 4,  64,  32000,  1e4,   0,  2048,   false, kSilu, 64,  0, 1100048384,  11264},
    {"tinyllama-1.1b-chat-v0.4", kLlama, 2048, 5632,  22, 32, 4,  64,  32003,  1e4,   0,  2048,   false, kSilu, 64,  0, 1100060672,  11264},
    {"codellama-7b",             kLlama, 4096, 11008, 32, 32, 32, 128, 32016,  1e6,   0,  16384,  false, kSilu, 128, 0, 6738546688,  262144},
    {"codellama-13b",            kLlama, 5120, 13824, 40, 40, 40, 128, 32016,  1e6,   0,  16384,  false, kSilu, 128, 0, 13016028160, 409600},
    {"codellama-34b",            kLlama, 8192, 22016, 48, 64, 8,  128, 32000,  1e6,   0,  16384,  false, kSilu, 128, 0, 33743970304, 98304},
    {"smollm-135m",              kLlama, 576,  1536,  30, 9,  3,  64,  49152,  1e4,   0,  2048,   true,  kSilu, 64,  0, 134515008,   11520},
    {"smollm-360m",              kLlama, 960,  2560,  32, 15, 5,  64,  49152,  1e4,   0,  2048,   true,  kSilu, 64,  0, 361821120,   20480},
    {"smollm-1.7b",              kLlama, 2048, 8192,  24, 32, 32, 64,  49152,  1e4,   0,  2048,   true,  kSilu, 64,  0, 1711376384,  98304},
    {"smollm2-135m",             kLlama, 576,  1536,  30, 9,  3,  64,  49152,  1e5,   0,  8192,   true,  kSilu, 64,  0, 134515008,   11520},
    {"smollm2-360m",             kLlama, 960,  2560,  32, 15, 5,  64,  49152,  1e5,   0,  8192,   true,  kSilu, 64,  0, 361821120,   20480},
    {"smollm2-1.7b",             kLlama, 2048, 8192,  24, 32, 32, 64,  49152,  1.3e5, 0,  8192,   true,  kSilu, 64,  0, 1711376384,  98304},
    {"orion-14b",                kOrion, 5120, 15360, 40, 40, 40, 128, 84608,  1e4,   0,  4096,   false, kSilu, 128, 0, 14498703360, 409600},
    {"orion-14b-longchat",       kOrion, 5120, 15360, 40, 40, 40, 128, 84608,  5e7,   0,  200000, false, kSilu, 128, 0, 14498703360, 409600},
    {"olmo-1b",                  kOlmo,  2048, 8192,  16, 16, 16, 128, 50304,  1e4,   0,  2048,   true,  kSilu, 128, 0, 1176764416,  65536},
    {"olmo-1b-0724",             kOlmo,  2048, 8192,  16, 16, 16, 128, 50304,  1e4,   0,  4096,   false, kSilu, 128, 8, 1279787008,  65536},
    {"olmo-7b",                  kOlmo,  4096, 11008, 32, 32, 32, 128, 50304,  1e4,   0,  2048,   false, kSilu, 128, 0, 6888095744,  262144},
    {"olmo-1.7-7b",              kOlmo,  4096, 11008, 32, 32, 32, 128, 50304,  1e4,   0,  4096,   false, kSilu, 128, 8, 6888095744,  262144},
    {"olmo-7b-0724-instruct",    kOlmo,  4096, 11008, 32, 32, 32, 128, 50304,  1e4,   0,  4096,   false, kSilu, 128, 0, 6888095744,  262144},
    {"phi-1",                    kPhi,   2048, 8192,  24, 32, 32, 64,  51200,  1e4,   0,  2048,   false, kTanh, 32,  0, 1418270720,  98304},
    {"phi-1_5",                  kPhi,   2048, 8192,  24, 32, 32, 64,  51200,  1e4,   0,  2048,   false, kTanh, 32,  0, 1418270720,  98304},
    {"phi-2",                    kPhi,   2560, 10240, 32, 32, 32, 80,  51200,  1e4,   0,  2048,   false, kTanh, 32,  0, 2779683840,  163840},
    {"starcoder",              kBigCode, 6144, 24576, 40, 48, 1,  128, 49152,  0,     0,  8192,   true,  kErf,  0,   0, 15517456384, 10240},
    {"starcoderbase",          kBigCode, 6144, 24576, 40, 48, 1,  128, 49152,  0,     0,  8192,   true,  kErf,  0,   0, 15517456384, 10240},
    {"starcoderbase-1b",       kBigCode, 2048, 8192,  24, 16, 1,  128, 49152,  0,     0,  8192,   true,  kTanh, 0,   0, 1137207296,  6144},
    {"starcoderbase-3b",       kBigCode, 2816, 11264, 36, 22, 1,  128, 49152,  0,     0,  8192,   true,  kTanh, 0,   0, 3043311104,  9216},
    {"starcoderbase-7b",       kBigCode, 4096, 16384, 42, 32, 1,  128, 49152,  0,     0,  8192,   true,  kErf,  0,   0, 7327263232,  10752},
    {"gpt_bigcode-santacoder", kBigCode, 2048, 8192,  24, 16, 1,  128, 49280,  0,     0,  2048,   true,  kTanh, 0,   0, 1124886528,  6144},
    {"tiny_starcoder_py",      kBigCode, 768,  3072,  20, 12, 1,  64,  49152,  0,     0,  8192,   true,  kTanh, 0,   0, 164144128,   2560},
    {"granite-20b-code",       kBigCode, 6144, 24576, 52, 48, 1,  128, 49152,  0,     0,  8192,   true,  kTanh, 0,   0, 20066993152, 13312},
    {"granite-34b-code",       kBigCode, 6144, 24576, 88, 48, 1,  128, 49152,  0,     0,  8192,   true,  kTanh, 0,   0, 33715603456, 22528},
};
// clang-format on

class PublishedPreset : public ::testing::TestWithParam<Row> {};

TEST_P(PublishedPreset, HasTheFieldsOfItsRow) {
  const Row& row = GetParam();
  const ModelConfig c = preset_config(row.name);
  EXPECT_THAT(c.warnings, IsEmpty());
  EXPECT_EQ(c.architecture, row.architecture);
  EXPECT_EQ(c.hidden_size, row.h);
  EXPECT_EQ(c.intermediate_size, row.I);
  EXPECT_EQ(c.num_layers, row.L);
  EXPECT_EQ(c.num_heads, row.Hq);
  EXPECT_EQ(c.num_kv_heads, row.Hkv);
  EXPECT_EQ(c.head_dim, row.d);
  EXPECT_EQ(c.vocab_size, row.V);
  EXPECT_EQ(c.norm_eps, 1e-5);
  EXPECT_EQ(c.tie_word_embeddings, row.tied);
  EXPECT_EQ(c.activation, row.activation);
  EXPECT_EQ(c.context_window_size, row.positions);
  EXPECT_EQ(c.clip_qkv.value_or(0.0), row.clip_qkv);
  EXPECT_FALSE(c.attention_bias || c.mlp_bias || c.qk_layernorm);
  if (row.theta == 0.0) {
    EXPECT_EQ(c.rope.kind, RopeKind::none);
    EXPECT_EQ(c.num_positions, row.positions);
    EXPECT_TRUE(c.multi_query);
    EXPECT_TRUE(c.scale_attn_weights);
    return;
  }
  EXPECT_EQ(c.rope.theta, row.theta);
  EXPECT_EQ(c.rope.rotary_dim, row.D);
  EXPECT_EQ(c.rope.max_positions, row.positions);
  EXPECT_EQ(c.rope.kind, row.llama3_factor == 0.0 ? RopeKind::plain : RopeKind::llama3);
  if (row.llama3_factor == 0.0) return;
  EXPECT_EQ(c.rope.factor, row.llama3_factor);
  EXPECT_EQ(c.rope.low_freq_factor, 1.0);
  EXPECT_EQ(c.rope.high_freq_factor, 4.0);
  EXPECT_EQ(c.rope.original_max_positions, 8192);
}

TEST_P(PublishedPreset, HasTheParameterAndCacheCountsOfItsRow) {
  const ModelConfig c = preset_config(GetParam().name);
  EXPECT_EQ(parameter_count(c), GetParam().parameters);
  EXPECT_EQ(kv_values_per_token(c), GetParam().kv);
}

// Presets.md, section 6, as written there.
Index formula(const ModelConfig& c) {
  const Index h = c.hidden_size, I = c.intermediate_size, L = c.num_layers, Hq = c.num_heads, Hkv = c.num_kv_heads,
              d = c.head_dim, V = c.vocab_size;
  const Index heads = c.tie_word_embeddings ? 1 : 2;
  const Index attention = h * (Hq + 2 * Hkv) * d + Hq * d * h;
  switch (c.architecture) {
    case Architecture::llama: return V * h * heads + L * (attention + 3 * h * I + 2 * h) + h;
    case Architecture::orion: return 2 * V * h + L * (attention + 3 * h * I + 4 * h) + 2 * h;
    case Architecture::olmo: return V * h * heads + L * (attention + 3 * h * I);
    case Architecture::phi:
      return 2 * V * h + V + L * (2 * h + (h + 1) * (Hq + 2 * Hkv) * d + h * h + h + (h + 1) * I + (I + 1) * h) + 2 * h;
    case Architecture::gpt_bigcode:
      return V * h * heads + c.num_positions * h +
             L * (4 * h + (h + 1) * (h + 2 * Hkv * d) + h * h + h + (h + 1) * I + (I + 1) * h) + 2 * h;
  }
  return 0;
}

TEST_P(PublishedPreset, CountsAgreeWithTheFormulas) {
  const ModelConfig c = preset_config(GetParam().name);
  EXPECT_EQ(parameter_count(c), formula(c));
  EXPECT_EQ(kv_values_per_token(c), 2 * c.num_layers * c.num_kv_heads * c.head_dim);
}

INSTANTIATE_TEST_SUITE_P(Rows, PublishedPreset, ::testing::ValuesIn(kRows), [](const auto& row) {
  std::string label = row.param.name;
  for (char& c : label) c = std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '_';
  return label;
});

TEST(Presets, AreTheSmallOnesAndTheTables) {
  std::vector<std::string> expected;
  for (const Architecture architecture : kArchitectures) expected.push_back(small_preset(architecture));
  for (const Row& row : kRows) expected.emplace_back(row.name);
  EXPECT_EQ(preset_names(), expected);
}

TEST(Presets, SmallOnesParseWithoutAWarningAndAreSmall) {
  for (const Architecture architecture : kArchitectures) {
    const ModelConfig c = preset_config(small_preset(architecture));
    EXPECT_EQ(c.architecture, architecture);
    EXPECT_THAT(c.warnings, IsEmpty());
    EXPECT_EQ(parameter_count(c), formula(c));
    EXPECT_LT(parameter_count(c), 5'000'000) << "evaluated in seconds on two cores";
    EXPECT_GE(c.num_layers, 2) << "one layer hides a mistake in what is handed on";
  }
}

TEST(Presets, OverridesReplaceFields) {
  const ModelConfig c = preset_config("llama-3-8b", {{"num_hidden_layers", 2}, {"rope_theta", 1e4}});
  EXPECT_EQ(c.num_layers, 2);
  EXPECT_EQ(c.rope.theta, 1e4);
  EXPECT_EQ(c.hidden_size, 4096);
  const Error error = test::error_of([] { (void)preset_config("phi-2", {{"vocab_size", -1}}); });
  EXPECT_EQ(error.code(), "config.value");
  EXPECT_THAT(error.message(), HasSubstr("preset phi-2"));
}

TEST(Presets, AnUnknownNameIsRefusedWithNearOnes) {
  const Error error = test::error_of([] { (void)preset_config("llama-3.1-8B"); });
  EXPECT_EQ(error.code(), "preset.unknown");
  EXPECT_EQ(error.kind(), ErrorKind::request);
  EXPECT_THAT(error.message(), HasSubstr("llama-3.1-8b"));
}

TEST(Presets, LegalShardingsAreThoseOfTheSpecification) {
  const std::pair<const char*, std::set<Index>> cases[] = {{"smollm-135m", {1, 3}},
                                                           {"smollm-360m", {1, 5}},
                                                           {"llama-3-8b", {1, 2, 4, 8}},
                                                           {"tinyllama-1.1b", {1, 2, 4}},
                                                           {"starcoder", {1}}};
  for (const auto& [name, legal] : cases) {
    for (Index shards = 1; shards <= 40; ++shards) {
      const std::string code = test::code_of([&, preset = name] {
        (void)preset_config(preset, {{"tensor_parallel_shards", shards}});
      });
      EXPECT_EQ(code.empty(), legal.contains(shards)) << name << " " << shards << " " << code;
    }
  }
}

}  // namespace
}  // namespace mlbench
