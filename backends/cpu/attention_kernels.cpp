#include "backends/cpu/attention_kernels.h"

#include <algorithm>

#include "backends/cpu/convert.h"

// Compiled once for every instruction set: this file includes itself.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/attention_kernels.cpp"
#include <hwy/foreach_target.h>
// Behind it, not in the order of names.
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include "backends/cpu/rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace mlbench::cpu::HWY_NAMESPACE {
namespace {

// Vectors of queries, and entries or values of one, that a loop holds the products of.
constexpr Index kAcross = kRegisters == 32 ? 4 : 2, kAlong = 4;
constexpr Index kAhead = 16;  // entries that are fetched before they are read

// An entry as float32: where it stands, or widened into `scratch`.
const float* as_floats(const StoredRows& stored, Index entry, float* scratch) {
  const std::byte* row = stored.rows[entry];
  if (stored.type == DType::f32) return reinterpret_cast<const float*>(row);
  widen(stored.type, row, scratch, stored.width);
  return scratch;
}

// Sums in registers, 0 at first.
template <Index kA, Index kB>
struct Tile {
  Vector at[kLength<kA>][kLength<kB>];

  HWY_INLINE Tile() {
#pragma GCC unroll 8
    for (Index a = 0; a < kA; ++a) {
#pragma GCC unroll 8
      for (Index b = 0; b < kB; ++b) at[a][b] = hn::Zero(Floats());
    }
  }
  // Adds them to out[a * stride_a + b * stride_b].
  HWY_INLINE void add_to(float* out, Index stride_a, Index stride_b) const {
#pragma GCC unroll 8
    for (Index a = 0; a < kA; ++a) {
#pragma GCC unroll 8
      for (Index b = 0; b < kB; ++b) {
        float* to = out + a * stride_a + b * stride_b;
        hn::StoreU(hn::Add(hn::LoadU(Floats(), to), at[a][b]), Floats(), to);
      }
    }
  }
};

// ---- side by side ----

// Scores of `kEntries` entries and `kVectors` vectors of queries.
template <Index kEntries, Index kVectors>
HWY_INLINE void score_block(const float* const* keys, Index width, const float* queries, Index padded, float scale,
                            float* scores) {
  const Floats d;
  Tile<kEntries, kVectors> sums;
  for (Index i = 0; i < width; ++i) {
    Vector q[kLength<kVectors>];
#pragma GCC unroll 8
    for (Index v = 0; v < kVectors; ++v) q[v] = hn::LoadU(d, queries + i * padded + v * kLanes);
#pragma GCC unroll 8
    for (Index e = 0; e < kEntries; ++e) {
      const Vector key = hn::Set(d, keys[e][i]);
#pragma GCC unroll 8
      for (Index v = 0; v < kVectors; ++v) sums.at[e][v] = hn::MulAdd(key, q[v], sums.at[e][v]);
    }
  }
  const Vector by = hn::Set(d, scale);
#pragma GCC unroll 8
  for (Index e = 0; e < kEntries; ++e) {
#pragma GCC unroll 8
    for (Index v = 0; v < kVectors; ++v) hn::StoreU(hn::Mul(by, sums.at[e][v]), d, scores + e * padded + v * kLanes);
  }
}

template <Index kEntries>
void score_entries(const float* const* keys, Index width, const float* queries, Index padded, float scale,
                   float* scores) {
  Index q = 0;
  for (; q + kAcross * kLanes <= padded; q += kAcross * kLanes)
    score_block<kEntries, kAcross>(keys, width, queries + q, padded, scale, scores + q);
  for (; q < padded; q += kLanes) score_block<kEntries, 1>(keys, width, queries + q, padded, scale, scores + q);
}

void score_side_by_side(const StoredRows& keys, const float* queries, Index padded, float scale, float* scores,
                        float* scratch) {
  const float* rows[kLength<kAlong>];
  Index e = 0;
  for (; e + kAlong <= keys.count; e += kAlong) {
    for (Index a = 0; a < kAlong; ++a) rows[a] = as_floats(keys, e + a, scratch + a * keys.width);
    score_entries<kAlong>(rows, keys.width, queries, padded, scale, scores + e * padded);
  }
  for (; e < keys.count; ++e) {
    rows[0] = as_floats(keys, e, scratch);
    score_entries<1>(rows, keys.width, queries, padded, scale, scores + e * padded);
  }
}

// Sums of `kValues` values of a run of entries, for `kVectors` vectors of queries.
template <Index kValues, Index kVectors>
HWY_INLINE void add_block(const float* const* values, Index count, Index i, const float* weights, Index padded,
                          float* out) {
  const Floats d;
  Tile<kValues, kVectors> sums;
  for (Index e = 0; e < count; ++e) {
    Vector w[kLength<kVectors>];
#pragma GCC unroll 8
    for (Index v = 0; v < kVectors; ++v) w[v] = hn::LoadU(d, weights + e * padded + v * kLanes);
    const float* value = values[e] + i;
#pragma GCC unroll 8
    for (Index a = 0; a < kValues; ++a) {
      const Vector by = hn::Set(d, value[a]);
#pragma GCC unroll 8
      for (Index v = 0; v < kVectors; ++v) sums.at[a][v] = hn::MulAdd(by, w[v], sums.at[a][v]);
    }
  }
  sums.add_to(out + i * padded, padded, kLanes);
}

template <Index kVectors>
void add_run(const float* const* values, Index count, Index width, const float* weights, Index padded, float* out) {
  Index i = 0;
  for (; i + kAlong <= width; i += kAlong) add_block<kAlong, kVectors>(values, count, i, weights, padded, out);
  for (; i < width; ++i) add_block<1, kVectors>(values, count, i, weights, padded, out);
}

void add_values_side_by_side(const StoredRows& values, const float* weights, Index padded, float* sums,
                             float* scratch) {
  const float* rows[kLength<kRun>];
  for (Index first = 0; first < values.count; first += kRun) {
    const Index count = std::min(kRun, values.count - first);
    for (Index e = 0; e < count; ++e) rows[e] = as_floats(values, first + e, scratch + e * values.width);
    const float* of_run = weights + first * padded;
    Index q = 0;
    for (; q + kAcross * kLanes <= padded; q += kAcross * kLanes)
      add_run<kAcross>(rows, count, values.width, of_run + q, padded, sums + q);
    for (; q < padded; q += kLanes) add_run<1>(rows, count, values.width, of_run + q, padded, sums + q);
  }
}

Index padded_queries(Index queries) { return (queries + kLanes - 1) / kLanes * kLanes; }

void exponentials_side_by_side(float* scores, Index count, Index padded, float* totals) {
  const Floats d;
  for (Index q = 0; q < padded; q += kLanes) {
    Vector largest = hn::LoadU(d, scores + q);
    for (Index e = 1; e < count; ++e) largest = hn::Max(largest, hn::LoadU(d, scores + e * padded + q));
    Vector total = hn::Zero(d);
    for (Index first = 0; first < count; first += kRun) {
      Vector run = hn::Zero(d);
      for (Index e = first; e < std::min(count, first + kRun); ++e) {
        float* at = scores + e * padded + q;
        const Vector value = exponential(hn::Sub(hn::LoadU(d, at), largest));
        hn::StoreU(value, d, at);
        run = hn::Add(run, value);
      }
      total = hn::Add(total, run);
    }
    hn::StoreU(total, d, totals + q);
  }
}

// ---- rows ----

// scores[q * stride] = scale * the sum of sums[q]'s lanes.
template <Index kQueries>
HWY_INLINE void store_sums(const Vector (&sums)[kLength<kQueries>], float scale, float* scores, Index stride) {
  const Floats d;
  Index q = 0;
#if HWY_TARGET != HWY_SCALAR
  // Four at a time: a sum across one vector takes as many steps as one across four that are woven into each other.
  const hn::RepartitionToWide<Floats> pairs;
  const hn::FixedTag<float, 4> four;
  for (; q + 4 <= kQueries; q += 4) {
    const Vector ab =
        hn::Add(hn::InterleaveLower(d, sums[q], sums[q + 1]), hn::InterleaveUpper(d, sums[q], sums[q + 1]));
    const Vector ce =
        hn::Add(hn::InterleaveLower(d, sums[q + 2], sums[q + 3]), hn::InterleaveUpper(d, sums[q + 2], sums[q + 3]));
    const auto first = hn::BitCast(pairs, ab), second = hn::BitCast(pairs, ce);
    HWY_ALIGN float blocks[kLength<kLanes>];
    hn::Store(hn::Add(hn::BitCast(d, hn::InterleaveLower(pairs, first, second)),
                      hn::BitCast(d, hn::InterleaveUpper(pairs, first, second))),
              d, blocks);
    auto sum = hn::Load(four, blocks);
    for (Index i = 4; i < kLanes; i += 4) sum = hn::Add(sum, hn::Load(four, blocks + i));
    hn::Store(hn::Mul(sum, hn::Set(four, scale)), four, blocks);
    for (Index i = 0; i < 4; ++i) scores[(q + i) * stride] = blocks[i];
  }
#endif
  for (; q < kQueries; ++q) scores[q * stride] = scale * hn::GetLane(hn::SumOfLanes(d, sums[q]));
}

template <DType type, Index kQueries>
void score_queries(const StoredRows& keys, const float* queries, float scale, float* scores, Index stride) {
  const Floats d;
  const Index width = keys.width, whole = width / kLanes * kLanes;
  for (Index e = 0; e < keys.count; ++e) {
    if (e + kAhead < keys.count) {
      for (Index b = 0; b < width * kStoredBytes<type>; b += 64) hwy::Prefetch(keys.rows[e + kAhead] + b);
    }
    Vector sums[kLength<kQueries>];
#pragma GCC unroll 8
    for (Index q = 0; q < kQueries; ++q) sums[q] = hn::Zero(d);
    for (Index i = 0; i < whole; i += kLanes) {
      const Vector key = load_stored<type>(keys.rows[e] + i * kStoredBytes<type>);
#pragma GCC unroll 8
      for (Index q = 0; q < kQueries; ++q) sums[q] = hn::MulAdd(key, hn::LoadU(d, queries + q * width + i), sums[q]);
    }
    if (whole < width) {
      const Vector key = load_stored_part<type>(keys.rows[e] + whole * kStoredBytes<type>, width - whole);
#pragma GCC unroll 8
      for (Index q = 0; q < kQueries; ++q)
        sums[q] = hn::MulAdd(key, load_part(queries + q * width + whole, width - whole, 0.0F), sums[q]);
    }
    store_sums<kQueries>(sums, scale, scores + e, stride);
  }
}

// Sums over a run of entries of `kVectors` vectors of values.
template <DType type, Index kQueries, Index kVectors>
HWY_INLINE void add_queries(const std::byte* const* values, Index count, Index width, Index i, const float* weights,
                            Index stride, float* out) {
  const Floats d;
  Tile<kQueries, kVectors> sums;
  for (Index e = 0; e < count; ++e) {
    Vector value[kLength<kVectors>];
#pragma GCC unroll 8
    for (Index v = 0; v < kVectors; ++v)
      value[v] = load_stored<type>(values[e] + (i + v * kLanes) * kStoredBytes<type>);
#pragma GCC unroll 8
    for (Index q = 0; q < kQueries; ++q) {
      const Vector by = hn::Set(d, weights[q * stride + e]);
#pragma GCC unroll 8
      for (Index v = 0; v < kVectors; ++v) sums.at[q][v] = hn::MulAdd(by, value[v], sums.at[q][v]);
    }
  }
  sums.add_to(out + i, width, kLanes);
}

template <DType type, Index kQueries>
void add_run_of_rows(const StoredRows& values, Index first, Index count, const float* weights, Index stride,
                     float* sums) {
  constexpr Index kVectors = 4;
  const std::byte* const* rows = values.rows + first;
  const Index width = values.width;
  Index i = 0;
  for (; i + kVectors * kLanes <= width; i += kVectors * kLanes)
    add_queries<type, kQueries, kVectors>(rows, count, width, i, weights + first, stride, sums);
  for (; i + kLanes <= width; i += kLanes)
    add_queries<type, kQueries, 1>(rows, count, width, i, weights + first, stride, sums);
  if (i == width) return;
  for (Index q = 0; q < kQueries; ++q) {
    Vector sum = hn::Zero(Floats());
    for (Index e = 0; e < count; ++e)
      sum = hn::MulAdd(hn::Set(Floats(), weights[q * stride + first + e]),
                       load_stored_part<type>(rows[e] + i * kStoredBytes<type>, width - i), sum);
    float rest[kLength<kLanes>];
    hn::StoreU(sum, Floats(), rest);
    for (Index j = i; j < width; ++j) sums[q * width + j] += rest[j - i];
  }
}

template <DType type, Index kQueries>
void add_to_queries(const StoredRows& values, const float* weights, Index stride, float* sums) {
  for (Index first = 0; first < values.count; first += kRun) {
    const Index count = std::min(kRun, values.count - first);
    for (Index e = first + count; e < std::min(values.count, first + count + kRun); ++e) {
      for (Index b = 0; b < values.width * kStoredBytes<type>; b += 64) hwy::Prefetch(values.rows[e] + b);
    }
    add_run_of_rows<type, kQueries>(values, first, count, weights, stride, sums);
  }
}

// Calls work<number>(first) for 4, 2 and 1 queries, as often as fit.
template <class Four, class Two, class One>
void in_parts(Index count, const Four& four, const Two& two, const One& one) {
  Index q = 0;
  for (; q + 4 <= count; q += 4) four(q);
  for (; q + 2 <= count; q += 2) two(q);
  for (; q < count; ++q) one(q);
}

template <DType type>
void score_rows_as(const StoredRows& keys, const float* x, Index count, float scale, float* out, Index stride) {
  if (count == kFewQueries) return score_queries<type, kFewQueries>(keys, x, scale, out, stride);
  const Index w = keys.width;
  in_parts(
      count, [&](Index q) { score_queries<type, 4>(keys, x + q * w, scale, out + q * stride, stride); },
      [&](Index q) { score_queries<type, 2>(keys, x + q * w, scale, out + q * stride, stride); },
      [&](Index q) { score_queries<type, 1>(keys, x + q * w, scale, out + q * stride, stride); });
}

template <DType type>
void add_rows_as(const StoredRows& values, const float* weights, Index count, Index stride, float* sums) {
  const Index w = values.width;
  in_parts(
      count, [&](Index q) { add_to_queries<type, 4>(values, weights + q * stride, stride, sums + q * w); },
      [&](Index q) { add_to_queries<type, 2>(values, weights + q * stride, stride, sums + q * w); },
      [&](Index q) { add_to_queries<type, 1>(values, weights + q * stride, stride, sums + q * w); });
}

void score_rows(const StoredRows& keys, const float* queries, Index count, float scale, float* scores, Index stride) {
  switch (keys.type) {
    case DType::bf16: return score_rows_as<DType::bf16>(keys, queries, count, scale, scores, stride);
    case DType::f16: return score_rows_as<DType::f16>(keys, queries, count, scale, scores, stride);
    default: return score_rows_as<DType::f32>(keys, queries, count, scale, scores, stride);
  }
}

void add_values_rows(const StoredRows& values, const float* weights, Index count, Index stride, float* sums) {
  switch (values.type) {
    case DType::bf16: return add_rows_as<DType::bf16>(values, weights, count, stride, sums);
    case DType::f16: return add_rows_as<DType::f16>(values, weights, count, stride, sums);
    default: return add_rows_as<DType::f32>(values, weights, count, stride, sums);
  }
}

}  // namespace
}  // namespace mlbench::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mlbench::cpu {
namespace {
HWY_EXPORT(padded_queries);
HWY_EXPORT(score_side_by_side);
HWY_EXPORT(exponentials_side_by_side);
HWY_EXPORT(add_values_side_by_side);
HWY_EXPORT(score_rows);
HWY_EXPORT(add_values_rows);
}  // namespace

