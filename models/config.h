// What a model is: the hyperparameters of one of five decoder-only architectures, independent of where they were
// written down. Read from config.json (config_reader.h) or from a preset (presets.h); always already validated.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/tensor.h"

namespace mlbench {

enum class Architecture { llama, orion, olmo, phi, gpt_bigcode };
inline constexpr Architecture kArchitectures[] = {Architecture::llama, Architecture::orion, Architecture::olmo,
                                                  Architecture::phi, Architecture::gpt_bigcode};
[[nodiscard]] std::string_view name(Architecture architecture);           // as typed after --arch
[[nodiscard]] std::string_view hf_class_name(Architecture architecture);  // "LlamaForCausalLM", ...
[[nodiscard]] std::optional<Architecture> parse_architecture(std::string_view text);

// SiLU(x) = x / (1 + e^-x); the GELUs of arXiv:1606.08415: exact (erf), its tanh approximation, and the latter with
// sqrt(2/pi) written as 0.7978845608 ("gelu_fast").
enum class Activation { silu, gelu_erf, gelu_tanh, gelu_fast, relu };
[[nodiscard]] std::string_view name(Activation activation);

// Rotary position embedding (arXiv:2104.09864) and its ways of reaching beyond the trained length.
enum class RopeKind { none, plain, linear, dynamic, llama3, yarn, longrope };
[[nodiscard]] std::string_view name(RopeKind kind);  // the names of config.json; plain is "default"

struct RopeConfig {
  RopeKind kind = RopeKind::none;
  double theta = 10000.0;
  Index rotary_dim = 0;                    // D: how many leading values of a head are rotated; even
  Index max_positions = 0;                 // Lmax
  Index original_max_positions = 0;        // Lo: llama3, yarn, longrope
  double factor = 1.0;                     // linear, dynamic, llama3, yarn, longrope
  double low_freq_factor = 1.0;            // llama3
  double high_freq_factor = 4.0;           // llama3
  double beta_fast = 32.0;                 // yarn
  double beta_slow = 1.0;                  // yarn
  bool truncate = true;                    // yarn: whole dimensions as the ramp's ends
  std::optional<double> attention_factor;  // yarn, longrope
  double mscale = 0.0;                     // yarn; 0: not given
  double mscale_all_dim = 0.0;             // yarn; 0: not given
  std::vector<double> short_factor;        // longrope [D/2]
  std::vector<double> long_factor;         // longrope [D/2]
};

// Letters as in the specification: h hidden, L layers, Hq / Hkv query / key-value heads, d head size, I MLP size,
// V vocabulary.
struct ModelConfig {
  Architecture architecture = Architecture::llama;
  Index hidden_size = 0;        // h
  Index intermediate_size = 0;  // I
  Index num_layers = 0;         // L
  Index num_heads = 0;          // Hq
  Index num_kv_heads = 0;       // Hkv
  Index head_dim = 0;           // d
  Index vocab_size = 0;         // V
  double norm_eps = 0.0;
  Activation activation = Activation::silu;
  bool tie_word_embeddings = false;
  RopeConfig rope;

  bool attention_bias = false;     // Llama, Orion, OLMo: biases on q, k, v and o
  bool mlp_bias = false;           // Llama: biases on gate, up and down
  std::optional<double> clip_qkv;  // OLMo
  bool qk_layernorm = false;       // Phi
  bool multi_query = false;        // GPT BigCode: layout of c_attn
  bool scale_attn_weights = true;  // GPT BigCode
  Index num_positions = 0;         // GPT BigCode: rows of the position embedding

  // What an engine makes of it (MLC's fields). They bound the published method listing, not an evaluation.
  Index context_window_size = 0;
  Index prefill_chunk_size = 0;
  Index tensor_parallel_shards = 1;
  Index pipeline_parallel_stages = 1;
  Index max_batch_size = 1;
  bool disaggregation = false;

  std::string dtype = "float32";      // torch_dtype / dtype: what the checkpoint says of itself
  std::vector<std::string> warnings;  // one line each: defaults taken where a file should have spoken

  [[nodiscard]] Index q_width() const { return num_heads * head_dim; }
  [[nodiscard]] Index kv_width() const { return num_kv_heads * head_dim; }
  [[nodiscard]] bool gated_mlp() const {
    return architecture != Architecture::phi && architecture != Architecture::gpt_bigcode;
  }
};

}  // namespace mlbench
