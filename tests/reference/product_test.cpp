#include "reference/product.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "models/synthetic.h"

namespace mlbench::ref {
namespace {

std::vector<double> values(Index count, const char* name) {
  std::vector<double> out(static_cast<std::size_t>(count));
  synthetic_values({name, {count}, TensorRole::norm, false}, Spread{}, 3, 0, out);
  return out;
}

struct Matrix {
  std::vector<double> held;
  WeightView view;
};

Matrix weight(Index out, Index in) {
  Matrix m{values(out * in, "weight"), {}};
  m.view = {.dtype = DType::f64, .rows = out, .cols = in, .data = reinterpret_cast<const std::byte*>(m.held.data())};
  return m;
}

Tensor first_rows(const Tensor& x, Index count) {
  Tensor out({count, x.cols()});
  std::copy_n(x.values().begin(), out.size(), out.values().begin());
  return out;
}

TEST(Product, EqualsTheSumOfProductsWhereItIsExact) {
  // Small integers: every partial sum is exact, whatever its order.
  for (const Index n : {1, 7, 8, 9}) {
    for (const Index out : {1, 255, 256, 257, 513}) {
      const Index in = 37;
      Tensor x({n, in});
      Matrix w = weight(out, in);
      for (std::size_t i = 0; i < x.values().size(); ++i) x.values()[i] = static_cast<double>(i % 11) - 5.0;
      for (std::size_t i = 0; i < w.held.size(); ++i) w.held[i] = static_cast<double>(i % 13) - 6.0;
      std::vector<double> bias(static_cast<std::size_t>(out));
      for (std::size_t i = 0; i < bias.size(); ++i) bias[i] = static_cast<double>(i % 5);
      Workers workers(2);
      const Tensor y = product(workers, x, w.view, bias);
      for (Index r = 0; r < n; ++r) {
        for (Index c = 0; c < out; ++c) {
          double sum = bias[static_cast<std::size_t>(c)];
          for (Index i = 0; i < in; ++i)
            sum += x.row(r)[static_cast<std::size_t>(i)] * w.held[static_cast<std::size_t>(c * in + i)];
          ASSERT_EQ(y.row(r)[static_cast<std::size_t>(c)], sum) << n << " " << out << " " << r << " " << c;
        }
      }
    }
  }
}

TEST(Product, ARowsBitsDependOnNeitherTheOtherRowsNorTheThreads) {
  Workers one(1), two(2), three(3);
  for (const Index in : {12, 64, 150, 300, 700, 2048}) {
    for (const Index out : {24, 256, 300, 700}) {
      const Matrix w = weight(out, in);
      const Index most = 70;
      const Tensor x({most, in}, values(most * in, "x"));
      const Tensor whole = product(one, x, w.view, {});
      EXPECT_EQ(product(two, x, w.view, {}), whole);
      EXPECT_EQ(product(three, x, w.view, {}), whole);
      for (const Index n : {1, 2, 7, 8, 9, 16, 31, 64}) {
        EXPECT_EQ(product(two, first_rows(x, n), w.view, {}), first_rows(whole, n)) << in << " " << out << " " << n;
      }
    }
  }
}

TEST(Product, ARowsBitsDoNotDependOnWhereItStands) {
  Workers workers(2);
  const Index in = 300, out = 300, n = 21;
  const Matrix w = weight(out, in);
  const Tensor x({n, in}, values(n * in, "x"));
  Tensor reversed({n, in});
  for (Index r = 0; r < n; ++r) std::ranges::copy(x.row(r), reversed.row(n - 1 - r).begin());
  const Tensor y = product(workers, x, w.view, {}), z = product(workers, reversed, w.view, {});
  for (Index r = 0; r < n; ++r) {
    EXPECT_TRUE(std::ranges::equal(y.row(r), z.row(n - 1 - r))) << r;
  }
}

TEST(Product, TakesEveryStorageTypeExactly) {
  const Index in = 40, out = 260;
  Workers workers(2);
  const Tensor x({3, in}, values(3 * in, "x"));
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
    const std::vector<double> exact = weight(out, in).held;
    std::vector<std::byte> stored(exact.size() * size_bytes(dtype));
    narrow(dtype, exact, stored.data());
    const WeightView view{.dtype = dtype, .rows = out, .cols = in, .data = stored.data()};
    Matrix widened{view.widened(), {}};
    widened.view = {
        .dtype = DType::f64, .rows = out, .cols = in, .data = reinterpret_cast<const std::byte*>(widened.held.data())};
    EXPECT_EQ(product(workers, x, view, {}), product(workers, x, widened.view, {})) << name(dtype);
  }
}

TEST(Product, OfNoRowsIsEmpty) {
  Workers workers(1);
  EXPECT_EQ(product(workers, Tensor({0, 8}), weight(16, 8).view, {}).shape(), (Shape{0, 16}));
}

}  // namespace
}  // namespace mlbench::ref
