#include "models/config_reader.h"

#include <algorithm>
#include <limits>

#include <fmt/format.h>

#include "core/dtype.h"
#include "core/json.h"
#include "models/config_fields.h"
#include "models/parallel_rules.h"
#include "models/rope_config.h"
#include "models/tensor_inventory.h"

namespace mlbench {
namespace {

// ---- which architecture ----

struct NamedArchitecture {
  std::string_view name;
  Architecture architecture;
};

constexpr NamedArchitecture kModelTypes[] = {
    {"llama", Architecture::llama},
    {"orion", Architecture::orion},
    {"olmo", Architecture::olmo},
    {"phi", Architecture::phi},
    {"phi-msft", Architecture::phi},
    {"mixformer-sequential", Architecture::phi},
    {"gpt_bigcode", Architecture::gpt_bigcode},
};

constexpr NamedArchitecture kClasses[] = {
    {"LlamaForCausalLM", Architecture::llama},
    {"LLaMAForCausalLM", Architecture::llama},
    {"OrionForCausalLM", Architecture::orion},
    {"OrionForCasualLM", Architecture::orion},  // sic, in published files
    {"OlmoForCausalLM", Architecture::olmo},
    {"PhiForCausalLM", Architecture::phi},
    {"MixFormerSequentialForCausalLM", Architecture::phi},
    {"GPTBigCodeForCausalLM", Architecture::gpt_bigcode},
};

template <std::size_t N>
const NamedArchitecture* find_named(const NamedArchitecture (&table)[N], std::string_view name) {
  const auto* it =
      std::find_if(std::begin(table), std::end(table), [&](const auto& entry) { return entry.name == name; });
  return it == std::end(table) ? nullptr : it;
}

// Formats of the same families' forebears, which name their fields and tensors otherwise.
void refuse_foreign_formats(const ConfigFields& fields) {
  const std::string type = fields.text("model_type").value_or("");
  const bool known = find_named(kModelTypes, type) != nullptr;
  if (type == "santacoder" || type == "gpt2" ||
      (fields.has("attention_head_type") && (!known || type == "gpt_bigcode"))) {
    throw fields.unsupported(fields.has("attention_head_type") ? "attention_head_type" : "model_type",
                             "the original santacoder format is not read; use the gpt_bigcode-santacoder conversion");
  }
  if (type == "hf_olmo" || (fields.has("d_model") && (!known || type == "olmo"))) {
    throw fields.unsupported(fields.has("d_model") ? "d_model" : "model_type",
                             "the legacy hf_olmo format is not read; use a checkpoint with model_type olmo");
  }
}

Architecture read_architecture(const nlohmann::json& object, const ConfigFields& fields) {
  refuse_foreign_formats(fields);
  if (const auto type = fields.text("model_type")) {
    if (const auto* found = find_named(kModelTypes, *type)) return found->architecture;
    throw fields.unsupported("model_type",
                             "must be llama, orion, olmo, phi, phi-msft, mixformer-sequential or gpt_bigcode");
  }
  const auto classes = object.find("architectures");
  if (classes == object.end() || classes->is_null()) {
    throw fields.missing("model_type", "it, or architectures, names the architecture");
  }
  if (!classes->is_array() || classes->empty() || !classes->front().is_string()) {
    throw fields.error("config.type", "architectures", "must be a list of class names");
  }
  if (const auto* found = find_named(kClasses, classes->front().get<std::string>())) return found->architecture;
  throw fields.unsupported("architectures",
                           "must start with the class of one of the five architectures, such as LlamaForCausalLM");
}

// ---- fields that several families share ----

struct NamedActivation {
  std::string_view name;
  Activation activation;
};

constexpr NamedActivation kActivations[] = {
    {"silu", Activation::silu},
    {"swish", Activation::silu},
    {"gelu", Activation::gelu_erf},
    {"gelu_python", Activation::gelu_erf},
    {"gelu_new", Activation::gelu_tanh},
    {"gelu_pytorch_tanh", Activation::gelu_tanh},
    {"gelu_python_tanh", Activation::gelu_tanh},
    {"gelu_accurate", Activation::gelu_tanh},
    {"gelu_fast", Activation::gelu_fast},
    {"relu", Activation::relu},
};

Activation read_activation(const ConfigFields& fields, const char* field, std::string_view missing_means) {
  const std::string text = fields.text(field).value_or(std::string(missing_means));
  for (const NamedActivation& named : kActivations) {
    if (named.name == text) return named.activation;
  }
  throw fields.unsupported(field,
                           "must be silu, swish, gelu, gelu_python, gelu_new, gelu_pytorch_tanh, gelu_python_tanh, "
                           "gelu_accurate, gelu_fast or relu");
}

constexpr Index kRequired = -1;

// Reads the fields of one family into `config`, with the family's defaults.
class FamilyReader {
 public:
  FamilyReader(const ConfigFields& fields, ModelConfig& config) : fields_(fields), config_(config) {}

