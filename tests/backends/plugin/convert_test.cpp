#include "backends/plugin/convert.h"

#include <gmock/gmock.h>

#include "backends/plugin/hf_config.h"
#include "backends/plugin/wire.h"
#include "models/config_json.h"
#include "models/config_reader.h"
#include "models/presets.h"
#include "tests/backends/plugin/plugins.h"

namespace mlbench::plugin {
namespace {

using nlohmann::json;

// Configurations in which every field is met with something else than its default.
std::vector<ModelConfig> many_configs() {
  std::vector<ModelConfig> out;
  for (const std::string& preset : preset_names()) out.push_back(preset_config(preset));
  const auto scaled = [&](const char* preset, json scaling) {
    out.push_back(preset_config(preset, {{"rope_scaling", std::move(scaling)}}));
  };
  scaled("orion-small", {{"type", "linear"}, {"factor", 2.5}});
  scaled("olmo-small", {{"type", "dynamic"}, {"factor", 4.0}});
  scaled("llama-small", {{"rope_type", "yarn"},
                         {"factor", 3.0},
                         {"original_max_position_embeddings", 100},
                         {"beta_fast", 30.0},
                         {"beta_slow", 2.0},
                         {"truncate", false},
                         {"mscale", 0.5},
                         {"mscale_all_dim", 0.7}});
  scaled("llama-small", {{"rope_type", "yarn"}, {"factor", 3.0}, {"attention_factor", 1.25}});
  const std::vector<double> shorter(16, 1.5), longer(16, 3.25);
  scaled("llama-small", {{"rope_type", "longrope"},
                         {"short_factor", shorter},
                         {"long_factor", longer},
                         {"original_max_position_embeddings", 1000},
                         {"attention_factor", 1.5}});
  out.push_back(preset_config("llama-small", {{"attention_bias", true},
                                              {"mlp_bias", true},
                                              {"tie_word_embeddings", true},
                                              {"hidden_act", "gelu_fast"},
                                              {"head_dim", 48},
                                              {"context_window_size", 300},
                                              {"prefill_chunk_size", 77},
                                              {"tensor_parallel_shards", 2},
                                              {"pipeline_parallel_stages", 2},
                                              {"max_batch_size", 5},
                                              {"disaggregation", true},
                                              {"torch_dtype", "bfloat16"}}));
  out.push_back(preset_config("phi-small", {{"qk_layernorm", true}, {"hidden_act", "gelu"}}));
  for (int rotated = 2; rotated <= 80; rotated += 2)  // shares that are no binary fractions
    out.push_back(preset_config("phi-small", {{"partial_rotary_factor", (rotated + 0.5) / 80.0}}));
  out.push_back(preset_config("gpt_bigcode-small", {{"multi_query", false},
                                                    {"scale_attn_weights", false},
                                                    {"tie_word_embeddings", false},
                                                    {"activation_function", "relu"}}));
  return out;
}

void expect_same(const ModelConfig& expected, const ModelConfig& got) {
  EXPECT_EQ(config_json(expected).dump(), config_json(got).dump());
  EXPECT_EQ(expected.dtype, got.dtype);
}

TEST(HfConfig, IsReadAsTheSameConfiguration) {
  for (const ModelConfig& config : many_configs()) {
    const std::string text = hf_config_json(config).dump();
    const ModelConfig got = parse_config(text, "test");
    expect_same(config, got);
    EXPECT_TRUE(got.warnings.empty()) << text << got.warnings.front();
  }
}

TEST(CConfig, HoldsTheSameConfiguration) {
  for (const ModelConfig& config : many_configs()) {
    const CConfig c(config);
    expect_same(config, config_of(*c.get()));
    expect_same(config, parse_config(c.get()->json, "test"));
    EXPECT_EQ(c.get()->gated_mlp != 0, config.gated_mlp());
  }
}

TEST(Wire, CarriesTheSameConfiguration) {
  for (const ModelConfig& config : many_configs()) {
    Writer writer;
    put(writer, config);
    std::vector<std::byte> bytes;
    for (const auto& piece : writer.pieces()) bytes.insert(bytes.end(), piece.begin(), piece.end());
    Reader reader(bytes);
    expect_same(config, get<ModelConfig>(reader));
    EXPECT_NO_THROW(reader.end());
  }
}

TEST(CConfig, NamesTheNormAndTheBlockOfEachArchitecture) {
  const auto of = [](const char* preset) { return *CConfig(preset_config(preset)).get(); };
  EXPECT_EQ(of("llama-small").norm, MLBENCH_RMS_NORM);
  EXPECT_EQ(of("orion-small").norm, MLBENCH_LAYER_NORM);
  EXPECT_EQ(of("olmo-small").norm, MLBENCH_LAYER_NORM_PLAIN);
  EXPECT_EQ(of("phi-small").parallel_block, 1);
  EXPECT_EQ(of("gpt_bigcode-small").parallel_block, 0);
}

// What is newer has more; what is older than the first revision is none.
TEST(CConfig, AStructureThatIsTooSmallIsRefused) {
  const CConfig c(preset_config("llama-small"));
  mlbench_config small = *c.get();
  small.struct_size -= 8;
  EXPECT_THAT(test::error_of([&] { (void)config_of(small); }), testing::HasSubstr("mlbench_config: struct_size"));
  mlbench_config large = *c.get();
  large.struct_size += 8;
  EXPECT_NO_THROW((void)config_of(large));
}

TEST(CModel, HasEveryWeightByItsName) {
  const Model model = test::small_model(Architecture::llama, DType::bf16, {{"tie_word_embeddings", true}});
  const CModel c(model);
  const mlbench_model& m = *c.get();
  const Model got = model_of(m);
  std::string last;
  for (std::int64_t i = 0; i < m.num_weights; ++i) {
    const std::string name = m.weights[i].name;
    EXPECT_LT(last, name);
    last = name;
    const WeightView &a = model.weights->get(name), &b = got.weights->get(name);
    EXPECT_EQ(a.data, b.data) << name;
    EXPECT_EQ(a.rows, b.rows) << name;
    EXPECT_EQ(a.cols, b.cols) << name;
    EXPECT_EQ(m.weights[i].tensor.rank, name.find("norm") == std::string::npos ? 2 : 1) << name;
  }
  EXPECT_TRUE(got.weights->has("lm_head.weight"));
}

TEST(CleanText, LeavesLinesAloneAndEscapesTheRest) {
  const auto clean = [](std::string_view text) { return clean_text(text.data(), text.size()); };
  for (const char* plain : {"", "plain", R"(a "quoted" C:\path \x1b)", "Zw\xC3\xB6lf \xE2\x82\xAC"}) {
    EXPECT_EQ(clean(plain), plain);
    EXPECT_EQ(clean(clean(plain)), plain);
  }
  EXPECT_EQ(clean("a\nb\x1b[0m"), "a\\x0ab\\x1b[0m");
  EXPECT_EQ(clean("\xff\"\xc3"), "\\xff\"\\xc3");
  EXPECT_EQ(clean_text("abc", 2), "ab");  // without a zero byte
  EXPECT_EQ(clean_text(nullptr, 5), "");
}

TEST(CopyText, CutsBetweenCharacters) {
  char out[6];
  copy_text("abcdefgh", out, sizeof out);
  EXPECT_STREQ(out, "abcde");
  copy_text("abcd\xE2\x82\xAC", out, sizeof out);
  EXPECT_STREQ(out, "abcd");
  copy_text("", out, sizeof out);
  EXPECT_STREQ(out, "");
  copy_text("whatever", nullptr, 0);
}

}  // namespace
}  // namespace mlbench::plugin
