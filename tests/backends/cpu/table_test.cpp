// Embeddings as the CPU backend looks them up.
#include <cstring>

#include <gtest/gtest.h>

#include "backends/cpu/model_weights.h"

namespace mlbench::cpu {
namespace {

constexpr Index kRows = 3, kWidth = 37;  // not a multiple of any vector

// Values of every type, most of which round to another one in a narrower type.
double value_at(Index row, Index i) {
  return (i % 2 == 0 ? 1.0 : -1.0) * (1.0 + static_cast<double>(row * kWidth + i) / 3.0);
}

// At any address, as in a file.
TEST(Table, RowsAreTheModelsRoundedToTheStorageType) {
  for (const DType own : {DType::f64, DType::f32, DType::bf16, DType::f16}) {
    for (const std::size_t offset : {0U, 1U, 2U}) {
      std::vector<double> values;
      for (Index row = 0; row < kRows; ++row) {
        for (Index i = 0; i < kWidth; ++i) values.push_back(rounded_to(value_at(row, i), own));
      }
      std::vector<std::byte> packed(values.size() * size_bytes(own));
      narrow(own, values, packed.data());
      std::vector<std::byte> data(offset + packed.size());
      std::memcpy(data.data() + offset, packed.data(), packed.size());
      for (const DType stored : {DType::f32, DType::bf16, DType::f16}) {
        const Table table({own, kRows, kWidth, data.data() + offset}, stored);
        for (Index row = 0; row < kRows; ++row) {
          std::vector<float> got(kWidth);
          table.read(row, got);
          for (Index i = 0; i < kWidth; ++i) {
            ASSERT_EQ(static_cast<double>(got[static_cast<std::size_t>(i)]),
                      rounded_to(values[static_cast<std::size_t>(row * kWidth + i)], stored))
                << name(own) << " to " << name(stored) << ", row " << row << ", value " << i;
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace mlbench::cpu
