#include "tests/harness/float_operators.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "core/tensor_view.h"

namespace mlbench::harness::test {
namespace {

using ref::Tensor;

float one_by_one(std::span<const float> terms) {
  float total = 0.0F;
  for (const float term : terms) total += term;
  return total;
}

float in_halves(std::span<const float> terms) {
  if (terms.size() == 1) return terms[0];
  const std::size_t half = terms.size() / 2;
  return in_halves(terms.first(half)) + in_halves(terms.subspan(half));
}

float in_lanes(std::span<const float> terms) {
  float lanes[16] = {};
  for (std::size_t i = 0; i < terms.size(); ++i) lanes[i % 16] += terms[i];
  return one_by_one(lanes);
}

using Random = std::mt19937_64;
using Fill = std::function<double(Random& random, std::size_t i, double normal)>;

double uniform(Random& random, double low, double high) {
  return std::uniform_real_distribution<double>(low, high)(random);
}

}  // namespace

std::string_view name(Order order) {
  switch (order) {
    case Order::forward: return "forward";
    case Order::backward: return "backward";
    case Order::pairwise: return "pairwise";
    case Order::lanes: return "lanes";
    case Order::fused: return "fused";
  }
  return "?";
}

float sum(Order order, std::span<const float> terms) {
  switch (order) {
    case Order::forward:
    case Order::fused: return one_by_one(terms);
    case Order::backward: {
      const Floats reversed(terms.rbegin(), terms.rend());
      return one_by_one(reversed);
    }
    case Order::pairwise: return in_halves(terms);
    case Order::lanes: return in_lanes(terms);
  }
  return 0.0F;
}

float dot(Order order, std::span<const float> a, std::span<const float> b) {
  if (order == Order::fused) {
    float total = 0.0F;
    for (std::size_t i = 0; i < a.size(); ++i) total = std::fma(a[i], b[i], total);
    return total;
  }
  Floats products(a.size());
  std::ranges::transform(a, b, products.begin(), std::multiplies<>());
  return sum(order, products);
}

Tensor narrowed(DType type, const Tensor& values) { return HostTensor(type, values).widened(); }

double narrowed(DType type, double value) { return narrowed(type, Tensor({1}, {value})).values()[0]; }

double cut(double value) {
  const auto nearest = static_cast<float>(value);
  return std::fabs(nearest) > std::fabs(value) ? std::nextafterf(nearest, 0.0F) : nearest;
}

Floats floats(std::span<const double> values) {
  Floats out(values.size());
  std::ranges::transform(values, out.begin(), [](double value) { return static_cast<float>(value); });
  return out;
}

Tensor nasty_rows(Index width, DType type, std::uint64_t seed) {
  const double tiny = type == DType::f16 ? 1e-6 : 1e-30;
  double last = 0.0;
  const Fill fills[] = {
      [](Random&, std::size_t, double normal) { return normal; },
      [](Random&, std::size_t, double normal) { return 30.0 * normal; },
      [](Random&, std::size_t, double normal) { return 1000.0 + normal; },
      [](Random&, std::size_t, double normal) { return -1000.0 + 0.01 * normal; },
      [](Random&, std::size_t i, double normal) { return i == 5 ? 3000.0 : normal; },
      [](Random&, std::size_t, double normal) { return std::fabs(normal); },
      [](Random&, std::size_t, double) { return 0.1; },
      [](Random& random, std::size_t, double normal) { return normal * std::pow(10.0, uniform(random, -6.0, 3.0)); },
      [=](Random&, std::size_t, double normal) { return tiny * normal; },
      [=](Random&, std::size_t i, double normal) { return i == 0 ? 1.0 : tiny * normal; },
      [&](Random&, std::size_t i, double normal) { return last = i % 2 == 0 ? 100.0 * normal : -last * 1.001; },
      [](Random&, std::size_t i, double) { return i == 0 ? 100.0 : 0.0; },
      [](Random&, std::size_t, double) { return 0.0; },
  };
  Random random(seed);
  std::normal_distribution<double> normal;
  Tensor out({static_cast<Index>(std::size(fills)), width});
  for (Index r = 0; r < out.rows(); ++r) {
    const auto row = out.row(r);
    for (std::size_t i = 0; i < row.size(); ++i) {
      row[i] = fills[static_cast<std::size_t>(r)](random, i, normal(random));
    }
  }
  return narrowed(type, out);
}

Tensor normal_values(const Shape& shape, DType type, std::uint64_t seed, double scale) {
  Random random(seed);
  std::normal_distribution<double> normal;
  Tensor out(shape);
  for (double& value : out.values()) value = scale * normal(random);
  return narrowed(type, out);
}

Tensor moved(const Tensor& values, const Tensor& errors, std::uint64_t seed) {
  Random random(seed);
  Tensor out = values;
  for (std::size_t i = 0; i < out.values().size(); ++i) {
    out.values()[i] += errors.values()[i] * (random() % 2 == 0 ? 1.0 : -1.0);
  }
  return out;
}

void Within::add(const Tensor& exact, const Tensor& got, const Tensor& bound) {
  for (std::size_t i = 0; i < exact.values().size(); ++i) {
    const double error = std::fabs(exact.values()[i] - got.values()[i]), most = bound.values()[i];
    if (!(error <= most)) ++beyond_;
    if (most == 0.0 && error == 0.0) continue;
    ratios_.push_back(std::isnan(error) || most == 0.0 ? std::numeric_limits<double>::infinity() : error / most);
  }
}

double Within::worst() const { return ratios_.empty() ? 0.0 : *std::ranges::max_element(ratios_); }

double Within::median() const {
  if (ratios_.empty()) return 0.0;
  std::vector<double> sorted = ratios_;
  const auto middle = sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2);
  std::ranges::nth_element(sorted, middle);
  return *middle;
}

}  // namespace mlbench::harness::test
