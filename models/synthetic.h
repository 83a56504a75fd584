// Weights made from a seed: the same bytes on every machine, whatever the order, the number of threads, or the part of
// the model that is asked for. Every value is a function of (seed, tensor name, element index) alone, by the
// counter-based generator Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC'11), and is
// made with integer and correctly rounded float64 operations only.
#pragma once

#include <cstdint>
#include <vector>

#include "core/workers.h"
#include "models/tensor_inventory.h"
#include "models/weights.h"

namespace mlbench {

// How the values of one tensor are spread: (mean + std * z) * row_scale[r] * col_scale[c], z of mean 0 and variance 1,
// nearly normal (the sum of four uniform 16-bit numbers), |z| < 3.47. Empty scales are all 1.
struct Spread {
  double mean = 0.0;
  double std = 1.0;
  std::vector<double> row_scale;
  std::vector<double> col_scale;
};

// The spread of a tensor, chosen so that values in the residual stream stay of order one through any number of layers,
// attention scores have a standard deviation near 1.4 (neither uniform nor one-hot), biases and norm weights matter,
// and, where values are clipped (OLMo), some are. docs/models.md gives the reasons.
[[nodiscard]] Spread synthetic_spread(const ModelConfig& config, const TensorSpec& spec);

// Values [first, first + out.size()) of the row-major tensor, before rounding to a storage type.
void synthetic_values(const TensorSpec& spec, const Spread& spread, std::uint64_t seed, Index first,
                      std::span<double> out);

// A whole model in memory, rounded to `dtype`. Throws memory.exceeded (a request error) when it cannot fit.
[[nodiscard]] Model make_synthetic(const ModelConfig& config, DType dtype, std::uint64_t seed, Workers& workers);

}  // namespace mlbench
