#include "models/stored_names.h"

#include <charconv>

#include <fmt/format.h>

namespace mlbench {
namespace {

bool ends_with(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

// "model.layers.7.mlp.fc1.weight" in its parts; a name outside the layers has layer -1 and is all `rest`.
struct Parts {
  Index layer = -1;
  std::string module;  // "mlp.fc1"
  std::string kind;    // "weight" or "bias"
};

Parts split(std::string_view name) {
  Parts parts;
  const auto dot = name.rfind('.');
  parts.kind = name.substr(dot + 1);
  name = name.substr(0, dot);
  constexpr std::string_view kLayers = "model.layers.";
  if (name.substr(0, kLayers.size()) == kLayers) {
    name.remove_prefix(kLayers.size());
    const auto end = name.find('.');
    std::from_chars(name.data(), name.data() + end, parts.layer);
    name.remove_prefix(end + 1);
  }
  parts.module = name;
  return parts;
}

struct Renamed {
  std::string_view module;  // Hugging Face
  std::string_view stored;  // elsewhere
};

// Modules of a layer, and outside the layers, as phi-msft names them.
constexpr Renamed kMsftLayer[] = {
    {"input_layernorm", "ln"}, {"self_attn.dense", "mixer.out_proj"}, {"mlp.fc1", "mlp.fc1"}, {"mlp.fc2", "mlp.fc2"}};
constexpr Renamed kMsftGlobal[] = {{"model.embed_tokens", "transformer.embd.wte"},
                                   {"model.embed_tokens", "transformer.embd"},
                                   {"model.final_layernorm", "lm_head.ln"},
                                   {"lm_head", "lm_head.linear"}};

// Where the projection stands among the rows of a fused q, k, v matrix.
std::optional<Index> first_row_in_qkv(const ModelConfig& c, std::string_view module) {
  if (module == "self_attn.q_proj") return 0;
  if (module == "self_attn.k_proj") return c.q_width();
  if (module == "self_attn.v_proj") return c.q_width() + c.kv_width();
  return std::nullopt;
}

void add_phi_places(const ModelConfig& c, const Parts& parts, Index rows, std::vector<StoredRows>& places) {
  const Index qkv_rows = c.q_width() + 2 * c.kv_width();
  const auto whole = [&](const std::string& name) {
    places.push_back({fmt::format("{}.{}", name, parts.kind), 0, rows});
  };
  if (parts.layer < 0) {
    for (const Renamed& entry : kMsftGlobal) {
      if (parts.module == entry.module) whole(std::string(entry.stored));
    }
    const Index last = c.num_layers + 1;  // mixformer-sequential numbers embedding, layers and head in one list
    if (parts.module == "model.embed_tokens") whole("layers.0.wte");
    if (parts.module == "model.final_layernorm") whole(fmt::format("layers.{}.ln", last));
    if (parts.module == "lm_head") whole(fmt::format("layers.{}.linear", last));
    return;
  }
  const std::string stems[] = {fmt::format("transformer.h.{}", parts.layer), fmt::format("layers.{}", parts.layer + 1)};
  for (const std::string& stem : stems) {
    if (const auto first = first_row_in_qkv(c, parts.module)) {
      places.push_back({fmt::format("{}.mixer.Wqkv.{}", stem, parts.kind), *first, qkv_rows});
    }
    for (const Renamed& entry : kMsftLayer) {
      if (parts.module == entry.module) whole(fmt::format("{}.{}", stem, entry.stored));
    }
  }
}

void add_fused_places(const ModelConfig& c, const Parts& parts, std::vector<StoredRows>& places) {
  const auto fused = [&](const char* module, Index first, Index total) {
    places.push_back({fmt::format("model.layers.{}.{}.{}", parts.layer, module, parts.kind), first, total});
  };
  if (const auto first = first_row_in_qkv(c, parts.module)) {
    fused("self_attn.qkv_proj", *first, c.q_width() + 2 * c.kv_width());
  }
  if (parts.module == "mlp.gate_proj") fused("mlp.gate_up_proj", 0, 2 * c.intermediate_size);
  if (parts.module == "mlp.up_proj") fused("mlp.gate_up_proj", c.intermediate_size, 2 * c.intermediate_size);
}

}  // namespace

std::vector<StoredRows> stored_places(const ModelConfig& config, const TensorSpec& spec) {
  std::vector<StoredRows> places{{spec.name, 0, spec.shape[0]}};
  if (config.architecture == Architecture::gpt_bigcode) return places;
  const Parts parts = split(spec.name);
  if (config.architecture == Architecture::phi) {
    add_phi_places(config, parts, spec.shape[0], places);
  } else if (parts.layer >= 0) {
    add_fused_places(config, parts, places);
  }
  return places;
}

bool ignorable(std::string_view name) {
  return ends_with(name, ".rotary_emb.inv_freq") || ends_with(name, ".attn.bias") ||
         ends_with(name, ".attn.masked_bias") || name == "transformer.bias";
}

}  // namespace mlbench
