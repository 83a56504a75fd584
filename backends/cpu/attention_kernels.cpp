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

// What a loop holds the products of: vectors of queries or of a value, and entries or values of one.
constexpr Index kAcross = kRegisters == 32 ? 4 : 2, kAlong = 4;

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

// Entries of a page, and most pages of a cache, follow each other in memory: what stands so many bytes behind a value
// is fetched before its turn, by the first of the queries that share it. Processors do not foresee as much, having to
// start anew in every page of 4 KiB.
constexpr Index kAhead = 8192, kCacheLine = 64;

HWY_INLINE void fetch_ahead(const std::byte* from, Index bytes) {
  for (Index b = 0; b < bytes; b += kCacheLine) hwy::Prefetch(from + kAhead + b);
}

// The sums of four vectors' lanes are found together: across one vector alone they take as many steps.
constexpr Index kTogether = 4;

#if HWY_TARGET != HWY_SCALAR
using Block = hn::FixedTag<float, kTogether>;

// The sum of a vector's blocks of four lanes.
template <class D>
HWY_INLINE hn::Vec<Block> sum_of_blocks(D d, hn::Vec<D> v) {
  if constexpr (hn::MaxLanes(d) == kTogether) {
    return v;
  } else {
    const hn::Half<D> half;
    return sum_of_blocks(half, hn::Add(hn::LowerHalf(half, v), hn::UpperHalf(half, v)));
  }
}
#endif

// scores[e] = scale * the sum of sums[e]'s lanes, for `count` of the four.
HWY_INLINE void store_sums(const Vector (&sums)[kLength<kTogether>], float scale, float* scores, Index count) {
#if HWY_TARGET == HWY_SCALAR
  for (Index e = 0; e < count; ++e) scores[e] = scale * hn::GetLane(sums[e]);
#else
  const Floats d;
  const hn::RepartitionToWide<Floats> pairs;
  const Vector first = hn::Add(hn::InterleaveLower(d, sums[0], sums[1]), hn::InterleaveUpper(d, sums[0], sums[1]));
  const Vector second = hn::Add(hn::InterleaveLower(d, sums[2], sums[3]), hn::InterleaveUpper(d, sums[2], sums[3]));
  const auto a = hn::BitCast(pairs, first), b = hn::BitCast(pairs, second);
  const Vector all =
      hn::Add(hn::BitCast(d, hn::InterleaveLower(pairs, a, b)), hn::BitCast(d, hn::InterleaveUpper(pairs, a, b)));
  const auto scaled = hn::Mul(sum_of_blocks(d, all), hn::Set(Block(), scale));
  if (count == kTogether) return hn::StoreU(scaled, Block(), scores);
  HWY_ALIGN float some[kLength<kTogether>];
  hn::Store(scaled, Block(), some);
  std::copy_n(some, count, scores);
#endif
}

template <DType type, Index kQueries>
void score_queries(const StoredRows& keys, const float* queries, float scale, float* scores, Index stride, bool fetch) {
  const Index width = keys.width, whole = width / kLanes * kLanes;
  for (Index first = 0; first < keys.count; first += kTogether) {
    const Index count = std::min(kTogether, keys.count - first);
    const std::byte* rows[kLength<kTogether>];
    for (Index e = 0; e < kTogether; ++e) rows[e] = keys.rows[first + std::min(e, count - 1)];
    if (fetch) {
      for (Index e = 0; e < count; ++e) fetch_ahead(rows[e], width * kStoredBytes<type>);
    }
    Tile<kQueries, kTogether> sums;
    const auto add = [&](const auto& key_at, const auto& query_at) HWY_ATTR {
      Vector key[kLength<kTogether>];
#pragma GCC unroll 8
      for (Index e = 0; e < kTogether; ++e) key[e] = key_at(rows[e]);
#pragma GCC unroll 8
      for (Index q = 0; q < kQueries; ++q) {
        const Vector query = query_at(queries + q * width);
#pragma GCC unroll 8
        for (Index e = 0; e < kTogether; ++e) sums.at[q][e] = hn::MulAdd(key[e], query, sums.at[q][e]);
      }
    };
    for (Index i = 0; i < whole; i += kLanes) {
      add([&](const std::byte* row) HWY_ATTR { return load_stored<type>(row + i * kStoredBytes<type>); },
          [&](const float* query) HWY_ATTR { return hn::LoadU(Floats(), query + i); });
    }
    if (whole < width) {
      add([&](const std::byte* row)
              HWY_ATTR { return load_stored_part<type>(row + whole * kStoredBytes<type>, width - whole); },
          [&](const float* query) HWY_ATTR { return load_part(query + whole, width - whole, 0.0F); });
    }
#pragma GCC unroll 8
    for (Index q = 0; q < kQueries; ++q) store_sums(sums.at[q], scale, scores + q * stride + first, count);
  }
}

