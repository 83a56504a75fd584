// Products with small integers: every partial sum is exact in every type and order, so that the tolerance is zero.
#include "backends/cpu/product.h"

#include <omp.h>

#include <algorithm>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backends/cpu/threads.h"
#include "core/dtype.h"

namespace mlbench::cpu {
namespace {

using testing::HasSubstr;
using testing::Not;

float small_integer(Index i) { return static_cast<float>((i * 7 + i / 5) % 17 - 8); }

struct Case {
  DType stored;
  int threads;
};

class ProductsOfEveryType : public testing::TestWithParam<Case> {};

// A weight [out, in] of small integers in `type`.
struct StoredWeight {
  StoredWeight(Index rows, Index cols, DType type, std::size_t offset = 0)
      : bytes(offset + static_cast<std::size_t>(rows * cols) * size_bytes(type)) {
    std::vector<double> values;
    for (Index i = 0; i < rows * cols; ++i) values.push_back(static_cast<double>(small_integer(i + 3)));
    narrow(type, values, bytes.data() + offset);
    view = {.dtype = type, .rows = rows, .cols = cols, .data = bytes.data() + offset};
  }
  std::vector<std::byte> bytes;
  WeightView view;
};

std::vector<float> expected_product(Index rows, Index in, Index out, bool bias) {
  std::vector<float> y;
  for (Index r = 0; r < rows; ++r) {
    for (Index o = 0; o < out; ++o) {
      double sum = bias ? static_cast<double>(small_integer(o)) : 0.0;
      for (Index i = 0; i < in; ++i) sum += double{small_integer(r * in + i)} * double{small_integer(o * in + i + 3)};
      y.push_back(static_cast<float>(sum));
    }
  }
  return y;
}

std::vector<float> integers(Index count) {
  std::vector<float> out;
  for (Index i = 0; i < count; ++i) out.push_back(small_integer(i));
  return out;
}

std::vector<float> product(Products& products, const Linear& layer, Index rows) {
  const std::vector<float> x = integers(rows * layer.weight.in);
  std::vector<float> y(static_cast<std::size_t>(rows * layer.weight.out), -1e9F);
  products.multiply(products.input(x.data(), rows, layer.weight.in), layer, y.data());
  return y;
}

TEST_P(ProductsOfEveryType, AreExactOnSmallIntegers) {
  Products products(GetParam().stored, GetParam().threads);
  // 129 and 257: a row of W more than the panels that are widened at a time
  for (const auto& [in, out] :
       {std::pair<Index, Index>{1, 1}, {7, 5}, {64, 64}, {80, 63}, {200, 65}, {97, 129}, {33, 257}, {513, 130}}) {
    for (const bool bias : {false, true}) {
      const StoredWeight weight(out, in, GetParam().stored);
      Linear layer{products.prepare(weight.view), bias ? integers(out) : std::vector<float>{}};
      for (const Index rows : {1, 2, 17, 70}) {
        EXPECT_EQ(product(products, layer, rows), expected_product(rows, in, out, bias))
            << rows << " rows, in " << in << ", out " << out << (bias ? ", bias" : "");
      }
    }
  }
}

TEST_P(ProductsOfEveryType, NeverFallBackToOneDnnsPlainLoops) {
  Products products(GetParam().stored, GetParam().threads);
  for (const auto& [in, out] : {std::pair<Index, Index>{7, 5}, {80, 63}, {192, 520}, {520, 192}}) {
    const StoredWeight weight(out, in, GetParam().stored);
    for (const bool bias : {false, true}) {
      Linear layer{products.prepare(weight.view), bias ? integers(out) : std::vector<float>{}};
      for (const Index rows : {1, 3, 64, 300}) (void)product(products, layer, rows);
    }
  }
  EXPECT_FALSE(products.implementations().empty());
  for (const std::string& implementation : products.implementations())
    EXPECT_THAT(implementation, Not(HasSubstr("ref")));
}

TEST_P(ProductsOfEveryType, TakeWeightsOfAnyTypeAtAnyAddress) {
  Products products(GetParam().stored, GetParam().threads);
  const std::vector<float> expected = expected_product(2, 33, 21, false);
  for (const DType type : {DType::f64, DType::f32, DType::bf16, DType::f16}) {
    for (const std::size_t offset : {0U, 1U, 2U}) {
      const StoredWeight weight(21, 33, type, offset);
      Linear layer{products.prepare(weight.view), {}};
      EXPECT_EQ(product(products, layer, 2), expected) << name(type) << " at offset " << offset;
    }
  }
}

// 257 has nine significant bits: one more than bf16, fewer than the others. As a weight it is always rounded to the
// storage type, as an input only where that is what products take.
TEST_P(ProductsOfEveryType, RoundWhatTheyDeclare) {
  const DType stored = GetParam().stored;
  Products products(stored, GetParam().threads);
  std::vector<std::byte> bytes(2 * sizeof(double));
  narrow(DType::f64, std::vector<double>{257.0, 1.0}, bytes.data());
  const WeightView view{.dtype = DType::f64, .rows = 2, .cols = 1, .data = bytes.data()};
  Linear layer{products.prepare(view), {}};
  const float x[] = {1.0F, 257.0F};
  std::vector<float> y(4);
  products.multiply(products.input(x, 2, 1), layer, y.data());  // x W^T = [[w0, w1], [257 w0, 257 w1]]
  EXPECT_EQ(y[0], stored == DType::bf16 ? 256.0F : 257.0F);
  EXPECT_EQ(y[3], stored == DType::bf16 && Products::native(stored) ? 256.0F : 257.0F);
}

TEST_P(ProductsOfEveryType, OfNoRowsWriteNothing) {
  Products products(GetParam().stored, GetParam().threads);
  const StoredWeight weight(3, 4, GetParam().stored);
  Linear layer{products.prepare(weight.view), {}};
  EXPECT_NO_THROW(products.multiply(products.input(nullptr, 0, 4), layer, nullptr));
}

// Values that no sum is exact of, large enough for all threads to be woken.
TEST(Products, HaveTheSameBitsForEveryNumberOfThreads) {
  for (const DType stored : {DType::f32, DType::bf16, DType::f16}) {
    constexpr Index kIn = 1040, kOut = 1500;
    const StoredWeight weight(kOut, kIn, stored);
    for (const Index rows : {1, 5, 8, 9, 70, 300}) {
      std::vector<float> x;
      for (Index i = 0; i < rows * kIn; ++i) x.push_back(1.0F / (1.0F + static_cast<float>(i % 89)));
      const auto with_threads = [&](int threads) {
        Products products(stored, threads);
        Linear layer{products.prepare(weight.view), {}};
        std::vector<float> y(static_cast<std::size_t>(rows * kOut));
        products.multiply(products.input(x.data(), rows, kIn), layer, y.data());
        return y;
      };
      const std::vector<float> one = with_threads(1);
      for (const int threads : {2, 3}) EXPECT_EQ(with_threads(threads), one) << name(stored) << ", " << rows << " rows";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, ProductsOfEveryType,
                         testing::Values(Case{DType::f32, 1}, Case{DType::f32, 2}, Case{DType::bf16, 1},
                                         Case{DType::bf16, 2}, Case{DType::f16, 1}, Case{DType::f16, 2}),
                         [](const auto& instance) {
                           return std::string(name(instance.param.stored)) + "_threads_" +
                                  std::to_string(instance.param.threads);
                         });

TEST(Products, ReadTheModelsOwnWeightsWhereTypeAndAddressFit) {
  Products products(DType::f16, 1);  // widened as it is used: no other layout is better
  const StoredWeight weight(8, 8, DType::f16);
  EXPECT_EQ(products.prepare(weight.view).data, weight.view.data);
  const StoredWeight odd(8, 8, DType::f16, 1);
  EXPECT_NE(products.prepare(odd.view).data, odd.view.data);
}

TEST(Products, MultiplyInBf16WhereTheProcessorDoes) {
  EXPECT_TRUE(Products::native(DType::f32));
  EXPECT_EQ(Products::native(DType::bf16), onednn::multiplies_bf16());
  EXPECT_FALSE(Products::native(DType::f16));
}

// The caller has settings of its own, which oneDNN obeys too.
TEST(Products, LeaveTheNumberOfThreadsOfTheCallerAlone) {
  const int before = omp_get_max_threads();
  omp_set_num_threads(3);
  for (const DType stored : {DType::f32, DType::f16}) {
    Products products(stored, 2);
    const StoredWeight weight(130, 16, stored);
    Linear layer{products.prepare(weight.view), {}};
    (void)product(products, layer, 4);
    EXPECT_EQ(omp_get_max_threads(), 3) << name(stored);
  }
  omp_set_num_threads(before);
}

TEST(ParallelFor, VisitsEveryItemOnce) {
  for (const int threads : {1, 2, 5}) {
    for (const Index count : {0, 1, 2, 100}) {
      std::vector<int> visits(static_cast<std::size_t>(count));
      parallel_for(count, threads, [&](Index item, int thread) {
        EXPECT_TRUE(thread >= 0 && thread < threads);
        ++visits[static_cast<std::size_t>(item)];
      });
      EXPECT_THAT(visits, testing::Each(1));
    }
  }
}

TEST(ParallelFor, HandsOnAnException) {
  for (const int threads : {1, 2}) {
    EXPECT_THROW(parallel_for(10, threads,
                              [](Index item, int) {
                                if (item == 3) throw std::runtime_error("three");
                              }),
                 std::runtime_error);
  }
}

}  // namespace
}  // namespace mlbench::cpu
