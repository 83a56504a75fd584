// Defaults, aliases and particular rules of each family (specification architectures.md, sections 4 to 8).
#include <functional>

#include "tests/models/config_support.h"

namespace mlbench {
namespace {

using nlohmann::json;
using test::changed;
using test::expect_refused;
using test::minimal;
using test::minimal_msft;
using test::read;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

using Get = std::function<double(const ModelConfig&)>;
double as_number(Index value) { return static_cast<double>(value); }
const Get kHidden = [](const ModelConfig& c) { return as_number(c.hidden_size); };
const Get kInner = [](const ModelConfig& c) { return as_number(c.intermediate_size); };
const Get kLayers = [](const ModelConfig& c) { return as_number(c.num_layers); };
const Get kHeads = [](const ModelConfig& c) { return as_number(c.num_heads); };
const Get kVocab = [](const ModelConfig& c) { return as_number(c.vocab_size); };
const Get kEps = [](const ModelConfig& c) { return c.norm_eps; };
const Get kPositions = [](const ModelConfig& c) { return as_number(c.num_positions); };

// A field whose absence means the class's default and earns a warning.
struct Default {
  const char* field;
  Get get;
  double value;
};

// Each field alone left out and given as null: the default, and one warning that names it. Fields in `unchecked` are
// changed too, so that the default fits the others.
void expect_defaults(const json& config, const std::vector<Default>& defaults, const json& fitting) {
  for (const Default& field : defaults) {
    for (const json& absent : {json("-"), json(nullptr)}) {
      SCOPED_TRACE(std::string(field.field) + (absent.is_null() ? ": null" : ": left out"));
      json changes = fitting;
      changes[field.field] = absent;
      const ModelConfig read_back = read(changed(config, changes));
      EXPECT_EQ(field.get(read_back), field.value);
      EXPECT_THAT(read_back.warnings, ElementsAre(HasSubstr(field.field)));
    }
  }
}

TEST(LlamaConfig, AbsentFieldsHaveTheClassDefaultsAndAWarning) {
  expect_defaults(minimal(Architecture::llama),
                  {{"hidden_size", kHidden, 4096},
                   {"intermediate_size", kInner, 11008},
                   {"num_hidden_layers", kLayers, 32},
                   {"num_attention_heads", kHeads, 32},
                   {"vocab_size", kVocab, 32000},
                   {"rms_norm_eps", kEps, 1e-6}},
                  json::object());
}

TEST(OlmoConfig, AbsentFieldsHaveTheClassDefaultsAndAWarning) {
  expect_defaults(minimal(Architecture::olmo),
                  {{"hidden_size", kHidden, 4096},
                   {"intermediate_size", kInner, 11008},
                   {"num_hidden_layers", kLayers, 32},
                   {"num_attention_heads", kHeads, 32},
                   {"vocab_size", kVocab, 50304}},
                  json::object());
}

TEST(PhiConfig, AbsentFieldsHaveTheClassDefaultsAndAWarning) {
  expect_defaults(minimal(Architecture::phi),
                  {{"hidden_size", kHidden, 2048},
                   {"num_hidden_layers", kLayers, 24},
                   {"num_attention_heads", kHeads, 32},
                   {"vocab_size", kVocab, 51200},
                   {"layer_norm_eps", kEps, 1e-5}},
                  {{"partial_rotary_factor", 1.0}});
}

TEST(PhiConfig, AbsentIntermediateSizeIs8192AndNullOrZeroFourTimesHidden) {
  const json phi = minimal(Architecture::phi);
  EXPECT_EQ(read(changed(phi, {{"intermediate_size", "-"}})).intermediate_size, 8192);
  EXPECT_EQ(read(changed(phi, {{"intermediate_size", nullptr}})).intermediate_size, 256);
  EXPECT_EQ(read(changed(phi, {{"intermediate_size", 0}})).intermediate_size, 256);
}

TEST(PhiMsftConfig, AbsentFieldsHaveTheClassDefaults) {
  const struct {
    const char* field;
    Get get;
    double value;
  } cases[] = {{"n_layer", kLayers, 32},
               {"n_head", kHeads, 32},
               {"vocab_size", kVocab, 51200},
               {"n_inner", kInner, 256},
               {"layer_norm_epsilon", kEps, 1e-5}};
  for (const auto& [field, get, value] : cases) {
    for (const json& absent : {json("-"), json(nullptr)}) {
      EXPECT_EQ(get(read(changed(minimal_msft(), {{"rotary_dim", 2}, {field, absent}}))), value) << field;
    }
  }
  EXPECT_EQ(read(changed(minimal_msft(), {{"rotary_dim", "-"}, {"n_head", 2}})).rope.rotary_dim, 32);
  EXPECT_EQ(read(changed(minimal_msft(), {{"n_positions", "-"}})).context_window_size, 2048);
}

TEST(GptBigCodeConfig, AbsentFieldsHaveTheClassDefaultsAndAWarning) {
  expect_defaults(minimal(Architecture::gpt_bigcode),
                  {{"n_embd", kHidden, 768},
                   {"n_layer", kLayers, 12},
                   {"n_head", kHeads, 12},
                   {"n_positions", kPositions, 1024},
                   {"vocab_size", kVocab, 50257},
                   {"layer_norm_epsilon", kEps, 1e-5}},
                  {{"n_embd", 96}});
}

TEST(GptBigCodeConfig, NInnerIsFourTimesNEmbdUnlessGiven) {
  for (const json& absent : {json("-"), json(nullptr)}) {
    const ModelConfig config = read(changed(minimal(Architecture::gpt_bigcode), {{"n_inner", absent}}));
    EXPECT_EQ(config.intermediate_size, 256);
    EXPECT_THAT(config.warnings, IsEmpty());
  }
}

TEST(OrionConfig, EveryFieldIsRequired) {
  for (const char* field :
       {"hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers", "vocab_size", "rms_norm_eps"}) {
    for (const json& absent : {json("-"), json(nullptr)}) {
      expect_refused(minimal(Architecture::orion), {{{field, absent}}, "config.missing", field});
    }
  }
}

TEST(OlmoConfig, EpsilonIsAConstant) {
  for (const json& eps : {json("-"), json(nullptr), json(1e-6), json(0.5)}) {
    EXPECT_EQ(read(changed(minimal(Architecture::olmo), {{"rms_norm_eps", eps}})).norm_eps, 1e-5);
  }
}

TEST(Families, OptionalFieldsHaveTheirDefaults) {
  for (const auto& [family, config] : test::minimal_configs()) {
    SCOPED_TRACE(family);
    const ModelConfig c = read(config);
    const bool bigcode = c.architecture == Architecture::gpt_bigcode;
    EXPECT_EQ(c.num_kv_heads, bigcode ? 1 : 4);
    EXPECT_EQ(c.head_dim, 16);
    EXPECT_EQ(c.tie_word_embeddings, bigcode);
    EXPECT_EQ(c.activation, bigcode || c.architecture == Architecture::phi ? Activation::gelu_tanh : Activation::silu);
    EXPECT_EQ(c.rope.kind, bigcode ? RopeKind::none : RopeKind::plain);
    EXPECT_EQ(c.rope.theta, 10000.0);
    EXPECT_FALSE(c.attention_bias);
    EXPECT_FALSE(c.mlp_bias);
    EXPECT_FALSE(c.qk_layernorm);
    EXPECT_FALSE(c.clip_qkv.has_value());
    EXPECT_EQ(c.multi_query, bigcode);
    EXPECT_TRUE(c.scale_attn_weights);
    EXPECT_EQ(c.tensor_parallel_shards, 1);
    EXPECT_EQ(c.pipeline_parallel_stages, 1);
    EXPECT_EQ(c.max_batch_size, 1);
    EXPECT_FALSE(c.disaggregation);
    EXPECT_EQ(c.dtype, "float32");
    EXPECT_EQ(c.vocab_size, 100);
    EXPECT_EQ(c.intermediate_size, 96);
    EXPECT_EQ(c.num_layers, 2);
    EXPECT_EQ(c.norm_eps, 1e-5);
    EXPECT_EQ(c.gated_mlp(), !bigcode && c.architecture != Architecture::phi);
  }
}

// A value is read from its own field; null means the default again.
TEST(Families, OptionalFieldsAreReadAndNullIsAbsent) {
  const Get kv = [](const ModelConfig& c) { return as_number(c.num_kv_heads); };
  const Get head_dim = [](const ModelConfig& c) { return as_number(c.head_dim); };
  const Get tie = [](const ModelConfig& c) { return c.tie_word_embeddings ? 1.0 : 0.0; };
  const Get attention_bias = [](const ModelConfig& c) { return c.attention_bias ? 1.0 : 0.0; };
  const Get mlp_bias = [](const ModelConfig& c) { return c.mlp_bias ? 1.0 : 0.0; };
  const Get clip = [](const ModelConfig& c) { return c.clip_qkv.value_or(-1.0); };
  const Get qk_norm = [](const ModelConfig& c) { return c.qk_layernorm ? 1.0 : 0.0; };
  const Get scale = [](const ModelConfig& c) { return c.scale_attn_weights ? 1.0 : 0.0; };
  const Get activation = [](const ModelConfig& c) { return static_cast<double>(c.activation); };
  const auto relu = static_cast<double>(Activation::relu);
  const auto silu = static_cast<double>(Activation::silu);
  const auto tanh = static_cast<double>(Activation::gelu_tanh);
  const json llama = minimal(Architecture::llama), orion = minimal(Architecture::orion),
             olmo = minimal(Architecture::olmo), phi = minimal(Architecture::phi), msft = minimal_msft(),
             bigcode = minimal(Architecture::gpt_bigcode);
  const struct {
    const json& config;
    const char* field;
    json given;
    Get get;
    double value, otherwise;
  } cases[] = {
      {llama, "num_key_value_heads", 2, kv, 2, 4},
      {orion, "num_key_value_heads", 2, kv, 2, 4},
      {olmo, "num_key_value_heads", 1, kv, 1, 4},
      {phi, "num_key_value_heads", 2, kv, 2, 4},
      {msft, "n_head_kv", 2, kv, 2, 4},
      {bigcode, "multi_query", false, kv, 4, 1},
      {llama, "head_dim", 32, head_dim, 32, 16},
      {olmo, "head_dim", 8, head_dim, 8, 16},
      {orion, "head_dim", 16, head_dim, 16, 16},
      {phi, "head_dim", 16, head_dim, 16, 16},
      {llama, "tie_word_embeddings", true, tie, 1, 0},
      {orion, "tie_word_embeddings", true, tie, 1, 0},
      {olmo, "tie_word_embeddings", true, tie, 1, 0},
      {phi, "tie_word_embeddings", true, tie, 1, 0},
      {msft, "tie_word_embeddings", true, tie, 1, 0},
      {bigcode, "tie_word_embeddings", false, tie, 0, 1},
      {llama, "attention_bias", true, attention_bias, 1, 0},
      {orion, "attention_bias", true, attention_bias, 1, 0},
      {olmo, "attention_bias", true, attention_bias, 1, 0},
      {llama, "mlp_bias", true, mlp_bias, 1, 0},
      {olmo, "clip_qkv", 8.0, clip, 8, -1},
      {olmo, "clip_qkv", 3, clip, 3, -1},  // an integer is a number too
      {phi, "qk_layernorm", true, qk_norm, 1, 0},
      {bigcode, "scale_attn_weights", false, scale, 0, 1},
      {llama, "hidden_act", "relu", activation, relu, silu},
      {orion, "hidden_act", "relu", activation, relu, silu},
      {olmo, "hidden_act", "relu", activation, relu, silu},
      {phi, "hidden_act", "relu", activation, relu, tanh},
      {msft, "activation_function", "relu", activation, relu, tanh},
      {bigcode, "activation_function", "relu", activation, relu, tanh},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.config.at("model_type").get<std::string>() + " " + c.field);
    EXPECT_EQ(c.get(read(changed(c.config, {{c.field, c.given}}))), c.value);
    EXPECT_EQ(c.get(read(changed(c.config, {{c.field, nullptr}}))), c.otherwise);
  }
  for (const json& config : {llama, olmo, orion, phi}) {
    EXPECT_EQ(read(changed(config, {{"num_key_value_heads", 0}})).num_kv_heads, 4) << "0 is absent";
    EXPECT_EQ(read(changed(config, {{"head_dim", 0}})).head_dim, 16) << "0 is absent";
  }
}

TEST(Families, ActivationNamesMeanTheirFormula) {
  const struct {
    const char* text;
    Activation activation;
  } cases[] = {{"silu", Activation::silu},
               {"swish", Activation::silu},
               {"gelu", Activation::gelu_erf},
               {"gelu_python", Activation::gelu_erf},
               {"gelu_new", Activation::gelu_tanh},
               {"gelu_pytorch_tanh", Activation::gelu_tanh},
               {"gelu_python_tanh", Activation::gelu_tanh},
               {"gelu_accurate", Activation::gelu_tanh},
               {"gelu_fast", Activation::gelu_fast},
               {"relu", Activation::relu}};
  for (const auto& [family, config] : test::minimal_configs()) {
    const char* field = config.contains("n_embd") ? "activation_function" : "hidden_act";
    for (const auto& [text, activation] : cases) {
      EXPECT_EQ(read(changed(config, {{field, text}})).activation, activation) << family << " " << text;
    }
    for (const char* unknown : {"gelu_10", "SiLU", "quick_gelu", "", "mish"}) {
      expect_refused(config, {{{field, unknown}}, "config.unsupported", std::string(field) + " = \"" + unknown + "\""});
    }
    expect_refused(config, {{{field, 1}}, "config.type", std::string(field) + " = 1"});
  }
}

TEST(Families, HeadsNeedNotFillTheHiddenSizeWhereHuggingFaceAllowsIt) {
  EXPECT_EQ(read(changed(minimal(Architecture::llama), {{"head_dim", 24}})).q_width(), 96);
  EXPECT_EQ(read(changed(minimal(Architecture::olmo), {{"head_dim", 24}})).q_width(), 96);
  for (const Architecture architecture : {Architecture::orion, Architecture::phi}) {
    expect_refused(minimal(architecture), {{{"head_dim", 24}}, "config.value", "head_dim = 24"});
  }
}

TEST(Families, DivisibilityRulesNameTheField) {
  for (const Architecture architecture :
       {Architecture::llama, Architecture::orion, Architecture::olmo, Architecture::phi}) {
    const json config = minimal(architecture);
    expect_refused(config, {{{"num_attention_heads", 5}}, "config.indivisible", "num_attention_heads = 5"});
    expect_refused(config, {{{"num_key_value_heads", 3}}, "config.indivisible", "num_key_value_heads = 3"});
    expect_refused(config, {{{"num_key_value_heads", 8}}, "config.indivisible", "num_key_value_heads = 8"});
  }
  // Even where head_dim is given.
  expect_refused(minimal(Architecture::llama),
                 {{{"num_attention_heads", 6}, {"head_dim", 8}}, "config.indivisible", "num_attention_heads = 6"});
  expect_refused(minimal_msft(), {{{"n_head", 5}}, "config.indivisible", "n_head = 5"});
  expect_refused(minimal_msft(), {{{"n_head_kv", 3}}, "config.indivisible", "n_head_kv = 3"});
  expect_refused(minimal(Architecture::gpt_bigcode), {{{"n_head", 5}}, "config.indivisible", "n_head = 5"});
}

TEST(OlmoConfig, ClipMustBePositive) {
  for (const json& clip : {json(0), json(0.0), json(-8.0)}) {
    expect_refused(minimal(Architecture::olmo), {{{"clip_qkv", clip}}, "config.value", "clip_qkv = "});
  }
}

TEST(GptBigCodeConfig, CrossAttentionIsRefused) {
  expect_refused(minimal(Architecture::gpt_bigcode),
                 {{{"add_cross_attention", true}}, "config.unsupported", "add_cross_attention = true"});
  EXPECT_NO_THROW((void)read(changed(minimal(Architecture::gpt_bigcode), {{"add_cross_attention", false}})));
}

TEST(GptBigCodeConfig, HeadsMayHaveAnOddSize) {
  EXPECT_EQ(read(changed(minimal(Architecture::gpt_bigcode), {{"n_embd", 60}})).head_dim, 15);
}

TEST(GptBigCodeConfig, RopeAndHeadDimFieldsMeanNothing) {
  const ModelConfig config = read(changed(minimal(Architecture::gpt_bigcode),
                                          {{"rope_theta", 5e5}, {"position_embedding_base", 1e6}, {"head_dim", 3}}));
  EXPECT_EQ(config.rope.kind, RopeKind::none);
  EXPECT_EQ(config.head_dim, 16);
}

TEST(GptBigCodeConfig, SoftmaxPrecisionFieldsMeanNothing) {
  for (const bool value : {false, true}) {
    EXPECT_NO_THROW(
        (void)read(changed(minimal(Architecture::gpt_bigcode),
                           {{"attention_softmax_in_fp32", value}, {"scale_attention_softmax_in_fp32", value}})));
  }
}

}  // namespace
}  // namespace mlbench