// Sums over a run of entries of `kVectors` vectors of values.
template <DType type, Index kQueries, Index kVectors>
HWY_INLINE void add_queries(const StoredRows& values, Index i, const float* weights, Index stride, float* sums,
                            bool fetch) {
  const Floats d;
  Tile<kQueries, kVectors> tile;
  for (Index e = 0; e < values.count; ++e) {
    Vector value[kLength<kVectors>];
    const std::byte* row = values.rows[e] + i * kStoredBytes<type>;
    if (fetch) fetch_ahead(row, kVectors * kLanes * kStoredBytes<type>);
#pragma GCC unroll 8
    for (Index v = 0; v < kVectors; ++v) value[v] = load_stored<type>(row + v * kLanes * kStoredBytes<type>);
#pragma GCC unroll 8
    for (Index q = 0; q < kQueries; ++q) {
      const Vector by = hn::Set(d, weights[q * stride + e]);
#pragma GCC unroll 8
      for (Index v = 0; v < kVectors; ++v) tile.at[q][v] = hn::MulAdd(by, value[v], tile.at[q][v]);
    }
  }
  tile.add_to(sums + i, values.width, kLanes);
}

template <DType type, Index kQueries>
void add_to_queries(const StoredRows& values, const float* weights, Index stride, float* sums, bool fetch) {
  constexpr Index kVectors = kAcross;
  const Index width = values.width;
  Index i = 0;
  for (; i + kVectors * kLanes <= width; i += kVectors * kLanes)
    add_queries<type, kQueries, kVectors>(values, i, weights, stride, sums, fetch);
  for (; i + kLanes <= width; i += kLanes) add_queries<type, kQueries, 1>(values, i, weights, stride, sums, fetch);
  if (i == width) return;
  for (Index q = 0; q < kQueries; ++q) {
    Vector sum = hn::Zero(Floats());
    for (Index e = 0; e < values.count; ++e)
      sum = hn::MulAdd(hn::Set(Floats(), weights[q * stride + e]),
                       load_stored_part<type>(values.rows[e] + i * kStoredBytes<type>, width - i), sum);
    float rest[kLength<kLanes>];
    hn::StoreU(sum, Floats(), rest);
    for (Index j = i; j < width; ++j) sums[q * width + j] += rest[j - i];
  }
}

// Calls work<number>(first) for 4, 2 and 1 queries, as often as fit.
template <class Work>
void in_parts(Index count, const Work& work) {
  Index q = 0;
  for (; q + 4 <= count; q += 4) work.template operator()<4>(q);
  for (; q + 2 <= count; q += 2) work.template operator()<2>(q);
  for (; q < count; ++q) work.template operator()<1>(q);
}

// Calls work(run, first) with run after run of entries, which stays in the nearest cache for all queries.
template <class Work>
void in_runs(const StoredRows& stored, const Work& work) {
  for (Index first = 0; first < stored.count; first += kRun)
    work(StoredRows{stored.type, stored.rows + first, std::min(kRun, stored.count - first), stored.width}, first);
}

template <DType type>
void score_rows_as(const StoredRows& keys, const float* queries, Index count, float scale, float* scores,
                   Index stride) {
  in_runs(keys, [&](const StoredRows& run, Index first) {
    in_parts(count, [&]<Index kQueries>(Index q) {
      constexpr Index kPart = std::min(kQueries, kAcross);
      for (Index part = q; part < q + kQueries; part += kPart)
        score_queries<type, kPart>(run, queries + part * keys.width, scale, scores + part * stride + first, stride,
                                   part == 0);
    });
  });
}

template <DType type>
void add_rows_as(const StoredRows& values, const float* weights, Index count, Index stride, float* sums) {
  in_runs(values, [&](const StoredRows& run, Index first) {
    in_parts(count, [&]<Index kQueries>(Index q) {
      add_to_queries<type, kQueries>(run, weights + q * stride + first, stride, sums + q * values.width, q == 0);
    });
  });
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
