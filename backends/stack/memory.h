// Bytes that a session needs, for estimates: sizes come from users and may not fit into an integer.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "core/dtype.h"
#include "models/config.h"
#include "models/kv_cache.h"

namespace mlbench::stack {

// At most 2^62.
[[nodiscard]] std::uint64_t product_of(std::initializer_list<double> factors);
[[nodiscard]] std::uint64_t cache_bytes(const ModelConfig& config, DType dtype, const KvLimits& limits);

}  // namespace mlbench::stack
