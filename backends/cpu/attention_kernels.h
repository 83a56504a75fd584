// What attention does with a run of cached keys or values, for every instruction set that the compiler knows.
//
// Many queries that read the same keys, as in prefill, stand side by side: one vector holds the same value of several
// of them, and nothing is ever summed across a vector. Few queries, as in decoding, are rows: values of a key are read
// once for all of them.
#pragma once

#include <cstddef>

#include "core/dtype.h"
#include "core/tensor.h"

namespace mlbench::cpu {

// Sums over entries run over so many of them, and the runs' sums then: chains of roundings stay short.
inline constexpr Index kRun = 64;
// Queries that are taken as rows; more stand side by side.
inline constexpr Index kFewQueries = 8;

// One head's keys or values, entry by entry, as the cache stores them.
struct StoredRows {
  DType type = DType::f32;
  const std::byte* const* rows = nullptr;
  Index count = 0;
  Index width = 0;
};

// ---- side by side ----

// Room for so many queries: full vectors.
[[nodiscard]] Index padded_queries(Index queries);
// Values of `scratch`, where stored rows are widened.
[[nodiscard]] constexpr Index scratch_values(Index width) { return kRun * width; }

// scores[e * padded + q] = scale * sum_i keys[e][i] queries[i * padded + q]
void score_side_by_side(const StoredRows& keys, const float* queries, Index padded, float scale, float* scores,
                        float* scratch);
// As exponentials() of ops.h, for each query; totals[q] is the sum.
void exponentials_side_by_side(float* scores, Index count, Index padded, float* totals);
// sums[i * padded + q] += sum_e weights[e * padded + q] values[e][i]
void add_values_side_by_side(const StoredRows& values, const float* weights, Index padded, float* sums, float* scratch);

// ---- rows ----

// scores[q * stride + e] = scale * sum_i keys[e][i] queries[q * width + i]
void score_rows(const StoredRows& keys, const float* queries, Index count, float scale, float* scores, Index stride);
// sums[q * width + i] += sum_e weights[q * stride + e] values[e][i]
void add_values_rows(const StoredRows& values, const float* weights, Index count, Index stride, float* sums);

}  // namespace mlbench::cpu
