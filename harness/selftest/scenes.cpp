#include "harness/selftest/scenes.h"

#include <algorithm>
#include <memory>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "models/presets.h"
#include "models/synthetic.h"
#include "models/tensor_inventory.h"

namespace mlbench::selftest {
namespace {

using nlohmann::json;

constexpr SceneInfo kScenes[] = {
    {Scene::llama, "llama"},
    {Scene::llama_biased, "llama, biased"},
    {Scene::llama_long, "llama, long prompt"},
    {Scene::llama_tied, "llama, tied"},
    {Scene::llama_tiny, "llama, tiny rows"},
    {Scene::llama_sharp, "llama, large scores"},
    {Scene::llama_linear, "llama, linear"},
    {Scene::llama_dynamic, "llama, dynamic"},
    {Scene::llama_yarn, "llama, yarn"},
    {Scene::llama_longrope, "llama, longrope"},
    {Scene::orion, "orion"},
    {Scene::orion_shifted, "orion, shifted rows"},
    {Scene::olmo, "olmo"},
    {Scene::olmo_gelu, "olmo, gelu"},
    {Scene::phi, "phi"},
    {Scene::phi_norms, "phi, qk norm"},
    {Scene::bigcode, "gpt_bigcode"},
    {Scene::bigcode_heads, "gpt_bigcode, all heads"},
};

// Two layers, and sizes that are no multiple of 8, so that tails and remainders exist.
ModelConfig llama(const json& more) {
  json config = {{"hidden_size", 60},        {"intermediate_size", 84},  {"num_hidden_layers", 2},
                 {"num_attention_heads", 6}, {"num_key_value_heads", 2}, {"head_dim", 10},
                 {"vocab_size", 131},        {"rope_theta", 2e4}};
  config.update(more);
  return preset_config(small_preset(Architecture::llama), config);
}

ModelConfig orion() {
  return preset_config(small_preset(Architecture::orion), {{"hidden_size", 60},
                                                           {"intermediate_size", 84},
                                                           {"num_hidden_layers", 2},
                                                           {"num_attention_heads", 5},
                                                           {"num_key_value_heads", 5},
                                                           {"vocab_size", 121}});
}

ModelConfig olmo(const json& more) {
  json config = {{"hidden_size", 60},        {"intermediate_size", 84},  {"num_hidden_layers", 2},
                 {"num_attention_heads", 6}, {"num_key_value_heads", 6}, {"vocab_size", 133}};
  config.update(more);
  return preset_config(small_preset(Architecture::olmo), config);
}

ModelConfig phi(const json& more) {
  json config = {{"hidden_size", 60},        {"intermediate_size", 84},  {"num_hidden_layers", 2},
                 {"num_attention_heads", 3}, {"num_key_value_heads", 3}, {"vocab_size", 119}};
  config.update(more);
  return preset_config(small_preset(Architecture::phi), config);
}

ModelConfig bigcode(const json& more) {
  json config = {{"n_embd", 60}, {"n_inner", 84},     {"n_layer", 2},
                 {"n_head", 6},  {"n_positions", 96}, {"vocab_size", 139}};
  config.update(more);
  return preset_config(small_preset(Architecture::gpt_bigcode), config);
}

ModelConfig llama_scaled(const json& scaling) { return llama({{"rope_scaling", scaling}}); }

ModelConfig dynamic(Index max_positions) {
  return llama(
      {{"rope_scaling", {{"rope_type", "dynamic"}, {"factor", 2.0}}}, {"max_position_embeddings", max_positions}});
}

ModelConfig longrope() {
  return llama_scaled({{"rope_type", "longrope"},
                       {"short_factor", {1.0, 1.1, 1.2, 1.3, 1.4}},
                       {"long_factor", {1.5, 2.0, 3.0, 4.0, 6.0}},
                       {"factor", 4.0},
                       {"original_max_position_embeddings", 12}});
}

// Changes rows of one tensor; the others are shared with the model.
template <class Change>
Model with_changed(const Model& model, const std::string& tensor, DType dtype, const Change& change) {
  const WeightView view = model.weights->get(tensor);
  std::vector<double> values = view.widened();
  for (Index row = 0; row < view.rows; ++row) {
    change(row,
           std::span(values).subspan(static_cast<std::size_t>(row * view.cols), static_cast<std::size_t>(view.cols)));
  }
  const std::shared_ptr<std::byte[]> bytes(new std::byte[values.size() * size_bytes(dtype)]);
  narrow(dtype, values, bytes.get());
  auto weights = std::make_shared<Weights>(*model.weights);
  weights->keep(bytes);
  weights->put(tensor, {.dtype = dtype, .rows = view.rows, .cols = view.cols, .data = bytes.get()});
  Model out = model;
  out.weights = std::move(weights);
  return out;
}

// The first two tokens of every plan are the ends of the vocabulary.
Model with_tiny_rows(const Model& model, DType dtype) {
  const Index last = model.config.vocab_size - 1;
  return with_changed(model, embedding_name(model.config), dtype, [&](Index row, std::span<double> values) {
    if (row != 0 && row != last) return;
    for (double& value : values) value *= 0x1p-9;
  });
}

Model with_shifted_rows(const Model& model, DType dtype) {
  const Index last = model.config.vocab_size - 1;
  return with_changed(model, embedding_name(model.config), dtype, [&](Index row, std::span<double> values) {
    if (row != 0 && row != last) return;
    for (double& value : values) value += 64.0;
  });
}

Model with_large_scores(const Model& model, DType dtype) {
  return with_changed(model, "model.layers.1.self_attn.q_proj.weight", dtype, [](Index, std::span<double> values) {
    for (double& value : values) value *= 128.0;
  });
}

}  // namespace

std::span<const SceneInfo> scenes() { return kScenes; }

std::string_view name(Scene scene) { return kScenes[static_cast<std::size_t>(scene)].name; }

ModelConfig config_of(Scene scene) {
  switch (scene) {
    case Scene::llama:
    case Scene::llama_long:
    case Scene::llama_tiny:
    case Scene::llama_sharp: return llama(json::object());
    case Scene::llama_biased:
      return llama({{"attention_bias", true}, {"mlp_bias", true}, {"head_dim", 14}, {"rope_scaling", nullptr}});
    case Scene::llama_tied: return llama({{"tie_word_embeddings", true}});
    case Scene::llama_linear: return llama_scaled({{"rope_type", "linear"}, {"factor", 4.0}});
    case Scene::llama_dynamic: return dynamic(12);
    case Scene::llama_yarn:
      return llama_scaled({{"rope_type", "yarn"}, {"factor", 8.0}, {"original_max_position_embeddings", 64}});
    case Scene::llama_longrope: return longrope();
    case Scene::orion:
    case Scene::orion_shifted: return orion();
    case Scene::olmo: return olmo(json::object());
    case Scene::olmo_gelu: return olmo({{"hidden_act", "gelu_new"}, {"clip_qkv", nullptr}});
    case Scene::phi: return phi(json::object());
    case Scene::phi_norms: return phi({{"qk_layernorm", true}});
    case Scene::bigcode: return bigcode(json::object());
    case Scene::bigcode_heads:
      return bigcode({{"multi_query", false}, {"activation_function", "gelu"}, {"scale_attn_weights", false}});
  }
  return {};
}

Model model_of(Scene scene, DType dtype, std::uint64_t seed, Workers& workers) {
  Model model = make_synthetic(config_of(scene), dtype, seed, workers);
  switch (scene) {
    case Scene::llama_tiny: return with_tiny_rows(model, dtype);
    case Scene::llama_sharp: return with_large_scores(model, dtype);
    case Scene::orion_shifted: return with_shifted_rows(model, dtype);
    default: return model;
  }
}

harness::Plan plan_of(Scene scene, std::uint64_t seed) {
  switch (scene) {
    // Sequences beyond the trained length are what the scaling is about; the plan of the model itself has none.
    case Scene::llama_dynamic: return harness::make_plan(dynamic(512), harness::Extent::quick, seed);
    // Angles err more the further a position is.
    case Scene::llama_long: return {harness::make_plan(config_of(scene), harness::Extent::quick, seed, {200}).front()};
    default: return harness::make_plan(config_of(scene), harness::Extent::quick, seed);
  }
}

}  // namespace mlbench::selftest
