// The method listing against the specification (methods.md, sections 2, 3 and 11).
#include "models/method_specs.h"

#include <map>
#include <set>

#include "models/presets.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

namespace mlbench {
namespace {

using nlohmann::json;

json listing(const char* preset, DType dtype = DType::f16, const json& overrides = json::object()) {
  return json::parse(method_listing(preset_config(preset, overrides), dtype).dump());
}

json method(const json& all, const std::string& name) {
  for (const json& entry : all.at("methods")) {
    if (entry.at("name") == name) return entry;
  }
  ADD_FAILURE() << "no method " << name;
  return {};
}

TEST(MethodListing, OfLlama38bIsTheSpecificationsExample) {
  const json all = listing("llama-3-8b");
  EXPECT_EQ(all.at("architecture"), "llama");
  EXPECT_EQ(all.at("dtype"), "float16");
  EXPECT_EQ(method(all, "batch_prefill"), json::parse(R"(
      {"name":"batch_prefill","mlc_exported":true,"internal":false,"pipeline_partitioned":true,
       "param_mode":"packed","effect_mode":"none",
       "args":[{"name":"input_embeds","kind":"tensor","dtype":"float16","shape":[1,"seq_len",4096]},
               {"name":"logit_positions","kind":"tensor","dtype":"int32","shape":["batch_size"]},
               {"name":"paged_kv_cache","kind":"kv_cache"}],
       "results":[{"name":"logits","kind":"tensor","dtype":"float32","shape":[1,"batch_size",128256]},
                  {"name":"paged_kv_cache","kind":"kv_cache"}]})"));
  const json expected = json::parse(R"(
      {"num_hidden_layers":32,"num_attention_heads":32,"num_key_value_heads":8,"head_dim":128,
       "rope_mode":"normal","rotary_dim":128,"layer_partition":[0,32],"kv_transfer":false})");
  for (const auto& [field, value] : expected.items()) EXPECT_EQ(all.at("kv_cache").at(field), value) << field;
}

// D, I and - of the table in section 2.
TEST(MethodListing, SaysWhatMlcHasForWhichFamily) {
  const std::set<std::string> everywhere{
      "embed", "prefill", "decode", "batch_prefill", "batch_decode", "batch_verify", "create_paged_kv_cache"};
  const std::set<std::string> llama_and_olmo{"get_logits",
                                             "batch_select_last_hidden_states",
                                             "prefill_to_last_hidden_states",
                                             "decode_to_last_hidden_states",
                                             "batch_prefill_to_last_hidden_states",
                                             "batch_decode_to_last_hidden_states",
                                             "batch_verify_to_last_hidden_states"};
  for (const Architecture architecture : kArchitectures) {
    const bool wide = architecture == Architecture::llama || architecture == Architecture::olmo;
    std::set<std::string> all, exported, internal;
    for (const MethodSpec& spec : method_specs(preset_config(small_preset(architecture)), DType::f16)) {
      EXPECT_TRUE(all.insert(spec.name).second) << spec.name << " twice";
      if (spec.mlc_exported) exported.insert(spec.name);
      if (spec.internal) internal.insert(spec.name);
    }
    std::set<std::string> expected = everywhere;
    if (wide) expected.insert(llama_and_olmo.begin(), llama_and_olmo.end());
    EXPECT_EQ(exported, expected) << name(architecture);
    EXPECT_EQ(exported.size(), wide ? 14U : 7U);
    EXPECT_EQ(internal, wide ? (std::set<std::string>{"batch_forward", "batch_forward_to_last_hidden_states"})
                             : (std::set<std::string>{"batch_forward"}));
    EXPECT_EQ(all.size(), 16U) << "every method for every family";
  }
}

TEST(MethodListing, ArgumentsAndResultsAreThoseOfSection3) {
  // Tensors as "name type [shape]", h and V written out for phi-2.
  using Signature = std::pair<std::vector<std::string>, std::vector<std::string>>;
  const std::string x_one = "input_embed float16 [1,\"seq_len\",2560]", x_step = "input_embed float16 [1,1,2560]",
                    x_all = "input_embeds float16 [1,\"seq_len\",2560]",
                    x_steps = "input_embeds float16 [\"batch_size\",1,2560]", cache = "paged_kv_cache",
                    positions = "logit_positions int32 [\"batch_size\"]";
  const std::map<std::string, Signature> expected = {
      {"embed", {{"input_ids int32 [\"seq_len\"]"}, {"embeds float16 [\"seq_len\",2560]"}}},
      {"get_logits", {{"hidden_states float16 [\"seq_len\",2560]"}, {"logits float32 [\"seq_len\",51200]"}}},
      {"batch_select_last_hidden_states",
       {{"hidden_states float16 [\"seq_len\",2560]", positions}, {"hidden_states float16 [\"batch_size\",2560]"}}},
      {"prefill", {{x_one, cache}, {"logits float32 [1,1,51200]", cache}}},
      {"decode", {{x_step, cache}, {"logits float32 [1,1,51200]", cache}}},
      {"prefill_to_last_hidden_states", {{x_one, cache}, {"hidden_states float16 [1,\"seq_len\",2560]", cache}}},
      {"decode_to_last_hidden_states", {{x_step, cache}, {"hidden_states float16 [1,1,2560]", cache}}},
      {"batch_prefill", {{x_all, positions, cache}, {"logits float32 [1,\"batch_size\",51200]", cache}}},
      {"batch_decode", {{x_steps, cache}, {"logits float32 [\"batch_size\",1,51200]", cache}}},
      {"batch_verify", {{x_all, cache}, {"logits float32 [1,\"seq_len\",51200]", cache}}},
      {"batch_prefill_to_last_hidden_states", {{x_all, cache}, {"hidden_states float16 [1,\"seq_len\",2560]", cache}}},
      {"batch_decode_to_last_hidden_states",
       {{x_steps, cache}, {"hidden_states float16 [\"batch_size\",1,2560]", cache}}},
      {"batch_verify_to_last_hidden_states", {{x_all, cache}, {"hidden_states float16 [1,\"seq_len\",2560]", cache}}},
      {"create_paged_kv_cache",
       {{"max_batch_size", "max_total_seq_len", "prefill_chunk_size", "page_size", "support_sliding_window"}, {cache}}},
  };
  const auto text = [](const json& values) {
    std::vector<std::string> out;
    for (const json& value : values) {
      std::string line = value.at("name").get<std::string>();
      if (value.at("kind") == "tensor") {
        line += fmt::format(" {} {}", value.at("dtype").get<std::string>(), value.at("shape").dump());
      } else {
        EXPECT_EQ(value.at("kind"), line == "paged_kv_cache" ? "kv_cache" : "int");
      }
      out.push_back(line);
    }
    return out;
  };
  const json all = listing("phi-2");
  for (const auto& [name, signature] : expected) {
    EXPECT_EQ(text(method(all, name).at("args")), signature.first) << name;
    EXPECT_EQ(text(method(all, name).at("results")), signature.second) << name;
  }
}

TEST(MethodListing, WeightsArePackedButForTheMethodsThatUseNone) {
  const json all = listing("olmo-1b");
  for (const json& entry : all.at("methods")) {
    const std::string name = entry.at("name");
    const bool none = name == "create_paged_kv_cache" || name == "batch_select_last_hidden_states";
    EXPECT_EQ(entry.at("param_mode"), none ? "none" : "packed") << name;
    EXPECT_EQ(entry.at("effect_mode"), "none") << name;
  }
}

TEST(MethodListing, PipelineStagesPartitionTheStackOnly) {
  const std::set<std::string> whole{"embed", "get_logits", "batch_select_last_hidden_states", "create_paged_kv_cache"};
  const json all = listing("llama-3-8b");
  for (const json& entry : all.at("methods")) {
    const std::string name = entry.at("name");
    if (name.starts_with("batch_forward")) continue;  // the internal functions are not in section 9's list
    EXPECT_EQ(entry.at("pipeline_partitioned"), !whole.contains(name)) << name;
  }
}

TEST(MethodListing, TheModelsTypeIsEveryFloatTensorsButTheLogits) {
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16, DType::f16}) {
    const json all = listing("phi-1", dtype);
    EXPECT_EQ(method(all, "embed").at("results")[0].at("dtype"), long_name(dtype));
    EXPECT_EQ(method(all, "get_logits").at("args")[0].at("dtype"), long_name(dtype));
    EXPECT_EQ(method(all, "get_logits").at("results")[0].at("dtype"), "float32");
  }
}

TEST(MethodListing, TheCacheIsPerShardAndStage) {
  const json cache = listing("llama-3-8b", DType::f16,
                             {{"tensor_parallel_shards", 4}, {"pipeline_parallel_stages", 3}, {"disaggregation", true}})
                         .at("kv_cache");
  EXPECT_EQ(cache.at("num_attention_heads"), 8);
  EXPECT_EQ(cache.at("num_key_value_heads"), 2);
  EXPECT_EQ(cache.at("num_hidden_layers"), 32);
  EXPECT_EQ(cache.at("layer_partition"), json({0, 11, 22, 32}));
  EXPECT_EQ(cache.at("kv_transfer"), true);
}

TEST(MethodListing, GptBigCodesCacheHasNoRotation) {
  const json cache = listing("starcoderbase-1b").at("kv_cache");
  EXPECT_EQ(cache.at("rope_mode"), "none");
  EXPECT_EQ(cache.at("num_key_value_heads"), 1);
  EXPECT_EQ(cache.at("rope_scale"), -1);
  EXPECT_EQ(cache.at("rope_theta"), -1.0);
  EXPECT_EQ(listing("phi-2").at("kv_cache").at("rotary_dim"), 32);
}

TEST(MethodListing, BoundsAreTheEnginesLimits) {
  const json bounds = listing("llama-3.1-8b", DType::f16, {{"max_batch_size", 80}}).at("bounds");
  EXPECT_EQ(bounds, json({{"seq_len", 8192}, {"batch_size", 80}, {"total_seq_len", 131072}}));
}

TEST(MethodListing, TheHashTellsConfigurationsApartAndNotTheirSpelling) {
  const json hash = listing("phi-2").at("config_hash");
  EXPECT_EQ(listing("phi-2").at("config_hash"), hash);
  EXPECT_EQ(listing("phi-2", DType::f16, {{"attention_dropout", 0.5}}).at("config_hash"), hash);
  EXPECT_NE(listing("phi-2", DType::f16, {{"layer_norm_eps", 1e-6}}).at("config_hash"), hash);
  EXPECT_NE(listing("phi-2", DType::f16, {{"rope_theta", 5e5}}).at("config_hash"), hash);
}

}  // namespace
}  // namespace mlbench
