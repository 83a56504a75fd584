#include "harness/selftest/parallel_scenes.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "models/presets.h"
#include "models/synthetic.h"

namespace mlbench::selftest {
namespace {

using nlohmann::json;

constexpr ParallelScene kScenes[] = {
    {Architecture::llama, {2, 1}},       {Architecture::llama, {4, 1}},
    {Architecture::llama, {1, 2}},       {Architecture::llama, {1, 3}},
    {Architecture::llama, {2, 2}},       {Architecture::orion, {2, 1}},
    {Architecture::orion, {3, 1}},       {Architecture::orion, {1, 2}},
    {Architecture::orion, {1, 3}},       {Architecture::olmo, {2, 1}},
    {Architecture::olmo, {4, 1}},        {Architecture::olmo, {1, 2}},
    {Architecture::olmo, {1, 3}},        {Architecture::phi, {2, 1}},
    {Architecture::phi, {3, 1}},         {Architecture::phi, {1, 2}},
    {Architecture::phi, {1, 3}},         {Architecture::phi, {2, 2}},
    {Architecture::gpt_bigcode, {1, 2}}, {Architecture::gpt_bigcode, {1, 3}},
    {Architecture::llama, {1, 1}, true}, {Architecture::llama, {2, 2}, true},
    {Architecture::orion, {1, 2}, true}, {Architecture::olmo, {2, 1}, true},
    {Architecture::phi, {2, 1}, true},   {Architecture::gpt_bigcode, {1, 2}, true},
};

// As few as show it: stages of which one has more than one layer, and two or three that share them unequally.
Index layers_of(const Split& split) {
  if (split.pipeline_parallel == 1) return 2;
  return 2 * split.pipeline_parallel - 1;
}

std::string counted(Index count, const char* what) {
  return count > 1 ? fmt::format(", {} {}", count, what) : std::string();
}

}  // namespace

std::span<const ParallelScene> parallel_scenes() { return kScenes; }

std::string name(const ParallelScene& scene) {
  return fmt::format("{}{}{}{}", mlbench::name(scene.architecture), counted(scene.split.tensor_parallel, "shards"),
                     counted(scene.split.pipeline_parallel, "stages"), scene.disaggregated ? ", twice" : "");
}

ModelConfig config_of(const ParallelScene& scene) {
  const Index layers = layers_of(scene.split);
  const std::string preset = small_preset(scene.architecture);
  if (scene.architecture == Architecture::gpt_bigcode) {
    return preset_config(preset,
                         {{"n_embd", 24}, {"n_inner", 36}, {"n_layer", layers}, {"n_head", 4}, {"vocab_size", 67}});
  }
  // 2, 3 and 4 divide the heads.
  const bool grouped = scene.architecture == Architecture::llama;
  json fields = {{"hidden_size", 48},           {"intermediate_size", 60},
                 {"num_hidden_layers", layers}, {"num_attention_heads", grouped ? 24 : 12},
                 {"num_key_value_heads", 12},   {"vocab_size", 67}};
  if (grouped) fields.update({{"attention_bias", true}, {"mlp_bias", true}, {"head_dim", 4}});
  if (scene.architecture == Architecture::phi) fields.update({{"partial_rotary_factor", 0.5}});
  return preset_config(preset, fields);
}

Model model_of(const ParallelScene& scene, DType dtype, std::uint64_t seed, Workers& workers) {
  return make_synthetic(config_of(scene), dtype, seed, workers);
}

harness::Plan plan_of(const ParallelScene& scene, std::uint64_t seed) {
  harness::Plan plan = {harness::make_plan(config_of(scene), harness::Extent::quick, seed, {5}).front()};
  if (scene.disaggregated) plan.front().limits.page_size = 2;
  return plan;
}

}  // namespace mlbench::selftest
