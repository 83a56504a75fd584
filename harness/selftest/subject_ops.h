// The subject's operators: float32 arithmetic in plain loops, results rounded to the storage type.
#pragma once

#include <utility>
#include <vector>

#include "harness/selftest/planted.h"
#include "harness/selftest/subject_values.h"
#include "models/config.h"

namespace mlbench::selftest {

struct Linear {
  Index out = 0, in = 0;
  std::vector<float> weight;  // [out, in]
  std::vector<float> bias;    // [out], or empty
};

struct Norm {
  std::vector<float> weight, bias;  // [width], or empty
};

class Ops {
 public:
  Ops(ModelConfig config, DType type, Planted planted)
      : config_(std::move(config)), type_(type), planted_(std::move(planted)) {}

  [[nodiscard]] const ModelConfig& config() const { return config_; }
  [[nodiscard]] DType type() const { return type_; }
  [[nodiscard]] const Planted& planted() const { return planted_; }

  // x [T, in] -> [T, out], rounded to `to`.
  [[nodiscard]] Rows linear(const Rows& x, const Linear& layer, DType to) const;
  [[nodiscard]] Rows linear(const Rows& x, const Linear& layer) const { return linear(x, layer, type_); }
  // Every row of `width` values by itself; x [T, n * width].
  [[nodiscard]] Rows norm(const Rows& x, const Norm& norm, Index width) const;
  [[nodiscard]] Rows activate(const Rows& x) const;
  [[nodiscard]] Rows add(const Rows& a, const Rows& b) const;
  [[nodiscard]] Rows add(const Rows& a, const Rows& b, const Rows& c) const;
  [[nodiscard]] Rows multiply(const Rows& a, const Rows& b) const;

 private:
  struct Statistics {
    float mean, scale;
  };
  [[nodiscard]] float dot(const float* x, const float* w, Index count) const;
  [[nodiscard]] float product_input(float value) const;
  [[nodiscard]] Statistics statistics(const float* x, Index width) const;
  [[nodiscard]] float variance(const float* x, Index width, float mean) const;
  [[nodiscard]] float scale(float variance) const;
  [[nodiscard]] float activated(Activation kind, float value) const;
  [[nodiscard]] Activation activation() const;

  ModelConfig config_;
  DType type_;
  Planted planted_;
};

}  // namespace mlbench::selftest
