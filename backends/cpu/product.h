// Products y = x W^T + b of float32 rows with weights in one of three storage types.
//
// f32, and bf16 where the processor multiplies it: W is kept as oneDNN likes it best, a copy made once at load, and x
// is rounded to bf16 on entry in the second case. f16, and bf16 elsewhere: storage only. W stays rows, which each
// thread widens a panel at a time into memory of its own and multiplies in float32.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "backends/cpu/buffer.h"
#include "backends/cpu/onednn.h"
#include "models/weights.h"

namespace mlbench::cpu {

// A weight [out, in] ready for products. Data is the model's own or in `owned`.
struct Matrix {
  Index out = 0;
  Index in = 0;
  std::optional<onednn::Layout> layout;  // none: rows
  const std::byte* data = nullptr;
  Buffer owned;
};

struct Linear {
  Matrix weight;
  std::vector<float> bias;  // [out], empty where the layer has none

  [[nodiscard]] const float* bias_or_null() const { return bias.empty() ? nullptr : bias.data(); }
};

// Rows as products take them.
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
  const onednn::Product& product(const onednn::ProductShape& shape, const onednn::Layout& weights, bool one_thread);
  void multiply_packed(const ProductInput& x, const Linear& layer, float* y);
  void multiply_panels(const ProductInput& x, const Linear& layer, float* y);

  DType stored_;
  int threads_;
  std::vector<Thread> per_thread_;
  std::map<std::pair<onednn::ProductShape, bool>, onednn::Product> products_;
  Buffer rounded_;  // x in the storage type
};

}  // namespace mlbench::cpu
