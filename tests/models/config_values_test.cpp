// Every field against every kind of wrong value: the code and the field in the message.
#include "tests/models/config_support.h"

namespace mlbench {
namespace {

using nlohmann::json;
using test::changed;
using test::expect_refused;
using test::minimal;
using test::minimal_msft;
using test::refused;
using test::refused_text;
using ::testing::HasSubstr;

struct FamilyFields {
  json config;
  std::vector<const char*> sizes;     // > 0
  std::vector<const char*> optional;  // integers where 0 means absent
  std::vector<const char*> epsilons;
  std::vector<const char*> flags;
  std::vector<const char*> texts;
};

std::vector<FamilyFields> families() {
  const std::vector<const char*> hf{"vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads"};
  std::vector<const char*> gated = hf;
  gated.push_back("intermediate_size");
  const std::vector<const char*> hf_optional{"num_key_value_heads", "head_dim"};
  return {
      {minimal(Architecture::llama),
       gated,
       hf_optional,
       {"rms_norm_eps"},
       {"tie_word_embeddings", "attention_bias", "mlp_bias", "rope_interleaved"},
       {"hidden_act", "model_type"}},
      {minimal(Architecture::orion),
       gated,
       hf_optional,
       {"rms_norm_eps"},
       {"tie_word_embeddings", "attention_bias"},
       {"hidden_act"}},
      {minimal(Architecture::olmo), gated, hf_optional, {}, {"tie_word_embeddings", "attention_bias"}, {"hidden_act"}},
      {minimal(Architecture::phi),
       hf,
       hf_optional,
       {"layer_norm_eps"},
       {"tie_word_embeddings", "qk_layernorm"},
       {"hidden_act"}},
      {minimal_msft(),
       {"vocab_size", "n_embd", "n_layer", "n_head", "n_positions", "rotary_dim"},
       {"n_inner", "n_head_kv", "head_dim"},
       {"layer_norm_epsilon"},
       {"tie_word_embeddings"},
       {"activation_function"}},
      {minimal(Architecture::gpt_bigcode),
       {"vocab_size", "n_embd", "n_layer", "n_head", "n_positions", "n_inner"},
       {},
       {"layer_norm_epsilon"},
       {"tie_word_embeddings", "multi_query", "scale_attn_weights", "add_cross_attention"},
       {"activation_function"}},
  };
}

std::string given(const char* field, const json& value) { return std::string(field) + " = " + value.dump(); }

void expect_integer(const json& config, const char* field) {
  for (const json& wrong : {json("4"), json(4.0), json(4.5), json(true), json::array({4}), json::object({{"n", 4}})}) {
    expect_refused(config, {{{field, wrong}}, "config.type", given(field, wrong)});
  }
  for (const json& out_of_range : {json(2147483648), json(-2147483648LL), json(9223372036854775807LL),
                                   json(std::int64_t{-9223372036854775807LL - 1}), json(18446744073709551615ULL)}) {
    expect_refused(config, {{{field, out_of_range}}, "config.value", given(field, out_of_range)});
  }
}

TEST(ConfigValues, SizesMustBePositiveIntegersOfReasonableSize) {
  for (const FamilyFields& family : families()) {
    SCOPED_TRACE(family.config.dump());
    for (const char* field : family.sizes) {
      expect_integer(family.config, field);
      for (const json& wrong : {json(0), json(-1), json(-2147483647)}) {
        expect_refused(family.config, {{{field, wrong}}, "config.value", given(field, wrong)});
      }
    }
  }
}

TEST(ConfigValues, OptionalSizesMustBeIntegersAndNotNegative) {
  for (const FamilyFields& family : families()) {
    SCOPED_TRACE(family.config.dump());
    for (const char* field : family.optional) {
      expect_integer(family.config, field);
      expect_refused(family.config, {{{field, -1}}, "config.value", given(field, -1)});
    }
  }
}

TEST(ConfigValues, AnIntegerTooLongForAnyTypeIsATypeError) {
  const Error error = refused_text(R"({"model_type": "llama", "vocab_size": 99999999999999999999999})");
  EXPECT_EQ(error.code(), "config.type");
  EXPECT_THAT(error.message(), HasSubstr("vocab_size"));
}

void expect_number(const json& config, const char* field) {
  for (const json& wrong : {json("1e-5"), json(true), json::array(), json::array({1.0})}) {
    expect_refused(config, {{{field, wrong}}, "config.type", given(field, wrong)});
  }
}

TEST(ConfigValues, EpsilonMustBeAPositiveNumber) {
  for (const FamilyFields& family : families()) {
    for (const char* field : family.epsilons) {
      expect_number(family.config, field);
      for (const json& wrong : {json(0.0), json(0), json(-1e-5)}) {
        expect_refused(family.config, {{{field, wrong}}, "config.value", std::string(field) + " = "});
      }
    }
  }
}

TEST(ConfigValues, FlagsMustBeBooleans) {
  for (const FamilyFields& family : families()) {
    for (const char* field : family.flags) {
      for (const json& wrong : {json("true"), json(1), json(0), json::array()}) {
        expect_refused(family.config, {{{field, wrong}}, "config.type", given(field, wrong)});
      }
    }
  }
}

TEST(ConfigValues, NamesMustBeStrings) {
  for (const FamilyFields& family : families()) {
    for (const char* field : family.texts) {
      for (const json& wrong : {json(1), json(true), json::array({"silu"}), json::object()}) {
        expect_refused(family.config, {{{field, wrong}}, "config.type", given(field, wrong)});
      }
    }
  }
}

TEST(ConfigValues, ClipMustBeANumber) { expect_number(minimal(Architecture::olmo), "clip_qkv"); }

TEST(ConfigValues, ThetaMustBeAPositiveNumber) {
  for (const auto& [family, config] : test::minimal_configs()) {
    if (family == "gpt_bigcode") continue;
    SCOPED_TRACE(family);
    for (const char* field : {"rope_theta", "position_embedding_base"}) {
      expect_number(config, field);
      expect_refused(config, {{{field, -1.0}}, "config.value", std::string(field) + " = -1"});
    }
    expect_refused(config, {{{"rope_theta", 0}}, "config.value", "rope_theta = 0"});
  }
}

TEST(ConfigValues, RotaryFactorMustLieWithinZeroAndOneAndGiveAnEvenSize) {
  const json phi = minimal(Architecture::phi);  // d = 16
  expect_number(phi, "partial_rotary_factor");
  for (const double wrong : {0.0, -0.5, 1.0625, 0.01}) {  // 0.01 gives no value at all
    expect_refused(phi, {{{"partial_rotary_factor", wrong}}, "config.value", "partial_rotary_factor = "});
  }
  expect_refused(phi, {{{"partial_rotary_factor", 0.4375}}, "config.value", "even"});  // 7
  expect_refused(minimal_msft(), {{{"rotary_dim", 7}}, "config.value", "rotary_dim = 7"});
  expect_refused(minimal_msft(), {{{"rotary_dim", 18}}, "config.value", "rotary_dim = 18"});
}

TEST(ConfigValues, RotatedHeadsMustHaveAnEvenSize) {
  for (const Architecture architecture : {Architecture::llama, Architecture::olmo}) {
    expect_refused(minimal(architecture), {{{"head_dim", 15}}, "config.value", "head_dim = 15"});
  }
  expect_refused(minimal(Architecture::orion), {{{"hidden_size", 60}}, "config.value", "even"});
}

TEST(ConfigValues, HostileTextInAValueStaysInOneLine) {
  const std::string hostile = "a\nb\x1b[31m\"" + std::string(10000, 'x');
  for (const char* field : {"model_type", "hidden_act", "vocab_size", "rope_scaling"}) {
    const Error error = refused(changed(minimal(Architecture::llama), {{field, hostile}}));
    EXPECT_LT(error.message().size(), 500U);
    for (const char c : error.message()) EXPECT_GE(c, 0x20) << error.message();
  }
}

}  // namespace
}  // namespace mlbench
