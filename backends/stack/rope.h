// Frequencies of rotary position embedding (arXiv:2104.09864), of kinds default, linear and llama3: those that depend
// on nothing but the configuration.
#pragma once

#include <vector>

#include "backends/backend.h"
#include "models/config.h"

namespace mlbench::stack {

// Whether the kind is one of these.
[[nodiscard]] backends::Support rotates(std::string_view backend, const RopeConfig& config);
// w_i, i in [0, D/2).
[[nodiscard]] std::vector<double> rope_frequencies(const RopeConfig& config);

}  // namespace mlbench::stack
