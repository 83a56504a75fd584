// Heads of T rows, wherever they stand: a product's own result or a part of a fused one.
#pragma once

#include "core/tensor.h"

namespace mlbench::cpu {

struct Heads {
  float* data = nullptr;
  Index rows = 0;   // T
  Index count = 0;  // heads of a row
  Index width = 0;  // values of a head
  Index row_stride = 0;
  Index head_stride = 0;

  [[nodiscard]] float* at(Index row, Index head) const { return data + row * row_stride + head * head_stride; }
};

}  // namespace mlbench::cpu
