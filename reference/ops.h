// The operators that the five architectures are written with: float64, one formula each, nothing fused. Every row of a
// result depends on the same row of the input alone, bit for bit. Sums run in a fixed order.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "core/workers.h"
#include "models/config.h"
#include "models/weights.h"
#include "reference/tensor.h"

namespace mlbench::ref {

using Vector = std::vector<double>;

struct Linear {
  WeightView weight;  // [out, in]
  Vector bias;        // [out], empty where the layer has none
};

struct Norm {
  Vector weight;  // [width], empty: all 1
  Vector bias;    // [width], empty: all 0
};

// Binds the weights of a module by name: "NAME.weight" and, where `with_bias`, "NAME.bias".
[[nodiscard]] Linear bind_linear(const Weights& weights, const std::string& module, bool with_bias);
[[nodiscard]] Norm bind_norm(const Weights& weights, const std::string& module, bool with_bias);

class Ops {
 public:
  explicit Ops(Workers& workers) : workers_(&workers) {}

  [[nodiscard]] Workers& workers() const { return *workers_; }

  // x W^T + b: [n, in] -> [n, out].
  [[nodiscard]] Tensor linear(const Tensor& x, const Linear& layer) const;

  // g * x / sqrt(mean(x^2) + eps) by row (arXiv:1910.07467, with epsilon inside the root).
  [[nodiscard]] Tensor rms_norm(const Tensor& x, const Norm& norm, double eps) const;

  // g * (x - mean) / sqrt(var + eps) + b by row, var the population variance about the mean (arXiv:1607.06450).
  [[nodiscard]] Tensor layer_norm(const Tensor& x, const Norm& norm, double eps) const;

  [[nodiscard]] Tensor activate(const Tensor& x, Activation activation) const;
  [[nodiscard]] Tensor add(const Tensor& a, const Tensor& b) const;
  [[nodiscard]] Tensor multiply(const Tensor& a, const Tensor& b) const;  // elementwise
  [[nodiscard]] Tensor clamp(const Tensor& x, double limit) const;        // to [-limit, limit]; a NaN stays one

 private:
  template <class Row>
  [[nodiscard]] Tensor by_row(const Tensor& x, const Row& row) const;

  Workers* workers_;
};

// One value; the formulas of config.h.
[[nodiscard]] double activation(Activation kind, double x);

// The sum of a[i] b[i] in eight interleaved partial sums, added up in order: fixed for a length, and quick.
[[nodiscard]] double dot(std::span<const double> a, std::span<const double> b);

// Softmax in place, the maximum subtracted first.
void softmax(std::span<double> scores);

}  // namespace mlbench::ref
