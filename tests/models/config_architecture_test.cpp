// Which architecture a config.json means, and what it is refused for as a whole.
#include "models/config_reader.h"
#include "tests/models/config_support.h"

namespace mlbench {
namespace {

using nlohmann::json;
using test::changed;
using test::minimal;
using test::minimal_msft;
using test::read;
using test::refused;
using test::refused_text;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

TEST(ConfigArchitecture, ModelTypeDecides) {
  for (const Architecture architecture : kArchitectures) {
    const ModelConfig config = read(minimal(architecture));
    EXPECT_EQ(config.architecture, architecture);
    EXPECT_THAT(config.warnings, IsEmpty()) << name(architecture);
  }
  EXPECT_EQ(read(minimal_msft()).architecture, Architecture::phi);
  EXPECT_EQ(read(changed(minimal_msft(), {{"model_type", "mixformer-sequential"}})).architecture, Architecture::phi);
}

TEST(ConfigArchitecture, WithoutModelTypeTheFirstClassDecides) {
  const struct {
    const char* class_name;
    Architecture architecture;
  } cases[] = {{"LlamaForCausalLM", Architecture::llama},
               {"OrionForCausalLM", Architecture::orion},
               {"OrionForCasualLM", Architecture::orion},  // published with this slip
               {"OlmoForCausalLM", Architecture::olmo},
               {"PhiForCausalLM", Architecture::phi},
               {"GPTBigCodeForCausalLM", Architecture::gpt_bigcode}};
  for (const auto& [class_name, architecture] : cases) {
    for (const char* absent : {"-", ""}) {  // left out, or null
      json config = changed(minimal(architecture), {{"model_type", "-"}, {"architectures", {class_name, "Other"}}});
      if (*absent == '\0') config["model_type"] = nullptr;
      EXPECT_EQ(read(config).architecture, architecture) << class_name;
    }
  }
  const json msft =
      changed(minimal_msft(), {{"model_type", "-"}, {"architectures", {"MixFormerSequentialForCausalLM"}}});
  EXPECT_EQ(read(msft).architecture, Architecture::phi);
}

TEST(ConfigArchitecture, ModelTypeBeatsTheClass) {
  const json config = changed(minimal(Architecture::olmo), {{"architectures", {"LlamaForCausalLM"}}});
  EXPECT_EQ(read(config).architecture, Architecture::olmo);
}

TEST(ConfigArchitecture, UnknownOnesAreRefusedByName) {
  const json llama = minimal(Architecture::llama);
  const test::Refusal cases[] = {
      {{{"model_type", "gpt_neox"}}, "config.unsupported", "model_type = \"gpt_neox\""},
      {{{"model_type", "Llama"}}, "config.unsupported", "model_type = \"Llama\""},
      {{{"model_type", ""}}, "config.unsupported", "model_type = \"\""},
      {{{"model_type", 3}}, "config.type", "model_type = 3"},
      {{{"model_type", "-"}}, "config.missing", "model_type"},
      {{{"model_type", "-"}, {"architectures", nullptr}}, "config.missing", "model_type"},
      {{{"model_type", "-"}, {"architectures", json::array()}}, "config.type", "architectures = []"},
      {{{"model_type", "-"}, {"architectures", "LlamaForCausalLM"}}, "config.type", "architectures = "},
      {{{"model_type", "-"}, {"architectures", {1}}}, "config.type", "architectures = [1]"},
      {{{"model_type", "-"}, {"architectures", {"MistralForCausalLM"}}}, "config.unsupported", "MistralForCausalLM"},
  };
  for (const test::Refusal& refusal : cases) test::expect_refused(llama, refusal);
}

TEST(ConfigArchitecture, SantacodersOwnFormatIsRefusedPointingToItsConversion) {
  const json santacoder = {{"model_type", "gpt2"}, {"attention_head_type", "multiquery"},
                           {"n_embd", 2048},       {"n_layer", 24},
                           {"n_head", 16},         {"n_positions", 2048},
                           {"vocab_size", 49280},  {"activation_function", "gelu_fast"}};
  for (const char* type : {"gpt2", "santacoder"}) {
    const Error error = refused(changed(santacoder, {{"model_type", type}}));
    EXPECT_EQ(error.code(), "config.unsupported");
    EXPECT_THAT(error.message(), HasSubstr("gpt_bigcode-santacoder"));
  }
}

TEST(ConfigArchitecture, LegacyOlmoIsRefused) {
  const json legacy = {{"model_type", "hf_olmo"}, {"d_model", 2048}, {"n_layers", 16}, {"n_heads", 16}};
  EXPECT_EQ(refused(legacy).code(), "config.unsupported");
  EXPECT_EQ(refused(changed(legacy, {{"model_type", "olmo"}})).code(), "config.unsupported");
  EXPECT_EQ(refused(changed(legacy, {{"d_model", "-"}})).code(), "config.unsupported");
}

TEST(ConfigArchitecture, TheNamesPresentChooseBetweenPhisFieldSets) {
  const ModelConfig msft = read(changed(minimal_msft(), {{"model_type", "phi"}}));
  EXPECT_EQ(msft.hidden_size, 64);
  EXPECT_EQ(msft.rope.rotary_dim, 8);
  const ModelConfig hf = read(changed(minimal(Architecture::phi), {{"model_type", "phi-msft"}}));
  EXPECT_EQ(hf.hidden_size, 64);
  EXPECT_EQ(hf.rope.rotary_dim, 8);  // half of 16
}

// n_embd itself may be left out; n_layer and n_head are then still not Hugging Face's names.
TEST(ConfigArchitecture, PhiMsftWithoutNEmbdIsStillPhiMsft) {
  const ModelConfig config = read(changed(minimal_msft(), {{"n_embd", "-"}}));
  EXPECT_EQ(config.hidden_size, 2560);
  EXPECT_EQ(config.num_layers, 2);
  EXPECT_EQ(config.num_heads, 4);
}

TEST(ConfigText, WhatIsNoJsonIsASyntaxError) {
  for (const char* text : {"", "{", "nonsense", R"({"model_type": "llama",})", R"({"a": 1, "a": 1})", "\xFF\xFE"}) {
    EXPECT_EQ(refused_text(text).code(), "config.syntax") << text;
  }
}

TEST(ConfigText, WhatIsNoObjectIsATypeError) {
  for (const char* text : {"[]", "3", "null", "\"llama\""}) EXPECT_EQ(refused_text(text).code(), "config.type") << text;
}

// JSON has no such numbers; Python writes them all the same.
TEST(ConfigText, ANumberThatIsNotFiniteIsATypeErrorThatNamesTheField) {
  for (const char* number : {"NaN", "Infinity", "-Infinity", "1e999", "-1e999"}) {
    const Error error = refused_text(std::string(R"({"model_type": "llama", "rms_norm_eps": )") + number + "}");
    EXPECT_EQ(error.code(), "config.type") << number;
    EXPECT_THAT(error.message(), HasSubstr("rms_norm_eps")) << number;
  }
}

TEST(ConfigText, MessagesStartWithTheFileGiven) {
  const Error error = test::error_of([] { (void)parse_config("{}", "some/where/config.json"); });
  EXPECT_THAT(error.message(), StartsWith("some/where/config.json: "));
}

TEST(ConfigText, IgnoredFieldsMayHoldAnything) {
  for (const auto& [name, config] : test::minimal_configs()) {
    json more = config;
    for (const char* field :
         {"pretraining_tp", "initializer_range", "attention_dropout", "resid_pdrop", "embd_pdrop", "use_cache",
          "summary_type", "runner_max_sequence_length", "bos_token_id", "_name_or_path", "transformers_version"}) {
      more[field] = {"anything", {{"at", "all"}}};
    }
    more["rope_interleaved"] = false;
    const ModelConfig read_back = read(more);
    EXPECT_EQ(read_back.hidden_size, 64) << name;
    EXPECT_THAT(read_back.warnings, IsEmpty()) << name;
  }
}

TEST(ConfigText, TorchDtypeInformsAndNeverFails) {
  const json llama = minimal(Architecture::llama);
  EXPECT_EQ(read(changed(llama, {{"torch_dtype", "bfloat16"}})).dtype, "bfloat16");
  EXPECT_EQ(read(changed(llama, {{"dtype", "float16"}})).dtype, "float16");
  for (const json& odd : {json("int4"), json(4), json(nullptr), json::object()}) {
    EXPECT_EQ(read(changed(llama, {{"torch_dtype", odd}})).dtype, "float32");
  }
}

TEST(ConfigText, InterleavedRotationIsRefused) {
  for (const Architecture architecture : {Architecture::llama, Architecture::orion, Architecture::olmo}) {
    test::expect_refused(minimal(architecture),
                         {{{"rope_interleaved", true}}, "config.unsupported", "rope_interleaved = true"});
  }
}

}  // namespace
}  // namespace mlbench