  // A size that must be positive. A file that lacks it is read with the default of the Hugging Face class and a
  // warning, or refused where there is no such class.
  Index size(const char* field, Index missing_means) {
    const auto value = fields_.integer(field);
    if (!value) {
      if (missing_means == kRequired) throw fields_.missing(field, "the architecture needs it");
      warn_default(field, fmt::format("{}", missing_means));
      return missing_means;
    }
    return positive(field, *value);
  }

  // A size where absent and 0 mean another one.
  Index size_or(const char* field, Index otherwise) {
    const Index value = fields_.integer(field).value_or(0);
    return value == 0 ? otherwise : positive(field, value);
  }

  double epsilon(const char* field, double missing_means) {
    const auto value = fields_.number(field);
    if (!value) {
      if (missing_means == kRequired) throw fields_.missing(field, "the architecture needs it");
      warn_default(field, fmt::format("{}", missing_means));
      return missing_means;
    }
    if (*value <= 0.0) throw fields_.bad_value(field, "must be > 0");
    return *value;
  }

  bool flag(const char* field, bool missing_means) { return fields_.boolean(field).value_or(missing_means); }

  void heads(const char* heads_field, Index missing_means, const char* kv_field, const char* hidden_field) {
    config_.num_heads = size(heads_field, missing_means);
    config_.num_kv_heads = kv_field == nullptr ? config_.num_heads : size_or(kv_field, config_.num_heads);
    if (config_.hidden_size % config_.num_heads != 0) {
      throw fields_.error("config.indivisible", heads_field,
                          fmt::format("must divide {}, {}", hidden_field, config_.hidden_size));
    }
    config_.head_dim = config_.hidden_size / config_.num_heads;
    if (config_.num_heads % config_.num_kv_heads != 0) {
      throw fields_.error("config.indivisible", kv_field,
                          fmt::format("must divide {}, {}", heads_field, config_.num_heads));
    }
  }

  void explicit_head_dim(bool must_fill_hidden) {
    config_.head_dim = size_or("head_dim", config_.head_dim);
    constexpr Index kLargest = std::numeric_limits<std::int32_t>::max();  // as for every single size
    if (config_.head_dim > kLargest / config_.num_heads) {
      throw fields_.bad_value(
          "head_dim", fmt::format("times the number of heads, {}, must be at most {}", config_.num_heads, kLargest));
    }
    if (must_fill_hidden && config_.head_dim * config_.num_heads != config_.hidden_size) {
      throw fields_.bad_value("head_dim", fmt::format("times the number of heads, {}, must be the hidden size, {}",
                                                      config_.num_heads, config_.hidden_size));
    }
  }

  void warn_default(const char* field, const std::string& taken) {
    config_.warnings.push_back(fmt::format("{}: field {} is absent: taken as {}", fields_.where(), field, taken));
  }

 private:
  Index positive(const char* field, Index value) const {
    if (value <= 0) throw fields_.bad_value(field, "must be > 0");
    return value;
  }

