// Products y = x W^T + b of float32 rows with weights in one of three storage types. Weights stay as they stand in the
// checkpoint, rows [out, in]: no copy where the type is the stored one. (oneDNN's own layout gains a few percent at
// many rows and costs a second copy, docs/performance.md.)
//
// Up to kFewRows rows, as in decoding, are multiplied by row_products.h in one pass over the weight, with float32
// products. More are oneDNN's: f32, and bf16 where the processor multiplies it, as they stand; f16, and bf16 elsewhere,
// a panel at a time, which each thread widens into memory of its own. Where bf16 is multiplied as such, x is rounded to
// it on entry, for any number of rows.
#pragma once

#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "backends/cpu/buffer.h"
#include "backends/cpu/onednn.h"
#include "models/weights.h"

namespace mlbench::cpu {

// A weight [out, in] in the storage type. Data is the model's own or in `owned`.
struct Matrix {
  Index out = 0;
  Index in = 0;
  const std::byte* data = nullptr;
  Buffer owned;
};

struct Linear {
  Matrix weight;
  std::vector<float> bias;  // [out], empty where the layer has none

  [[nodiscard]] const float* bias_or_null() const { return bias.empty() ? nullptr : bias.data(); }
};

// Rows as products take them: few ones packed, many as they are.
struct ProductInput {
  const void* data = nullptr;
  Index rows = 0;
  Index width = 0;
};

class Products {
 public:
  Products(DType stored, int threads);

  // Whether oneDNN multiplies in the storage type, so that x is rounded to it.
  [[nodiscard]] static bool native(DType stored);

  // The weight rounded to the storage type.
  [[nodiscard]] Matrix prepare(const WeightView& weight);

  // x [rows, width], rounded where products want it so; valid until the next call.
  [[nodiscard]] ProductInput input(const float* x, Index rows, Index width);
  // y [rows, out]
  void multiply(const ProductInput& x, const Linear& layer, float* y);

  // Which of oneDNN's implementations were used.
  [[nodiscard]] std::vector<std::string> implementations() const;

 private:
  struct Thread {
    onednn::Engine engine;
    Buffer panel;    // widened rows
    Buffer scratch;  // oneDNN's
  };

  [[nodiscard]] bool native() const { return native(stored_); }
  [[nodiscard]] onednn::Type type() const;
  const onednn::Product& product(const onednn::ProductShape& shape, bool one_thread);
  void multiply_few(const ProductInput& x, const Linear& layer, float* y);
  void multiply_rows(const ProductInput& x, const Linear& layer, float* y);
  void multiply_panels(const ProductInput& x, const Linear& layer, float* y);

  DType stored_;
  int threads_;
  std::vector<Thread> per_thread_;
  std::map<std::pair<onednn::ProductShape, bool>, onednn::Product> products_;
  Buffer rounded_;  // x in the storage type
  Buffer few_, packed_;
};

}  // namespace mlbench::cpu
