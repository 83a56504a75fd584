// A small model with its error bounds under an arithmetic, for tests of the bounds.
#pragma once

#include <algorithm>
#include <ostream>
#include <string>

#include <nlohmann/json.hpp>

#include "harness/error_model.h"
#include "harness/golden_make.h"
#include "models/presets.h"
#include "models/synthetic.h"

namespace mlbench::harness::test {

// An engine that keeps everything in float32, in bf16, in f16; one that keeps rows in float32 and lets weights, cache
// and what meets them be coarser.
struct NamedArithmetic {
  std::string name;
  backends::Arithmetic arithmetic;

  friend void PrintTo(const NamedArithmetic& which, std::ostream* out) { *out << which.name; }
};
[[nodiscard]] inline std::vector<NamedArithmetic> arithmetics() {
  const auto inside = [](DType type) {
    return backends::Arithmetic{.weights = type, .kv_cache = type, .product_inputs = type, .attention_inputs = type};
  };
  return {{"f32", stored_arithmetic(DType::f32)},
          {"bf16", stored_arithmetic(DType::bf16)},
          {"f16", stored_arithmetic(DType::f16)},
          {"bf16_inside", inside(DType::bf16)},
          {"f16_inside", inside(DType::f16)}};
}

[[nodiscard]] inline ModelConfig one_layer(Architecture architecture,
                                           nlohmann::json overrides = nlohmann::json::object()) {
  overrides[architecture == Architecture::gpt_bigcode ? "n_layer" : "num_hidden_layers"] = 1;
  return preset_config(small_preset(architecture), overrides);
}

class BoundsOf {
 public:
  BoundsOf(const ModelConfig& config, const backends::Arithmetic& arithmetic)
      : model_(make_synthetic(config, arithmetic.weights, 1, workers_)), errors_(model_, arithmetic, workers_) {}

  [[nodiscard]] const Model& model() const { return model_; }
  [[nodiscard]] const ErrorModel& errors() const { return errors_; }
  [[nodiscard]] const backends::Arithmetic& arithmetic() const { return errors_.arithmetic(); }
  [[nodiscard]] Workers& workers() { return workers_; }
  [[nodiscard]] ref::Tensor of(TapId id, const ref::Tensor& y, const KnownTaps& known,
                               const AttentionInputs& attention = {}) const {
    return errors_.bound(id, y, known, attention);
  }

 private:
  Workers workers_{1};
  Model model_;
  ErrorModel errors_;
};

// What an error of that part of each value is, and an absolute one where it is tiny.
[[nodiscard]] inline ref::Tensor errors_of(const ref::Tensor& values, double relative) {
  ref::Tensor out(values.shape());
  std::ranges::transform(values.values(), out.values().begin(),
                         [=](double value) { return relative * std::max(1e-3, value < 0.0 ? -value : value); });
  return out;
}

}  // namespace mlbench::harness::test
