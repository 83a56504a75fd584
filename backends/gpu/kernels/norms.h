// RMSNorm (arXiv:1910.07467) and LayerNorm (arXiv:1607.06450) of rows, with the residual additions before them.
//
//   x += first, then x += second;   y = (x - mean) / sqrt(mean((x - mean)^2) + eps) * weight + bias
//
// mean = 0 for RMSNorm. x, first, second, y float32 [R, width], weight and bias [width], y_stored [R, width] rounded to
// nearest even.
//
// A block owns a row, at most 512 threads; a thread goes over packs of 4 values a block apart, always the same ones, so
// that it reads back only what it has written itself. A LayerNorm takes two passes over x for its sums, so that nothing
// cancels, an RMSNorm one; the row is in the caches then. Sums are float32: in a thread one after the other, over a
// warp as a tree, then warp after warp; where an array begins between two packs a thread has single values, and sums
// have another order. Every value is divided by the root, as reference/ops.h's rms_norm() and layer_norm() do. Moves 4
// R width bytes for each of x, first, second, x again where it was changed, and y; less for y_stored.
#pragma once

#include "backends/gpu/kernels/row_packs.h"

namespace mlbench::gpu::MLBENCH_GPU_TARGET {

inline constexpr int kNormThreads = 512;

// x += first, then += second where there is one: each addition is rounded.
template <int n>
GPU_DEVICE void add_to_row(float* x, const float* first, const float* second, Index width) {
  const Columns columns = all_columns<n>(width);
  for (int i = columns.first; i < columns.end; i += columns.step) {
    Pack<float, n> sum = sum_of<n>(load_pack<float, n>(x + i), load_pack<float, n>(first + i));
    if (second != nullptr) sum = sum_of<n>(sum, load_pack<float, n>(second + i));
    store_pack<float, n>(x + i, sum);
  }
}

template <int W, int n>
GPU_DEVICE float mean_of_row(const float* x, Index width, float* of_warps) {
  float sum = 0.0F;
  const Columns columns = all_columns<n>(width);
  for (int i = columns.first; i < columns.end; i += columns.step) {
    const Pack<float, n> values = load_pack<float, n>(x + i);
    for (int k = 0; k < n; ++k) sum += values[k];
  }
  return block_sum<W>(sum, of_warps) / static_cast<float>(width);
}

// The mean of (x - about)^2.
template <int W, int n>
GPU_DEVICE float spread_of_row(const float* x, float about, Index width, float* of_warps) {
  float sum = 0.0F;
  const Columns columns = all_columns<n>(width);
  for (int i = columns.first; i < columns.end; i += columns.step) {
    const Pack<float, n> values = load_pack<float, n>(x + i);
    for (int k = 0; k < n; ++k) sum += (values[k] - about) * (values[k] - about);
  }
  return block_sum<W>(sum, of_warps) / static_cast<float>(width);
}

// n values of a row: (x - mean) / root * weight + bias, weight and bias at their column or null.
template <int n>
GPU_DEVICE Pack<float, n> normalized(Pack<float, n> values, float mean, float root, const float* weight,
                                     const float* bias) {
  for (int k = 0; k < n; ++k) values[k] = (values[k] - mean) / root;
  if (weight != nullptr) {
    const Pack<float, n> factors = load_pack<float, n>(weight);
    for (int k = 0; k < n; ++k) values[k] *= factors[k];
  }
  return bias == nullptr ? values : sum_of<n>(values, load_pack<float, n>(bias));
}

template <class T>
GPU_DEVICE T* at(T* row, Index i) {
  return row == nullptr ? nullptr : row + i;
}

template <int W, int n, class T>
GPU_DEVICE void normalize_row(const NormCall& call, float* of_warps) {
  const Index begin = block_place().x * call.width;
  float* x = call.x + begin;
  if (call.first != nullptr) add_to_row<n>(x, call.first + begin, at(call.second, begin), call.width);
  if (!call.normalizes) return;

  const float mean = call.subtracts_mean ? mean_of_row<W, n>(x, call.width, of_warps) : 0.0F;
  const float root = gpu_sqrt(spread_of_row<W, n>(x, mean, call.width, of_warps) + call.eps);
  float* y = at(call.y, begin);
  T* y_stored = at(static_cast<T*>(call.y_stored), begin);
  const Columns columns = all_columns<n>(call.width);
  for (int i = columns.first; i < columns.end; i += columns.step) {
    const Pack<float, n> values =
        normalized<n>(load_pack<float, n>(x + i), mean, root, at(call.weight, i), at(call.bias, i));
    if (y != nullptr) store_pack<float, n>(y + i, values);
    if (y_stored != nullptr) store_floats<n>(y_stored + i, values);
  }
}

template <int W, DType type>
GPU_KERNEL void normalize_rows(NormCall call) {
  using T = typename Stored<type>::type;
  GPU_SHARED(float, of_warps, [kNormThreads / 32]);
  if (in_packs(call.x, call.width) && in_packs(call.first, call.width) && in_packs(call.second, call.width) &&
      in_packs(call.weight, call.width) && in_packs(call.bias, call.width) && in_packs(call.y, call.width) &&
      in_packs(static_cast<T*>(call.y_stored), call.width)) {
    normalize_row<W, kPack, T>(call, of_warps);
  } else {
    normalize_row<W, 1, T>(call, of_warps);
  }
}

template <int W>
void launch_normalize(Stream& stream, const NormCall& call) {
  if (call.rows == 0 || call.width == 0) return;
  const Place grid{static_cast<int>(call.rows), 1, 1};
  const Place block{threads_for<W>(call.width, kNormThreads), 1, 1};
  with_stored(call.stored, [&](auto type) { launch(normalize_rows<W, type()>, grid, block, 0, stream, call); });
}

}  // namespace mlbench::gpu::MLBENCH_GPU_TARGET
