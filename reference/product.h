// The matrix product of the reference: float64, and the bits of a row of the result depend on that row alone.
#pragma once

#include <span>

#include "core/workers.h"
#include "models/weights.h"
#include "reference/tensor.h"

namespace mlbench::ref {

// y = x W^T + b: x [n, in], W [out, in] in its storage type, b [out] or empty, result [n, out].
//
// OpenBLAS's dgemm gives a row other bits when the number of rows or threads changes: its kernels treat the rows and
// columns that do not fill a tile differently. They do not when every call runs on one thread, has a multiple of
// kRowTile rows and kPanel columns. So W is taken in panels of kPanel rows, the last one padded with zeros, each
// widened to float64 by the thread that multiplies it, and the rows of x are padded with zeros. No more than kPanel
// rows of W per thread exist in float64 at a time, so a model needs little more memory than its weights do in their own
// type.
[[nodiscard]] Tensor product(Workers& workers, const Tensor& x, const WeightView& weight, std::span<const double> bias);

// |x| |W|^T + |b|, the same sums over absolute values: what rounding errors of the product are measured by. Values in
// another order of summation than product()'s, which no error bound cares about.
[[nodiscard]] Tensor product_magnitude(Workers& workers, const Tensor& x, const WeightView& weight,
                                       std::span<const double> bias);

inline constexpr Index kRowTile = 8;
inline constexpr Index kPanel = 256;

}  // namespace mlbench::ref
