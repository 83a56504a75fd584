// What stands between products, on float32 rows. Sums run in float32 in several partial sums; every row of a result
// depends on the same row of the input alone, whatever the number of threads.
#pragma once

#include <vector>

#include "models/config.h"

namespace mlbench::cpu {

struct Norm {
  std::vector<float> weight;  // [width], empty: all 1
  std::vector<float> bias;    // [width], empty: all 0
};

enum class NormKind {
  rms,   // g * x / sqrt(mean(x^2) + eps)
  layer  // g * (x - mean) / sqrt(var + eps) + b, var about the mean
};

// The formula and its epsilon, the same everywhere in a model.
struct NormRule {
  NormKind kind = NormKind::rms;
  float eps = 0.0F;
};

[[nodiscard]] float sum(const float* x, Index count);
[[nodiscard]] float dot(const float* a, const float* b, Index count);

// One row; `y` may be `x`.
void normalize(const NormRule& rule, const Norm& norm, const float* x, float* y, Index width);
void activate(Activation activation, float* x, Index count);
void clamp(float* x, Index count, float limit);  // to [-limit, limit]; a NaN stays one

// Softmax in place, the maximum subtracted first.
void softmax(float* scores, Index count);

}  // namespace mlbench::cpu
