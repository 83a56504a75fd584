// Rows that bring out what everyday rows hide.
#pragma once

#include "models/weights.h"
#include "reference/tensor.h"

namespace mlbench::harness {

// Hidden rows [T, h], by turns: as they are; so small that their mean square is the norm's epsilon; with one channel a
// few hundred times the others (trained models have such); all values moved by several of their spread, so that a
// variance cancels.
[[nodiscard]] ref::Tensor adversarial_rows(const ref::Tensor& x, const ModelConfig& config);

// Rows [n, h] for the output layer, by turns: with a logit that cancels (the condition number of its sum of products,
// sum|w x| / |sum w x|, is kCondition before rounding), and with two logits that tie up to 1/kCondition of their size.
inline constexpr double kCondition = 1e6;
[[nodiscard]] ref::Tensor adversarial_hidden(const ref::Tensor& hidden, const Model& model);

}  // namespace mlbench::harness
