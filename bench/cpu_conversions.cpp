// Values from one type to another: embeddings as they are looked up, what products widen and round, whole rows.
#include <cmath>
#include <cstdint>
#include <utility>

#include <fmt/format.h>

#include "backends/cpu/convert.h"
#include "backends/cpu/model_weights.h"
#include "backends/cpu/product.h"
#include "backends/cpu/row_products.h"
#include "bench/cpu_operators.h"
#include "core/error.h"
#include "core/hash.h"
#include "harness/memory.h"

namespace mlbench::cpu::bench {
namespace {

// Rows of random tokens from an embedding, as Decoder::embed reads them; each time other tokens.
class Embedding final : public Operator {
 public:
  struct Values {
    Values(DType stored, Index rows, Index columns) : dtype(stored), tokens(rows), width(columns) {
      harness::require_memory(stored_bytes(stored, rows * columns), "the embedding");
      data = random_stored(stored, 13, rows * columns);
    }
    DType dtype;
    Index tokens, width;
    Buffer data;
  };

  Embedding(std::shared_ptr<const Values> data, Index rows)
      : data_(std::move(data)),
        table_({data_->dtype, data_->tokens, data_->width, data_->data.data()}, data_->dtype),
        ids_(static_cast<std::size_t>(rows)),
        out_(static_cast<std::size_t>(rows * data_->width)) {}

  [[nodiscard]] Work work() const override {
    return {.bytes = static_cast<double>(out_.size() * (size_bytes(data_->dtype) + sizeof(float))), .flops = 0.0};
  }
  void run() override {
    const auto width = static_cast<std::size_t>(data_->width);
    for (std::size_t i = 0; i < ids_.size(); ++i) {
      ids_[i] = static_cast<Index>(scattered(14, drawn_++) % static_cast<std::uint64_t>(data_->tokens));
      table_.read(ids_[i], {out_.data() + i * width, width});
    }
  }
  void compare(Comparison& comparison) const override {
    for (const Index i : {Index{0}, data_->width - 1}) {
      comparison.see(fmt::format("token {}, value {}", ids_.front(), i), double{out_[static_cast<std::size_t>(i)]},
                     stored_at(data_->dtype, data_->data.data(), ids_.front() * data_->width + i), 0.0);
    }
  }

 private:
  std::shared_ptr<const Values> data_;
  Table table_;
  std::vector<Index> ids_;
  std::vector<float> out_;
  std::uint64_t drawn_ = 0;
};

// So many values between float32 and a 16-bit type, on one thread: what a thread does to its panel of a weight, or to
// its rows.
class Conversion final : public Operator {
 public:
  Conversion(DType type, bool widens, Index count)
      : type_(type), widens_(widens), floats_(random_floats(15, count)), stored_(random_stored(type, 16, count)) {}

  [[nodiscard]] Work work() const override {
    return {.bytes = static_cast<double>(floats_.size() * (sizeof(float) + size_bytes(type_))), .flops = 0.0};
  }
  void run() override {
    const auto count = static_cast<Index>(floats_.size());
    if (widens_) {
      widen(type_, stored_.data(), floats_.data(), count);
    } else {
      narrow(type_, floats_.data(), stored_.data(), count);
    }
  }
  void compare(Comparison& comparison) const override {
    const auto count = static_cast<Index>(floats_.size());
    for (const Index i : {Index{0}, count / 2, count - 1}) {
      const auto wide = double{floats_[static_cast<std::size_t>(i)]};
      const double stored = stored_at(type_, stored_.data(), i);
      comparison.see(fmt::format("value {}", i), widens_ ? wide : stored, widens_ ? stored : rounded_to(wide, type_),
                     0.0);
    }
  }

 private:
  DType type_;
  bool widens_;
  std::vector<float> floats_;
  Buffer stored_;
};

// Rows as products take them, where the processor multiplies bf16: rounded.
class RoundedInput final : public Operator {
 public:
  RoundedInput(Index rows, Index width, int threads)
      : products_(DType::bf16, threads), rows_(rows), width_(width), x_(random_floats(17, rows * width)) {}

  [[nodiscard]] Work work() const override {
    return {.bytes = static_cast<double>(x_.size() * (sizeof(float) + size_bytes(DType::bf16))), .flops = 0.0};
  }
  void run() override { rounded_ = products_.input(x_.data(), rows_, width_); }
  void compare(Comparison& comparison) const override {
    // Few rows are packed as float32, the last value at the end where a width is a number of full vectors.
    const double last = rows_ <= kFewRows
                            ? double{static_cast<const float*>(rounded_.data)[packed_values(rows_, width_) - 1]}
                            : stored_at(DType::bf16, static_cast<const std::byte*>(rounded_.data), rows_ * width_ - 1);
    comparison.see("the last value", last, rounded_to(double{x_.back()}, DType::bf16), 0.0);
  }

 private:
  Products products_;
  Index rows_, width_;
  std::vector<float> x_;
  ProductInput rounded_;
};

void add_embedding(Suite& suite, const NamedModel& model, DType dtype) {
  const std::string key = fmt::format("embedding/{}/{}", model.name, mlbench::name(dtype));
  const Index tokens = model.config.vocab_size, width = model.config.hidden_size;
  for (const Index rows : kRows) {
    suite.add(fmt::format("{}/rows:{}", key, rows), 0, [=, &suite] {
      const auto table = suite.shared<Embedding::Values>(
          key, [&] { return std::make_unique<Embedding::Values>(dtype, tokens, width); });
      return std::make_unique<Embedding>(table, rows);
    });
  }
}

}  // namespace

void add_conversions(Suite& suite) {
  const NamedModel& model = suite.first_model();
  const Index width = model.config.hidden_size;
  for (const DType dtype : kStored) add_embedding(suite, model, dtype);
  for (const DType dtype : {DType::bf16, DType::f16}) {
    for (const bool widens : {true, false}) {
      for (const Index rows : {1, 64, 512}) {
        const Index count = rows * width;
        suite.add(fmt::format("{}/{}/values:{}", widens ? "widen" : "narrow", mlbench::name(dtype), count), 0,
                  [=] { return std::make_unique<Conversion>(dtype, widens, count); });
      }
    }
  }
  for (const Index rows : kRows) {
    for (const int threads : suite.threads()) {
      suite.add(
          fmt::format("product.input/{}/bf16/rows:{}", model.name, rows), threads, [=]() -> std::unique_ptr<Operator> {
            if (!Products::native(DType::bf16)) {
              throw request_error("config.unsupported", "this processor does not multiply bf16: products take float32");
            }
            return std::make_unique<RoundedInput>(rows, width, threads);
          });
    }
  }
}

}  // namespace mlbench::cpu::bench
