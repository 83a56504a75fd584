// Exact mode: a model of selections and small integers, in which no partial sum of a product, of attention with equal
// scores, or of a gather has anything to round, whatever the order. What is computed there is right to the bit or
// wrong.
#pragma once

#include <optional>

#include "harness/error_model.h"
#include "models/weights.h"

namespace mlbench::harness {

// Every row of a product's weights picks one input and scales it by a power of two; queries, keys and values of the
// last layer are 0; embeddings and the output layer hold a few small integers each; biases are 0. In `dtype`.
[[nodiscard]] Model make_exact(const ModelConfig& config, DType dtype);

// Small integers as hidden rows, [rows, h]: no row of the output layer of make_exact sums to more than 128 with them.
[[nodiscard]] ref::Tensor integer_rows(Index rows, Index width, std::uint64_t seed);

// Integer keys and values in -3..3, the shape of debug_set_kv's: [L, n, Hkv, d].
[[nodiscard]] ref::Tensor integer_entries(const ModelConfig& config, Index count, std::uint64_t seed);

// `y` and its bound, with what must be exact in its place: products whose terms leave no order any choice, computed
// from inputs rounded as declared, and attention of a row whose scores are all equal over a power of two of integer
// values. There the bound is 0. Each is recognised by its own numbers, so nothing depends on the model being that of
// make_exact.
[[nodiscard]] Known exact_tap(TapId id, const ref::Tensor& y, const ref::Tensor& bound, const KnownTaps& known,
                              const AttentionInputs& attention, const ErrorModel& errors);

}  // namespace mlbench::harness
