#include "models/presets.h"

#include <optional>

#include <fmt/format.h>

#include "core/error.h"
#include "core/near_names.h"
#include "models/config_reader.h"

namespace mlbench {
namespace {

using nlohmann::json;

constexpr double kNoLlama3Scaling = 0.0;

struct LlamaPreset {
  const char* name;
  Index h, I, L, Hq, Hkv, d, V;
  double theta;
  double llama3_factor;
  Index positions;
  bool tied;
};

constexpr LlamaPreset kLlama[] = {
    {"llama-2-7b", 4096, 11008, 32, 32, 32, 128, 32000, 1e4, kNoLlama3Scaling, 4096, false},
    {"llama-2-13b", 5120, 13824, 40, 40, 40, 128, 32000, 1e4, kNoLlama3Scaling, 4096, false},
    {"llama-2-70b", 8192, 28672, 80, 64, 8, 128, 32000, 1e4, kNoLlama3Scaling, 4096, false},
    {"llama-3-8b", 4096, 14336, 32, 32, 8, 128, 128256, 5e5, kNoLlama3Scaling, 8192, false},
    {"llama-3.1-8b", 4096, 14336, 32, 32, 8, 128, 128256, 5e5, 8, 131072, false},
    {"llama-3.1-70b", 8192, 28672, 80, 64, 8, 128, 128256, 5e5, 8, 131072, false},
    {"llama-3.2-1b", 2048, 8192, 16, 32, 8, 64, 128256, 5e5, 32, 131072, true},
    {"llama-3.2-3b", 3072, 8192, 28, 24, 8, 128, 128256, 5e5, 32, 131072, true},
    {"tinyllama-1.1b", 2048, 5632, 22, 32, 4, 64, 32000, 1e4, kNoLlama3Scaling, 2048, false},
    {"tinyllama-1.1b-chat-v0.4", 2048, 5632, 22, 32, 4, 64, 32003, 1e4, kNoLlama3Scaling, 2048, false},
    {"codellama-7b", 4096, 11008, 32, 32, 32, 128, 32016, 1e6, kNoLlama3Scaling, 16384, false},
    {"codellama-13b", 5120, 13824, 40, 40, 40, 128, 32016, 1e6, kNoLlama3Scaling, 16384, false},
    {"codellama-34b", 8192, 22016, 48, 64, 8, 128, 32000, 1e6, kNoLlama3Scaling, 16384, false},
    {"smollm-135m", 576, 1536, 30, 9, 3, 64, 49152, 1e4, kNoLlama3Scaling, 2048, true},
    {"smollm-360m", 960, 2560, 32, 15, 5, 64, 49152, 1e4, kNoLlama3Scaling, 2048, true},
    {"smollm-1.7b", 2048, 8192, 24, 32, 32, 64, 49152, 1e4, kNoLlama3Scaling, 2048, true},
    {"smollm2-135m", 576, 1536, 30, 9, 3, 64, 49152, 1e5, kNoLlama3Scaling, 8192, true},
    {"smollm2-360m", 960, 2560, 32, 15, 5, 64, 49152, 1e5, kNoLlama3Scaling, 8192, true},
    {"smollm2-1.7b", 2048, 8192, 24, 32, 32, 64, 49152, 1.3e5, kNoLlama3Scaling, 8192, true},
};

struct OrionPreset {
  const char* name;
  double theta;
  Index positions;
};
constexpr OrionPreset kOrion[] = {{"orion-14b", 1e4, 4096}, {"orion-14b-longchat", 5e7, 200000}};

struct OlmoPreset {
  const char* name;
  Index h, I, L, H;
  std::optional<double> clip_qkv;
  Index positions;
  bool tied;
};
constexpr OlmoPreset kOlmo[] = {
    {"olmo-1b", 2048, 8192, 16, 16, std::nullopt, 2048, true},
    {"olmo-1b-0724", 2048, 8192, 16, 16, 8.0, 4096, false},
    {"olmo-7b", 4096, 11008, 32, 32, std::nullopt, 2048, false},
    {"olmo-1.7-7b", 4096, 11008, 32, 32, 8.0, 4096, false},
    {"olmo-7b-0724-instruct", 4096, 11008, 32, 32, std::nullopt, 4096, false},
};

struct PhiPreset {
  const char* name;
  Index h, I, L, H;
  double partial_rotary_factor;
};
constexpr PhiPreset kPhi[] = {
    {"phi-1", 2048, 8192, 24, 32, 0.5}, {"phi-1_5", 2048, 8192, 24, 32, 0.5}, {"phi-2", 2560, 10240, 32, 32, 0.4}};

struct BigCodePreset {
  const char* name;
  Index h, I, L, Hq, positions, V;
  const char* activation;
};
constexpr BigCodePreset kBigCode[] = {
    {"starcoder", 6144, 24576, 40, 48, 8192, 49152, "gelu"},
    {"starcoderbase", 6144, 24576, 40, 48, 8192, 49152, "gelu"},
    {"starcoderbase-1b", 2048, 8192, 24, 16, 8192, 49152, "gelu_pytorch_tanh"},
    {"starcoderbase-3b", 2816, 11264, 36, 22, 8192, 49152, "gelu_pytorch_tanh"},
    {"starcoderbase-7b", 4096, 16384, 42, 32, 8192, 49152, "gelu"},
    {"gpt_bigcode-santacoder", 2048, 8192, 24, 16, 2048, 49280, "gelu_pytorch_tanh"},
    {"tiny_starcoder_py", 768, 3072, 20, 12, 8192, 49152, "gelu_pytorch_tanh"},
    {"granite-20b-code", 6144, 24576, 52, 48, 8192, 49152, "gelu_pytorch_tanh"},
    {"granite-34b-code", 6144, 24576, 88, 48, 8192, 49152, "gelu_pytorch_tanh"},
};

json llama3_scaling(double factor, Index original_positions) {
  return {{"rope_type", "llama3"},
          {"factor", factor},
          {"low_freq_factor", 1.0},
          {"high_freq_factor", 4.0},
          {"original_max_position_embeddings", original_positions}};
}

json to_json(const LlamaPreset& p) {
  json config = {{"model_type", "llama"},
                 {"hidden_size", p.h},
                 {"intermediate_size", p.I},
                 {"num_hidden_layers", p.L},
                 {"num_attention_heads", p.Hq},
                 {"num_key_value_heads", p.Hkv},
                 {"head_dim", p.d},
                 {"vocab_size", p.V},
                 {"rope_theta", p.theta},
                 {"rms_norm_eps", 1e-5},
                 {"hidden_act", "silu"},
                 {"max_position_embeddings", p.positions},
                 {"tie_word_embeddings", p.tied}};
  if (p.llama3_factor != kNoLlama3Scaling) config["rope_scaling"] = llama3_scaling(p.llama3_factor, 8192);
  return config;
}

json to_json(const OrionPreset& p) {
  return {{"model_type", "orion"},   {"hidden_size", 5120},          {"intermediate_size", 15360},
          {"num_hidden_layers", 40}, {"num_attention_heads", 40},    {"num_key_value_heads", 40},
          {"vocab_size", 84608},     {"rope_theta", p.theta},        {"rms_norm_eps", 1e-5},
          {"hidden_act", "silu"},    {"tie_word_embeddings", false}, {"max_position_embeddings", p.positions}};
}

json to_json(const OlmoPreset& p) {
  json config = {{"model_type", "olmo"},     {"hidden_size", p.h},         {"intermediate_size", p.I},
                 {"num_hidden_layers", p.L}, {"num_attention_heads", p.H}, {"num_key_value_heads", p.H},
                 {"vocab_size", 50304},      {"rope_theta", 1e4},          {"max_position_embeddings", p.positions},
                 {"hidden_act", "silu"},     {"clip_qkv", nullptr},        {"tie_word_embeddings", p.tied}};
  if (p.clip_qkv) config["clip_qkv"] = *p.clip_qkv;
  return config;
}

json to_json(const PhiPreset& p) {
  return {{"model_type", "phi"},      {"hidden_size", p.h},         {"intermediate_size", p.I},
          {"num_hidden_layers", p.L}, {"num_attention_heads", p.H}, {"partial_rotary_factor", p.partial_rotary_factor},
          {"vocab_size", 51200},      {"rope_theta", 1e4},          {"max_position_embeddings", 2048},
          {"hidden_act", "gelu_new"}, {"layer_norm_eps", 1e-5},     {"tie_word_embeddings", false}};
}

json to_json(const BigCodePreset& p) {
  return {{"model_type", "gpt_bigcode"},
          {"n_embd", p.h},
          {"n_inner", p.I},
          {"n_layer", p.L},
          {"n_head", p.Hq},
          {"n_positions", p.positions},
          {"vocab_size", p.V},
          {"activation_function", p.activation},
          {"layer_norm_epsilon", 1e-5},
          {"multi_query", true},
          {"scale_attn_weights", true},
          {"tie_word_embeddings", true}};
}

// Sizes off the powers of two, so that a wrong stride or a dropped remainder shows.
json small_config(Architecture architecture) {
  json config;
  switch (architecture) {
    case Architecture::llama:  // grouped queries, scaled rotation
      config = to_json(LlamaPreset{"", 192, 520, 4, 6, 2, 32, 1031, 1e4, kNoLlama3Scaling, 512, false});
      config["rope_scaling"] = llama3_scaling(8.0, 64);
      return config;
    case Architecture::orion:
      return {{"model_type", "orion"},        {"hidden_size", 160},
              {"intermediate_size", 424},     {"num_hidden_layers", 4},
              {"num_attention_heads", 5},     {"num_key_value_heads", 5},
              {"vocab_size", 1021},           {"rope_theta", 1e4},
              {"rms_norm_eps", 1e-5},         {"hidden_act", "silu"},
              {"tie_word_embeddings", false}, {"max_position_embeddings", 512}};
    case Architecture::olmo:
      config = to_json(OlmoPreset{"", 192, 512, 4, 6, 8.0, 512, false});
      config["vocab_size"] = 1033;
      return config;
    case Architecture::phi:  // 32 of 80 values of a head rotated, as in phi-2
      config = to_json(PhiPreset{"", 240, 640, 4, 3, 0.4});
      config["vocab_size"] = 1019;
      config["max_position_embeddings"] = 512;
      return config;
    case Architecture::gpt_bigcode: return to_json(BigCodePreset{"", 200, 800, 4, 8, 512, 1039, "gelu_pytorch_tanh"});
  }
  return config;
}

template <class Presets>
const auto* find_preset(const Presets& presets, std::string_view name) {
  for (const auto& preset : presets) {
    if (preset.name == name) return &preset;
  }
  return static_cast<decltype(&*std::begin(presets))>(nullptr);
}

}  // namespace

std::string small_preset(Architecture architecture) { return fmt::format("{}-small", name(architecture)); }

std::vector<std::string> preset_names() {
  std::vector<std::string> names;
  for (const Architecture architecture : kArchitectures) names.push_back(small_preset(architecture));
  const auto add = [&](const auto& presets) {
    for (const auto& preset : presets) names.emplace_back(preset.name);
  };
  add(kLlama);
  add(kOrion);
  add(kOlmo);
  add(kPhi);
  add(kBigCode);
  return names;
}

json preset_config_json(std::string_view name) {
  for (const Architecture architecture : kArchitectures) {
    if (name == small_preset(architecture)) return small_config(architecture);
  }
  if (const auto* preset = find_preset(kLlama, name)) return to_json(*preset);
  if (const auto* preset = find_preset(kOrion, name)) return to_json(*preset);
  if (const auto* preset = find_preset(kOlmo, name)) return to_json(*preset);
  if (const auto* preset = find_preset(kPhi, name)) return to_json(*preset);
  if (const auto* preset = find_preset(kBigCode, name)) return to_json(*preset);
  throw request_error("preset.unknown", fmt::format("no preset is called {}{}", in_quotes(name),
                                                    near_names_hint(name, preset_names(), "mlbench list presets")));
}

ModelConfig preset_config(std::string_view name, const json& overrides) {
  json object = preset_config_json(name);
  object.update(overrides);
  return read_config(object, fmt::format("preset {}", name));
}

}  // namespace mlbench
