// Which heads the attention kernels are made for.
#pragma once

#include <string>

#include "backends/backend.h"

namespace mlbench::gpu {

inline constexpr int kMostWidth = 256, kMostGroup = 64;

// (No {fmt}: kernels include this, and nvcc does not go with it.)
[[nodiscard]] inline backends::Support attention_supports(Index heads, Index kv_heads, Index width) {
  const auto why = [](Index number, const char* text) {
    return backends::Support::no(std::to_string(number).append(text));
  };
  const Index group = kv_heads < 1 ? 0 : heads / kv_heads;
  if (width < 1 || width > kMostWidth) return why(width, ": not a head_dim that attention is built for, 1 to 256");
  if (group < 1 || heads % kv_heads != 0) return why(heads, " query heads: not a multiple of the key-value heads");
  if (group > kMostGroup) return why(group, " query heads for a key-value head: attention is built for at most 64");
  return {};
}

}  // namespace mlbench::gpu
