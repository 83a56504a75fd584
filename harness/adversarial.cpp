#include "harness/adversarial.h"

#include <cmath>
#include <numeric>
#include <span>
#include <vector>

#include "models/tensor_inventory.h"

namespace mlbench::harness {
namespace {

using ref::Tensor;
using Row = std::span<double>;

double mean_square(Row row) {
  return std::inner_product(row.begin(), row.end(), row.begin(), 0.0) / static_cast<double>(row.size());
}

void scale(Row row, double factor) {
  for (double& value : row) value *= factor;
}

double dot(const std::vector<double>& w, Row x) { return std::inner_product(w.begin(), w.end(), x.begin(), 0.0); }

double magnitude(const std::vector<double>& w, Row x) {
  double sum = 0.0;
  for (std::size_t i = 0; i < w.size(); ++i) sum += std::fabs(w[i] * x[i]);
  return sum;
}

// Moves x along `direction` until direction . x is `target`.
void move_to(Row x, const std::vector<double>& direction, double target) {
  const double length = std::inner_product(direction.begin(), direction.end(), direction.begin(), 0.0);
  if (length == 0.0) return;
  const double step = (target - dot(direction, x)) / length;
  for (std::size_t i = 0; i < x.size(); ++i) x[i] += step * direction[i];
}

}  // namespace

Tensor adversarial_rows(const Tensor& x, const ModelConfig& config) {
  constexpr double kMassive = 300.0;  // times the row's size: within f16 for rows of order one
  constexpr double kShift = 8.0;
  Tensor out = x;
  for (Index r = 0; r < out.rows(); ++r) {
    const Row row = out.row(r);
    const double size = std::sqrt(mean_square(row));
    switch (r % 4) {
      case 1:
        if (size > 0.0) scale(row, std::sqrt(config.norm_eps) / size);
        break;
      case 2: row[static_cast<std::size_t>(7 * r) % row.size()] = kMassive * std::min(size, 1.0); break;
      case 3:
        for (double& value : row) value += kShift * std::min(size, 1.0);
        break;
      default: break;
    }
  }
  return out;
}

Tensor adversarial_hidden(const Tensor& hidden, const Model& model) {
  const WeightView& w = model.weights->get(kLmHeadName);
  Tensor out = hidden;
  std::vector<double> first(static_cast<std::size_t>(w.cols)), second = first;
  for (Index r = 0; r < out.rows(); ++r) {
    const Row row = out.row(r);
    w.widen_row(r * 3 % w.rows, first);
    if (r % 2 == 0) {
      move_to(row, first, magnitude(first, row) / kCondition);
      continue;
    }
    w.widen_row((r * 3 + 1) % w.rows, second);
    const double size = std::fabs(dot(first, row));
    for (std::size_t i = 0; i < first.size(); ++i) first[i] -= second[i];
    move_to(row, first, size / kCondition);
  }
  return out;
}

}  // namespace mlbench::harness
