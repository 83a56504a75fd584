#include "models/config.h"

namespace mlbench {

std::string_view name(Architecture architecture) {
  switch (architecture) {
    case Architecture::llama: return "llama";
    case Architecture::orion: return "orion";
    case Architecture::olmo: return "olmo";
    case Architecture::phi: return "phi";
    case Architecture::gpt_bigcode: return "gpt_bigcode";
  }
  return "?";
}

std::string_view hf_class_name(Architecture architecture) {
  switch (architecture) {
    case Architecture::llama: return "LlamaForCausalLM";
    case Architecture::orion: return "OrionForCausalLM";
    case Architecture::olmo: return "OlmoForCausalLM";
    case Architecture::phi: return "PhiForCausalLM";
    case Architecture::gpt_bigcode: return "GPTBigCodeForCausalLM";
  }
  return "?";
}

std::optional<Architecture> parse_architecture(std::string_view text) {
  for (const Architecture architecture : kArchitectures) {
    if (text == name(architecture)) return architecture;
  }
  return std::nullopt;
}

std::string_view name(Activation activation) {
  switch (activation) {
    case Activation::silu: return "silu";
    case Activation::gelu_erf: return "gelu (erf)";
    case Activation::gelu_tanh: return "gelu (tanh)";
    case Activation::gelu_fast: return "gelu_fast (tanh)";
    case Activation::relu: return "relu";
  }
  return "?";
}

std::string_view name(RopeKind kind) {
  switch (kind) {
    case RopeKind::none: return "none";
    case RopeKind::plain: return "default";
    case RopeKind::linear: return "linear";
    case RopeKind::dynamic: return "dynamic";
    case RopeKind::llama3: return "llama3";
    case RopeKind::yarn: return "yarn";
    case RopeKind::longrope: return "longrope";
  }
  return "?";
}

}  // namespace mlbench
