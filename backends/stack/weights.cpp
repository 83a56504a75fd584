#include "backends/stack/weights.h"

#include <algorithm>
#include <vector>

#include "models/parts.h"

namespace mlbench::stack {

LayerNorm layer_norm_of(const std::string& tensor) {
  const auto named = [&](const char* module) { return tensor.find(module) != std::string::npos; };
  if (named(".q_layernorm.")) return LayerNorm::query;
  if (named(".k_layernorm.")) return LayerNorm::key;
  return named(".post_attention_layernorm.") || named(".ln_2.") ? LayerNorm::mlp : LayerNorm::attention;
}

std::vector<float> bias_of(const WeightView& bias, TensorRole product, DType stored, Index shards) {
  std::vector<float> out(static_cast<std::size_t>(bias.cols));
  rounded_row(bias, 0, stored, out);
  if (shards > 1 && is_summed(product)) {
    for (float& value : out) value /= static_cast<float>(shards);
  }
  return out;
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
