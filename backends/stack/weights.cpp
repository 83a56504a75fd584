#include "backends/stack/weights.h"

#include <algorithm>
#include <vector>

namespace mlbench::stack {

LayerNorm layer_norm_of(const std::string& tensor) {
  const auto named = [&](const char* module) { return tensor.find(module) != std::string::npos; };
  if (named(".q_layernorm.")) return LayerNorm::query;
  if (named(".k_layernorm.")) return LayerNorm::key;
  return named(".post_attention_layernorm.") || named(".ln_2.") ? LayerNorm::mlp : LayerNorm::attention;
}

void rounded_row(const WeightView& view, Index row, DType stored, std::span<float> out) {
  std::vector<double> wide(out.size());
  view.widen_row(row, wide);
  std::vector<std::byte> rounded(out.size() * size_bytes(stored));
  narrow(stored, wide, rounded.data());
  widen(stored, rounded.data(), wide);
  std::ranges::transform(wide, out.begin(), [](double value) { return static_cast<float>(value); });
}

}  // namespace mlbench::stack
