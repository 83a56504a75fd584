#include "reference/product.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <memory>

#include <cblas.h>

namespace mlbench::ref {
namespace {

// Memory that is not cleared first: a widened panel is large and is written whole.
std::unique_ptr<double[]> raw(Index count) {
  return std::unique_ptr<double[]>(new double[static_cast<std::size_t>(count)]);
}

void use_one_blas_thread() {
  static const bool done = [] {
    openblas_set_num_threads(1);
    return true;
  }();
  (void)done;
}

Tensor padded_rows(const Tensor& x, Index rows) {
  Tensor out({rows, x.cols()});
  std::copy(x.values().begin(), x.values().end(), out.values().begin());
  return out;
}

// The product in panels; `widened` sees each panel of W before it is multiplied.
template <class Widened>
Tensor multiply(Workers& workers, const Tensor& x, const WeightView& weight, std::span<const double> bias,
                const Widened& widened) {
  assert(x.cols() == weight.cols && (bias.empty() || static_cast<Index>(bias.size()) == weight.rows));
  use_one_blas_thread();
  const Index n = x.rows();
  const Index in = weight.cols;
  const Index out = weight.rows;
  Tensor y({n, out});
  if (n == 0) return y;

  const Index padded = (n + kRowTile - 1) / kRowTile * kRowTile;
  Tensor padded_x;
  if (padded != n) padded_x = padded_rows(x, padded);
  const double* rows = padded != n ? padded_x.data() : x.data();

  workers.each((out + kPanel - 1) / kPanel, [&](Index panel) {
    const Index first = panel * kPanel;
    const Index width = std::min(kPanel, out - first);
    const auto wide = raw(kPanel * in);
    const WeightView stored = weight.slice(first, width);
    widen(stored.dtype, stored.data, {wide.get(), static_cast<std::size_t>(width * in)});
    std::fill(wide.get() + width * in, wide.get() + kPanel * in, 0.0);
    widened(std::span(wide.get(), static_cast<std::size_t>(width * in)));
    const auto result = raw(padded * kPanel);
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, static_cast<int>(padded), static_cast<int>(kPanel),
                static_cast<int>(in), 1.0, rows, static_cast<int>(in), wide.get(), static_cast<int>(in), 0.0,
                result.get(), static_cast<int>(kPanel));
    for (Index r = 0; r < n; ++r) {
      const double* from = result.get() + r * kPanel;
      double* to = y.data() + r * out + first;
      for (Index c = 0; c < width; ++c) {
        to[c] = bias.empty() ? from[c] : from[c] + bias[static_cast<std::size_t>(first + c)];
      }
    }
  });
  return y;
}

void to_magnitudes(std::span<double> values) {
  for (double& value : values) value = std::fabs(value);
}

}  // namespace

Tensor product(Workers& workers, const Tensor& x, const WeightView& weight, std::span<const double> bias) {
  return multiply(workers, x, weight, bias, [](std::span<double>) {});
}

Tensor product_magnitude(Workers& workers, const Tensor& x, const WeightView& weight, std::span<const double> bias) {
  Tensor sizes = x;
  to_magnitudes(sizes.values());
  std::vector<double> bias_sizes(bias.begin(), bias.end());
  to_magnitudes(bias_sizes);
  return multiply(workers, sizes, weight, bias_sizes, to_magnitudes);
}

}  // namespace mlbench::ref