  const ConfigFields& fields_;
  ModelConfig& config_;
};

void refuse_interleaved_rope(const ConfigFields& fields) {
  if (fields.boolean("rope_interleaved").value_or(false)) {
    throw fields.unsupported("rope_interleaved", "rotation is in the rotate-half order: must be false");
  }
}

// ---- the families (defaults: the classes of transformers 5.12) ----

// Llama, Orion and OLMo share their fields' names. What absent sizes mean: Llama's and OLMo's sizes have defaults,
// Orion's none.
struct LlamaLikeDefaults {
  Index hidden, intermediate, layers, heads, vocab;
};
constexpr LlamaLikeDefaults kLlamaDefaults{4096, 11008, 32, 32, 32000};
constexpr LlamaLikeDefaults kOlmoDefaults{4096, 11008, 32, 32, 50304};
constexpr LlamaLikeDefaults kOrionDefaults{kRequired, kRequired, kRequired, kRequired, kRequired};

void read_llama_like(const ConfigFields& fields, const LlamaLikeDefaults& missing, ModelConfig& config) {
  FamilyReader reader(fields, config);
  config.vocab_size = reader.size("vocab_size", missing.vocab);
  config.hidden_size = reader.size("hidden_size", missing.hidden);
  config.intermediate_size = reader.size("intermediate_size", missing.intermediate);
  config.num_layers = reader.size("num_hidden_layers", missing.layers);
  reader.heads("num_attention_heads", missing.heads, "num_key_value_heads", "hidden_size");
  reader.explicit_head_dim(config.architecture == Architecture::orion);
  config.activation = read_activation(fields, "hidden_act", "silu");
  config.attention_bias = reader.flag("attention_bias", false);
  config.tie_word_embeddings = reader.flag("tie_word_embeddings", false);
  refuse_interleaved_rope(fields);
  config.rope = read_rope(fields, config);
}

void read_llama(const ConfigFields& fields, ModelConfig& config) {
  read_llama_like(fields, kLlamaDefaults, config);
  FamilyReader reader(fields, config);
  config.norm_eps = reader.epsilon("rms_norm_eps", 1e-6);
  config.mlp_bias = reader.flag("mlp_bias", false);
}

void read_orion(const ConfigFields& fields, ModelConfig& config) {
  read_llama_like(fields, kOrionDefaults, config);
  config.norm_eps = FamilyReader(fields, config).epsilon("rms_norm_eps", kRequired);
}

void read_olmo(const ConfigFields& fields, ModelConfig& config) {
  read_llama_like(fields, kOlmoDefaults, config);
  config.norm_eps = 1e-5;  // a constant of the architecture; rms_norm_eps, where it stands, means nothing
  config.clip_qkv = fields.number("clip_qkv");
  if (config.clip_qkv && *config.clip_qkv <= 0.0)
    throw fields.bad_value("clip_qkv", "must be > 0, or null for no clipping");
}

void read_phi(const ConfigFields& fields, ModelConfig& config) {
  FamilyReader reader(fields, config);
  config.vocab_size = reader.size("vocab_size", 51200);
  if (has_msft_names(fields)) {
    config.hidden_size = reader.size("n_embd", 2560);
    config.intermediate_size = reader.size_or("n_inner", 4 * config.hidden_size);
    config.num_layers = reader.size("n_layer", 32);
    reader.heads("n_head", 32, "n_head_kv", "n_embd");
    config.norm_eps = reader.epsilon("layer_norm_epsilon", 1e-5);
    config.activation = read_activation(fields, "activation_function", "gelu_new");
  } else {
    config.hidden_size = reader.size("hidden_size", 2048);
    // Left out, it is the class's 8192; as null or 0 it is what MLC takes it for.
    const bool four_times =
        fields.given_as_null("intermediate_size") || fields.integer("intermediate_size") == Index{0};
    config.intermediate_size = four_times ? 4 * config.hidden_size : reader.size("intermediate_size", 8192);
    config.num_layers = reader.size("num_hidden_layers", 24);
    reader.heads("num_attention_heads", 32, "num_key_value_heads", "hidden_size");
    config.norm_eps = reader.epsilon("layer_norm_eps", 1e-5);
    config.activation = read_activation(fields, "hidden_act", "gelu_new");
    config.qk_layernorm = reader.flag("qk_layernorm", false);
  }
  reader.explicit_head_dim(true);
  config.tie_word_embeddings = reader.flag("tie_word_embeddings", false);
  config.rope = read_rope(fields, config);
}

void read_gpt_bigcode(const ConfigFields& fields, ModelConfig& config) {
  if (fields.boolean("add_cross_attention").value_or(false)) {
    throw fields.unsupported("add_cross_attention",
                             "cross attention is not part of decoder-only inference: must be false");
  }
  FamilyReader reader(fields, config);
  config.vocab_size = reader.size("vocab_size", 50257);
  config.hidden_size = reader.size("n_embd", 768);
  if (const auto inner = fields.integer("n_inner"); inner && *inner == 0)
    throw fields.bad_value("n_inner", "must be > 0, or null");
  config.intermediate_size = reader.size_or("n_inner", 4 * config.hidden_size);
  config.num_layers = reader.size("n_layer", 12);
  reader.heads("n_head", 12, nullptr, "n_embd");
  config.multi_query = reader.flag("multi_query", true);
  if (config.multi_query) config.num_kv_heads = 1;
  config.num_positions = reader.size("n_positions", 1024);
  config.norm_eps = reader.epsilon("layer_norm_epsilon", 1e-5);
  config.activation = read_activation(fields, "activation_function", "gelu_pytorch_tanh");
  config.scale_attn_weights = reader.flag("scale_attn_weights", true);
  config.tie_word_embeddings = reader.flag("tie_word_embeddings", true);
}

void require_countable(const ModelConfig& config, const ConfigFields& fields) {
  try {
    (void)parameter_count(config);
    (void)kv_values_per_token(config);
  } catch (const Error& error) {
    const bool bigcode = config.architecture == Architecture::gpt_bigcode || fields.has("n_layer");
    throw fields.bad_value(bigcode ? "n_layer" : "num_hidden_layers", error.message());
  }
}

// ---- what an engine makes of it ----

Index fallback_context(const ConfigFields& fields, const ModelConfig& config) {
  if (config.architecture == Architecture::gpt_bigcode) return config.num_positions;
  if (config.architecture == Architecture::phi && has_msft_names(fields)) {
    const Index positions = fields.integer("n_positions").value_or(2048);
    if (positions <= 0) throw fields.bad_value("n_positions", "must be > 0");
    return positions;
  }
  for (const char* field : {"max_position_embeddings", "max_sequence_length"}) {
    const auto value = fields.integer(field);
    if (value && *value < 0) throw fields.bad_value(field, "must be > 0");
    if (value && *value > 0) return *value;
  }
  throw fields.missing("context_window_size", "it, max_position_embeddings or max_sequence_length must be given");
}

void read_engine_fields(const ConfigFields& fields, ModelConfig& config) {
  const auto not_negative = [&](const char* field) {
    const Index value = fields.integer(field).value_or(0);
    if (value < 0) throw fields.bad_value(field, "must be >= 0");
    return value;
  };
  const Index window = not_negative("context_window_size");
  config.context_window_size = window != 0 ? window : fallback_context(fields, config);

  constexpr Index kLargestChunk = 8192;
  const Index chunk = not_negative("prefill_chunk_size");
  const bool msft = config.architecture == Architecture::phi && has_msft_names(fields);
  const Index whole = msft ? config.context_window_size : std::min(config.context_window_size, kLargestChunk);
  config.prefill_chunk_size = chunk == 0 || chunk > config.context_window_size ? whole : chunk;

  config.max_batch_size = fields.integer("max_batch_size").value_or(1);
  if (config.max_batch_size < 1) throw fields.bad_value("max_batch_size", "must be >= 1");
  config.disaggregation = fields.boolean("disaggregation").value_or(false);
  config.tensor_parallel_shards = fields.integer("tensor_parallel_shards").value_or(1);
  config.pipeline_parallel_stages = fields.integer("pipeline_parallel_stages").value_or(1);
  check_parallel(config, fields);
}

}  // namespace

ModelConfig read_config(const nlohmann::json& object, const std::string& where) {
  if (!object.is_object()) throw request_error("config.type", fmt::format("{}: must be a JSON object", where));
  const ConfigFields fields(object, where);
  ModelConfig config;
  config.architecture = read_architecture(object, fields);
  switch (config.architecture) {
    case Architecture::llama: read_llama(fields, config); break;
    case Architecture::orion: read_orion(fields, config); break;
    case Architecture::olmo: read_olmo(fields, config); break;
    case Architecture::phi: read_phi(fields, config); break;
    case Architecture::gpt_bigcode: read_gpt_bigcode(fields, config); break;
  }
  require_countable(config, fields);
  read_engine_fields(fields, config);
  for (const char* field : {"dtype", "torch_dtype"}) {  // only informs listings: anything but a known name is no error
    const auto it = object.find(field);
    if (it != object.end() && it->is_string() && parse_dtype(it->get<std::string>()))
      config.dtype = it->get<std::string>();
  }
  return config;
}

nlohmann::json parse_config_json(std::string_view text, const std::string& where) {
  return parse_json(text, where, "config.syntax", "config.type");
}

ModelConfig parse_config(std::string_view text, const std::string& where) {
  return read_config(parse_config_json(text, where), where);
}

}  // namespace mlbench
