// Products of few rows, as decoding needs them: one pass over weights that stay as they stand in a checkpoint, rows
// [out, in] of any storage type, whose values are widened to float32 in registers. For every instruction set that the
// compiler knows, the best one chosen where the program runs.
//
// Each result is one chain of fused multiply-adds in each lane of a vector, or two of up to 4 rows, their sums added at
// the end: the same bits whichever part of the outputs a call computes, for all numbers of rows up to 4, and for all
// above.
#pragma once

#include <cstddef>

#include "core/dtype.h"
#include "core/tensor.h"

namespace mlbench::cpu {

// Beyond so many rows the multiplications cost more than reading the weights, and oneDNN is quicker
// (docs/performance.md).
inline constexpr Index kFewRows = 8;

// Values that `pack_rows` writes.
[[nodiscard]] Index packed_values(Index rows, Index in);
// x [rows, in] as multiply_rows reads it: vector by vector the values of all rows side by side, zeros at the end.
void pack_rows(const float* x, Index rows, Index in, float* packed);

struct RowProduct {
  const float* x = nullptr;  // packed
  Index rows = 0;            // 1 to kFewRows
  Index in = 0;
  DType type = DType::f32;            // f32, bf16 or f16
  const std::byte* weight = nullptr;  // [out, in], aligned to its type
  const float* bias = nullptr;        // [out], or none
  float* y = nullptr;                 // y[r * stride + n]
  Index stride = 0;
};

// Outputs from `first` to before `last` of every row.
void multiply_rows(const RowProduct& product, Index first, Index last);

}  // namespace mlbench::cpu
