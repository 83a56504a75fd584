// Products on a device against sums in float64.
#include <algorithm>
#include <cmath>
#include <string>
#include <tuple>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/dtype.h"
#include "tests/backends/vendor/device.h"

namespace mlbench::gpu::vendor {
namespace {

struct Product {
  DType stored = DType::f32;
  Index rows = 0, in = 0, out = 0;
  bool bias = false;

  [[nodiscard]] std::string text() const {
    return fmt::format("{}, {} rows, {} to {}{}", name(stored), rows, in, out, bias ? ", bias" : "");
  }
};

// `count` values of the type: multiples of 1/8 up to 2, or values that no sum is exact of.
std::vector<double> values(Index count, DType stored, bool simple, double seed) {
  std::vector<double> out;
  for (Index i = 0; i < count; ++i) {
    const double turn = std::sin(12.9898 * (static_cast<double>(i) + seed));
    out.push_back(simple ? std::round(16.0 * turn) / 8.0 : rounded_to(turn, stored));
  }
  return out;
}

// A product's operands, as the device holds them and in float64.
class Operands {
 public:
  Operands(Runtime& runtime, Stream& stream, const Product& product, bool simple, std::size_t offset = 0)
      : product_(product),
        x_(values(product.rows * product.in, product.stored, simple, 0.25)),
        weight_(values(product.out * product.in, product.stored, simple, 0.5)),
        bias_(values(product.out, DType::f32, simple, 0.75)),
        runtime_(&runtime),
        stream_(&stream),
        x_memory_(uploaded(x_, product.stored, offset)),
        weight_memory_(uploaded(weight_, product.stored, 0)),
        bias_memory_(uploaded(bias_, DType::f32, 0)),
        y_memory_(runtime, 4 * static_cast<std::uint64_t>(product.rows * product.out), "y"),
        x_offset_(offset) {}

  void multiply() const {
    runtime_->multiply(*stream_, {.stored = product_.stored,
                                  .x = static_cast<const std::byte*>(x_memory_.data()) + x_offset_,
                                  .weight = weight_memory_.data(),
                                  .bias = product_.bias ? bias_memory_.floats() : nullptr,
                                  .y = y_memory_.floats(),
                                  .rows = product_.rows,
                                  .in = product_.in,
                                  .out = product_.out});
  }
  void forget_result() const { runtime_->clear(*stream_, y_memory_.data(), y_memory_.bytes()); }

  [[nodiscard]] std::vector<float> result() const {
    std::vector<float> y(static_cast<std::size_t>(product_.rows * product_.out));
    runtime_->copy_out(*stream_, y.data(), y_memory_.data(), y_memory_.bytes());
    stream_->synchronize();
    return y;
  }

  [[nodiscard]] std::vector<float> multiplied() const {
    multiply();
    return result();
  }

  // The sum in float64, and that of its terms' magnitudes.
  [[nodiscard]] std::pair<double, double> expected(Index row, Index o) const {
    double sum = product_.bias ? bias_[at(o)] : 0.0;
    double magnitude = std::abs(sum);
    for (Index i = 0; i < product_.in; ++i) {
      const double term = x_[at(row * product_.in + i)] * weight_[at(o * product_.in + i)];
      sum += term;
      magnitude += std::abs(term);
    }
    return {sum, magnitude};
  }

 private:
  static std::size_t at(Index i) { return static_cast<std::size_t>(i); }

  [[nodiscard]] Memory uploaded(const std::vector<double>& wide, DType stored, std::size_t offset) const {
    std::vector<std::byte> bytes(offset + wide.size() * size_bytes(stored));
    narrow(stored, wide, bytes.data() + offset);
    Memory memory(*runtime_, bytes.size(), "a test");
    runtime_->copy_in(*stream_, memory.data(), bytes.data(), bytes.size());
    stream_->synchronize();
    return memory;
  }

