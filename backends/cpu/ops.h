// What stands between products, on float32 rows, at the speed of vectors: for every instruction set that the compiler
// knows, the best one chosen where the program runs. Sums run in float32 in four vectors of partial sums; every row of
// a result depends on the same row of the input alone, whatever the number of threads. Rows may stand at any address.
#pragma once

#include <vector>

#include "backends/stack/design.h"
#include "models/config.h"

namespace mlbench::cpu {

struct Norm {
  std::vector<float> weight;  // [width], empty: all 1
  std::vector<float> bias;    // [width], empty: all 0
};

using stack::NormKind;
using stack::NormRule;

[[nodiscard]] float sum(const float* x, Index count);
[[nodiscard]] float dot(const float* a, const float* b, Index count);

// One row; `y` may be `x`.
void normalize(const NormRule& rule, const Norm& norm, const float* x, float* y, Index width);
void activate(Activation activation, float* x, Index count);
// gate * up after it: the same bits as by `activate` and `multiply`, in one pass.
void activate_gate(Activation activation, float* gate, const float* up, Index count);
void add(float* x, const float* y, Index count);       // x += y
void multiply(float* x, const float* y, Index count);  // x *= y
void clamp(float* x, Index count, float limit);        // to [-limit, limit]; a NaN stays one

// The upper part of a softmax: every score becomes e^(score - the largest). Gives their sum, at least 1.
[[nodiscard]] float exponentials(float* scores, Index count);

}  // namespace mlbench::cpu
