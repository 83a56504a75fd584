// Names and shapes of every tensor against the tables of the specification (architectures.md, sections 4 to 8).
#include "models/tensor_inventory.h"

#include <map>

#include "models/presets.h"
#include "tests/models/config_support.h"

namespace mlbench {
namespace {

using nlohmann::json;
using test::changed;
using test::minimal;
using test::read;

using Shapes = std::map<std::string, Shape>;

Shapes inventory(const ModelConfig& config) {
  Shapes out;
  const auto add = [&](const std::vector<TensorSpec>& specs) {
    for (const TensorSpec& spec : specs) {
      EXPECT_TRUE(out.try_emplace(spec.name, spec.shape).second) << spec.name << " twice";
      EXPECT_EQ(spec.bias, spec.name.ends_with(".bias")) << spec.name;
    }
  };
  add(global_tensors(config));
  for (Index layer = 0; layer < config.num_layers; ++layer) add(layer_tensors(config, layer));
  return out;
}

// One layer, sizes all different: V 7, h 12, I 10, Hq 4, Hkv 2, d 6 (Hq*d = 24, Hkv*d = 12).
json sizes(Architecture architecture) {
  const json hf = {{"vocab_size", 7},        {"hidden_size", 12},        {"intermediate_size", 10},
                   {"num_hidden_layers", 1}, {"num_attention_heads", 4}, {"num_key_value_heads", 2},
                   {"head_dim", 6}};
  return changed(minimal(architecture), hf);
}

TEST(TensorInventory, OfLlama) {
  const Shapes expected = {{"model.embed_tokens.weight", {7, 12}},
                           {"model.layers.0.input_layernorm.weight", {12}},
                           {"model.layers.0.self_attn.q_proj.weight", {24, 12}},
                           {"model.layers.0.self_attn.k_proj.weight", {12, 12}},
                           {"model.layers.0.self_attn.v_proj.weight", {12, 12}},
                           {"model.layers.0.self_attn.o_proj.weight", {12, 24}},
                           {"model.layers.0.post_attention_layernorm.weight", {12}},
                           {"model.layers.0.mlp.gate_proj.weight", {10, 12}},
                           {"model.layers.0.mlp.up_proj.weight", {10, 12}},
                           {"model.layers.0.mlp.down_proj.weight", {12, 10}},
                           {"model.norm.weight", {12}},
                           {"lm_head.weight", {7, 12}}};
  EXPECT_EQ(inventory(read(sizes(Architecture::llama))), expected);

  Shapes tied = expected;
  tied.erase("lm_head.weight");
  EXPECT_EQ(inventory(read(changed(sizes(Architecture::llama), {{"tie_word_embeddings", true}}))), tied);

  Shapes biased = expected;
  biased["model.layers.0.self_attn.q_proj.bias"] = {24};
  biased["model.layers.0.self_attn.k_proj.bias"] = {12};
  biased["model.layers.0.self_attn.v_proj.bias"] = {12};
  biased["model.layers.0.self_attn.o_proj.bias"] = {12};
  EXPECT_EQ(inventory(read(changed(sizes(Architecture::llama), {{"attention_bias", true}}))), biased);
  biased["model.layers.0.mlp.gate_proj.bias"] = {10};
  biased["model.layers.0.mlp.up_proj.bias"] = {10};
  biased["model.layers.0.mlp.down_proj.bias"] = {12};
  EXPECT_EQ(inventory(read(changed(sizes(Architecture::llama), {{"attention_bias", true}, {"mlp_bias", true}}))),
            biased);
}

TEST(TensorInventory, OfOrionIsLlamasWithNormBiases) {
  json config = sizes(Architecture::orion);
  config["head_dim"] = 3;  // must fill the hidden size; then rotated heads must be even
  config["num_attention_heads"] = 2;
  config["num_key_value_heads"] = 1;
  config["head_dim"] = 6;
  const Shapes expected = {{"model.embed_tokens.weight", {7, 12}},
                           {"model.layers.0.input_layernorm.weight", {12}},
                           {"model.layers.0.input_layernorm.bias", {12}},
                           {"model.layers.0.self_attn.q_proj.weight", {12, 12}},
                           {"model.layers.0.self_attn.k_proj.weight", {6, 12}},
                           {"model.layers.0.self_attn.v_proj.weight", {6, 12}},
                           {"model.layers.0.self_attn.o_proj.weight", {12, 12}},
                           {"model.layers.0.post_attention_layernorm.weight", {12}},
                           {"model.layers.0.post_attention_layernorm.bias", {12}},
                           {"model.layers.0.mlp.gate_proj.weight", {10, 12}},
                           {"model.layers.0.mlp.up_proj.weight", {10, 12}},
                           {"model.layers.0.mlp.down_proj.weight", {12, 10}},
                           {"model.norm.weight", {12}},
                           {"model.norm.bias", {12}},
                           {"lm_head.weight", {7, 12}}};
  EXPECT_EQ(inventory(read(config)), expected);
}

TEST(TensorInventory, OfOlmoHasNoNorms) {
  const Shapes expected = {{"model.embed_tokens.weight", {7, 12}},
                           {"model.layers.0.self_attn.q_proj.weight", {24, 12}},
                           {"model.layers.0.self_attn.k_proj.weight", {12, 12}},
                           {"model.layers.0.self_attn.v_proj.weight", {12, 12}},
                           {"model.layers.0.self_attn.o_proj.weight", {12, 24}},
                           {"model.layers.0.mlp.gate_proj.weight", {10, 12}},
                           {"model.layers.0.mlp.up_proj.weight", {10, 12}},
                           {"model.layers.0.mlp.down_proj.weight", {12, 10}},
                           {"lm_head.weight", {7, 12}}};
  EXPECT_EQ(inventory(read(sizes(Architecture::olmo))), expected);
}

TEST(TensorInventory, OfPhi) {
  json config = changed(sizes(Architecture::phi), {{"num_attention_heads", 2}, {"num_key_value_heads", 1}});
  config["partial_rotary_factor"] = 1.0;
  Shapes expected = {{"model.embed_tokens.weight", {7, 12}},
                     {"model.final_layernorm.weight", {12}},
                     {"model.final_layernorm.bias", {12}},
                     {"lm_head.weight", {7, 12}},
                     {"lm_head.bias", {7}}};
  const std::pair<const char*, std::pair<Shape, Shape>> layer[] = {
      {"input_layernorm", {{12}, {12}}},     {"self_attn.q_proj", {{12, 12}, {12}}},
      {"self_attn.k_proj", {{6, 12}, {6}}},  {"self_attn.v_proj", {{6, 12}, {6}}},
      {"self_attn.dense", {{12, 12}, {12}}}, {"mlp.fc1", {{10, 12}, {10}}},
      {"mlp.fc2", {{12, 10}, {12}}}};
  for (const auto& [module, shapes] : layer) {
    expected[std::string("model.layers.0.") + module + ".weight"] = shapes.first;
    expected[std::string("model.layers.0.") + module + ".bias"] = shapes.second;
  }
  EXPECT_EQ(inventory(read(config)), expected);

  Shapes tied = expected;
  tied.erase("lm_head.weight");  // the bias stays by itself
  EXPECT_EQ(inventory(read(changed(config, {{"tie_word_embeddings", true}}))), tied);

  for (const char* norm : {"q_layernorm", "k_layernorm"}) {
    for (const char* kind : {"weight", "bias"}) {
      expected[std::string("model.layers.0.self_attn.") + norm + "." + kind] = {6};
    }
  }
  EXPECT_EQ(inventory(read(changed(config, {{"qk_layernorm", true}}))), expected);
}

TEST(TensorInventory, OfGptBigCode) {
  const json config =
      changed(minimal(Architecture::gpt_bigcode),
              {{"vocab_size", 7}, {"n_embd", 12}, {"n_inner", 10}, {"n_layer", 1}, {"n_head", 4}, {"n_positions", 9}});
  Shapes expected = {{"transformer.wte.weight", {7, 12}},
                     {"transformer.wpe.weight", {9, 12}},
                     {"transformer.ln_f.weight", {12}},
                     {"transformer.ln_f.bias", {12}}};
  const std::pair<const char*, std::pair<Shape, Shape>> layer[] = {{"ln_1", {{12}, {12}}},
                                                                   {"ln_2", {{12}, {12}}},
                                                                   {"attn.c_attn", {{18, 12}, {18}}},  // h + 2 d
                                                                   {"attn.c_proj", {{12, 12}, {12}}},
                                                                   {"mlp.c_fc", {{10, 12}, {10}}},
                                                                   {"mlp.c_proj", {{12, 10}, {12}}}};
  for (const auto& [module, shapes] : layer) {
    expected[std::string("transformer.h.0.") + module + ".weight"] = shapes.first;
    expected[std::string("transformer.h.0.") + module + ".bias"] = shapes.second;
  }
  EXPECT_EQ(inventory(read(config)), expected);

  expected["lm_head.weight"] = {7, 12};
  expected["transformer.h.0.attn.c_attn.weight"] = {36, 12};  // 3 h
  expected["transformer.h.0.attn.c_attn.bias"] = {36};
  EXPECT_EQ(inventory(read(changed(config, {{"multi_query", false}, {"tie_word_embeddings", false}}))), expected);
}

TEST(TensorInventory, CountsWhatItLists) {
  for (const Architecture architecture : kArchitectures) {
    const ModelConfig config = preset_config(small_preset(architecture));
    Index sum = 0;
    for (const auto& [name, shape] : inventory(config)) sum += element_count(shape);
    EXPECT_EQ(parameter_count(config), sum);
  }
}

TEST(TensorInventory, SizesBeyondEveryMemoryAreAnErrorAndNoOverflow) {
  constexpr Index kLargest = 2147483647;
  const json huge[] = {
      changed(minimal(Architecture::llama), {{"hidden_size", kLargest},
                                             {"num_attention_heads", 1},
                                             {"head_dim", kLargest - 1},
                                             {"num_hidden_layers", kLargest},
                                             {"vocab_size", kLargest}}),
      changed(minimal(Architecture::llama),
              {{"hidden_size", kLargest}, {"num_attention_heads", kLargest}, {"head_dim", kLargest - 1}}),
      changed(minimal(Architecture::llama),
              {{"hidden_size", 1 << 30}, {"num_attention_heads", 1 << 30}, {"head_dim", 1 << 30}, {"vocab_size", 1}}),
      changed(minimal(Architecture::gpt_bigcode), {{"n_embd", kLargest}, {"n_head", 1}, {"multi_query", false}}),
      changed(minimal(Architecture::gpt_bigcode), {{"n_embd", kLargest}, {"n_layer", kLargest}, {"n_head", 1}}),
  };
  for (const json& config : huge) {
    EXPECT_EQ(test::code_of([&] { (void)parameter_count(read(config)); }), "config.value") << config;
  }
}

}  // namespace
}  // namespace mlbench