  Product product_;
  std::vector<double> x_, weight_, bias_;
  Runtime* runtime_;
  Stream* stream_;
  Memory x_memory_, weight_memory_, bias_memory_, y_memory_;
  std::size_t x_offset_;
};

// The largest error over its bound. in + 1 terms are added in any order: `in` roundings of partial sums no larger than
// the magnitude, each to nearest, 2^-24 of it, or cut off, 2^-23 (Higham, "Accuracy and stability of numerical
// algorithms", 2nd ed., section 4.2). One more for a product that is rounded before it is added, which those of bf16
// and f16 need not be; two for all that is of second order.
double worst(const Product& product, const Operands& operands, const std::vector<float>& y) {
  const double unit = product.stored == DType::f32 ? 0x1p-24 : 0x1p-23;
  const double roundings = static_cast<double>(product.in) + 3.0;
  double worst = 0.0;
  for (Index r = 0; r < product.rows; ++r) {
    for (Index o = 0; o < product.out; ++o) {
      const auto [sum, magnitude] = operands.expected(r, o);
      const double error = std::abs(static_cast<double>(y[static_cast<std::size_t>(r * product.out + o)]) - sum);
      const double ratio = error / (roundings * unit * magnitude + 0x1p-149);
      worst = std::isnan(ratio) ? INFINITY : std::max(worst, ratio);
    }
  }
  return worst;
}

std::vector<Product> all_products() {
  std::vector<Product> out;
  for (const DType stored : {DType::f32, DType::bf16, DType::f16}) {
    for (const bool bias : {false, true}) {
      for (const auto& [in, out_width] : {std::pair<Index, Index>{1, 1}, {7, 5}, {64, 64}, {80, 63}, {513, 130}}) {
        for (const Index rows : {1, 2, 17, 70}) out.push_back({stored, rows, in, out_width, bias});
      }
      out.push_back({stored, 3, 4096, 256, bias});  // deep and narrow: where sums are split
    }
  }
  return out;
}

class DeviceProducts : public OnADevice {};

// Multiples of 1/64 up to 4096 * 4, well within 24 bits: exact in every order.
TEST_F(DeviceProducts, AreExactWhereEverySumIs) {
  for (const Product& product : all_products()) {
    const Operands operands(runtime(), stream(), product, true);
    const std::vector<float> y = operands.multiplied();
    for (Index r = 0; r < product.rows; ++r) {
      for (Index o = 0; o < product.out; ++o) {
        ASSERT_EQ(static_cast<double>(y[static_cast<std::size_t>(r * product.out + o)]), operands.expected(r, o).first)
            << product.text() << ", row " << r << ", column " << o;
      }
    }
  }
}

TEST_F(DeviceProducts, KeepTheirBound) {
  for (const Product& product : all_products()) {
    const Operands operands(runtime(), stream(), product, false);
    EXPECT_LE(worst(product, operands, operands.multiplied()), 1.0) << product.text();
  }
}

// TF32 keeps 11 bits of each factor; float32 keeps all of 1 + 2^-20.
TEST_F(DeviceProducts, OfFloat32RoundNoFactor) {
  constexpr Index kSize = 256;
  const std::vector<float> x(kSize * kSize, 1.0F + 0x1p-20F);
  std::vector<float> weight(kSize * kSize, 0.0F);
  for (std::size_t i = 0; i < kSize; ++i) weight[i * kSize + i] = 1.0F;
  const std::uint64_t bytes = x.size() * sizeof(float);
  const Memory a(runtime(), bytes, "a test"), b(runtime(), bytes, "a test"), y(runtime(), bytes, "a test");
  runtime().copy_in(stream(), a.data(), x.data(), bytes);
  runtime().copy_in(stream(), b.data(), weight.data(), bytes);
  runtime().multiply(stream(),
                     {.x = a.data(), .weight = b.data(), .y = y.floats(), .rows = kSize, .in = kSize, .out = kSize});
  std::vector<float> seen(x.size());
  runtime().copy_out(stream(), seen.data(), y.data(), bytes);
  stream().synchronize();
  EXPECT_EQ(seen, x);
}

TEST_F(DeviceProducts, HaveTheSameBitsEveryTime) {
  for (const DType stored : {DType::f32, DType::bf16, DType::f16}) {
    for (const Product& product : {Product{stored, 1, 8192, 128, true}, Product{stored, 200, 2048, 384, false}}) {
      const Operands operands(runtime(), stream(), product, false);
      const std::vector<float> first = operands.multiplied();
      for (int i = 0; i < 20; ++i) ASSERT_EQ(operands.multiplied(), first) << product.text();
    }
  }
}

TEST_F(DeviceProducts, TakeRowsAtAnyElement) {
  for (const DType stored : {DType::f32, DType::bf16, DType::f16}) {
    const Product product{stored, 5, 96, 64, true};
    for (const std::size_t elements : {1U, 2U, 3U}) {
      const Operands operands(runtime(), stream(), product, false, elements * size_bytes(stored));
      EXPECT_LE(worst(product, operands, operands.multiplied()), 1.0) << product.text() << ", element " << elements;
    }
  }
}

TEST_F(DeviceProducts, HaveTheSameBitsInAGraph) {
  for (const DType stored : {DType::f32, DType::bf16, DType::f16}) {
    const Operands operands(runtime(), stream(), {stored, 9, 1024, 200, true}, false);
    const std::vector<float> plain = operands.multiplied();
    const auto graph = runtime().record(stream(), [&] { operands.multiply(); });
    operands.forget_result();
    graph->launch(stream());
    EXPECT_EQ(operands.result(), plain) << name(stored);
  }
}

}  // namespace
}  // namespace mlbench::gpu::vendor