Index padded_queries(Index queries) { return HWY_DYNAMIC_DISPATCH(padded_queries)(queries); }

void score_side_by_side(const StoredRows& keys, const float* queries, Index padded, float scale, float* scores,
                        float* scratch) {
  HWY_DYNAMIC_DISPATCH(score_side_by_side)(keys, queries, padded, scale, scores, scratch);
}
void exponentials_side_by_side(float* scores, Index count, Index padded, float* totals) {
  HWY_DYNAMIC_DISPATCH(exponentials_side_by_side)(scores, count, padded, totals);
}
void add_values_side_by_side(const StoredRows& values, const float* weights, Index padded, float* sums,
                             float* scratch) {
  HWY_DYNAMIC_DISPATCH(add_values_side_by_side)(values, weights, padded, sums, scratch);
}
void score_rows(const StoredRows& keys, const float* queries, Index count, float scale, float* scores, Index stride) {
  HWY_DYNAMIC_DISPATCH(score_rows)(keys, queries, count, scale, scores, stride);
}
void add_values_rows(const StoredRows& values, const float* weights, Index count, Index stride, float* sums) {
  HWY_DYNAMIC_DISPATCH(add_values_rows)(values, weights, count, stride, sums);
}

}  // namespace mlbench::cpu
#endif
