// A model with its weights rounded to a storage type: what a backend that stores them so really computes with.
#pragma once

#include "core/workers.h"
#include "models/weights.h"

namespace mlbench {

// Whether every value of `from` is exact in `to`.
[[nodiscard]] bool is_exact(DType from, DType to);

// Tensors that are exact in `dtype` are shared with `model` in the type they have; the others are rounded copies, to
// nearest with ties to even.
[[nodiscard]] Model rounded_to(const Model& model, DType dtype, Workers& workers);

}  // namespace mlbench
