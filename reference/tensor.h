// The reference computes in float64 and nothing else.
#pragma once

#include "core/tensor.h"

namespace mlbench::ref {

using Tensor = mlbench::Tensor<double>;

}  // namespace mlbench::ref
