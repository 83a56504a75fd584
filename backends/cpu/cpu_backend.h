// The CPU backend: products with oneDNN, everything else in plain float32 loops. Weights and cache are stored as
// float32, bfloat16 or float16.
#pragma once

#include <memory>

#include "backends/backend.h"

namespace mlbench::cpu {

[[nodiscard]] std::unique_ptr<backends::Backend> make_cpu_backend();

}  // namespace mlbench::cpu
