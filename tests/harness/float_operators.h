// Operators in float32 with their sums in an order of one's choice, and inputs that are hard on them: what honest
// backends compute, for tests of the error bounds.
#pragma once

#include <random>
#include <span>
#include <string_view>
#include <vector>

#include "core/dtype.h"
#include "reference/tensor.h"

namespace mlbench::harness::test {

using Floats = std::vector<float>;

// One after the other from either end, in halves, in sixteen interleaved partial sums, and with products that are not
// rounded before they are added.
enum class Order { forward, backward, pairwise, lanes, fused };
inline constexpr Order kOrders[] = {Order::forward, Order::backward, Order::pairwise, Order::lanes, Order::fused};
[[nodiscard]] std::string_view name(Order order);

[[nodiscard]] float sum(Order order, std::span<const float> terms);
[[nodiscard]] float dot(Order order, std::span<const float> a, std::span<const float> b);

// To float32, towards 0.
[[nodiscard]] double cut(double value);
[[nodiscard]] ref::Tensor narrowed(DType type, const ref::Tensor& values);
[[nodiscard]] double narrowed(DType type, double value);
[[nodiscard]] Floats floats(std::span<const double> values);

// Rows that are exact in `type`: normal ones, and those with a large mean, one large channel, one sign, one value,
// magnitudes far apart, tiny values, sums that cancel.
[[nodiscard]] ref::Tensor nasty_rows(Index width, DType type, std::uint64_t seed);

[[nodiscard]] ref::Tensor normal_values(const Shape& shape, DType type, std::uint64_t seed, double scale = 1.0);

// Moves every value by its error, up or down at random.
[[nodiscard]] ref::Tensor moved(const ref::Tensor& values, const ref::Tensor& errors, std::uint64_t seed);

// Where results lie within their bounds.
class Within {
 public:
  void add(const ref::Tensor& exact, const ref::Tensor& got, const ref::Tensor& bound);

  [[nodiscard]] Index beyond() const { return beyond_; }  // elements whose error is not within the bound
  [[nodiscard]] double worst() const;                     // the largest error / bound
  [[nodiscard]] double median() const;                    // of error / bound, where the bound is not 0
  [[nodiscard]] std::size_t count() const { return ratios_.size(); }

 private:
  Index beyond_ = 0;
  std::vector<double> ratios_;
};

}  // namespace mlbench::harness::test
