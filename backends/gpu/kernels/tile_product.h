// A warp's product of small tiles: sums[16, n] += left[16, 16] right[16, n], factors bf16 or f16, sums float32, all
// spread over the lanes. With CUDA it is one instruction of the tensor cores (PTX ISA, mma.sync.aligned.m16n8k16), with
// HIP and warps of 64 one of the matrix cores (AMD, "Instinct MI200" and "MI300 Instruction Set Architecture",
// v_mfma_f32_16x16x16): their layouts are used everywhere. The host exchanges factors between lanes, multiplies exactly
// and adds in order, in float32.
//
// Warps of 32: n = 8. Lane l has, with row = l / 4 and column = 2 (l % 4), of
//   sums   [row, column], [row, column + 1], [row + 8, column], [row + 8, column + 1]
//   left   pairs at [row, column], [row + 8, column], [row, column + 8], [row + 8, column + 8], each with its right
//          neighbour
//   right  pairs at [column, row], [column + 8, row], each with its lower neighbour
// Warps of 64: n = 16, and the instruction is given right^T left^T. Lane l has, with row = l % 16 and
// column = 4 (l / 16), of
//   sums   [row, column] to [row, column + 3]
//   left   pairs at [row, column], [row, column + 2], each with its right neighbour
//   right  pairs at [column, row], [column + 2, row], each with its lower neighbour
// so that in both four lanes share a row, and tiles of sums, side by side up to 16 columns and rounded, are a left
// tile.
#pragma once

#include <type_traits>

#include "backends/gpu/kernels/vocabulary.h"

namespace mlbench::gpu::MLBENCH_GPU_TARGET {

// Of tiles in a lane: rows, neighbouring columns of sums, columns of all lanes together, from a pair of a row or column
// to the next, and the lanes of a row: l, l ^ kNextLane, l ^ 2 kNextLane, l ^ 3 kNextLane.
template <int W>
inline constexpr int kLaneRows = W == 32 ? 2 : 1;
template <int W>
inline constexpr int kLaneColumns = W == 32 ? 2 : 4;
template <int W>
inline constexpr int kTileWidth = 4 * kLaneColumns<W>;
template <int W>
inline constexpr int kPairStep = W == 32 ? 8 : 2;
template <int W>
inline constexpr int kNextLane = W == 32 ? 1 : 16;

// A lane's first row and first column.
template <int W>
GPU_DEVICE int tile_row(Here here = Here::current()) {
  return W == 32 ? lane<W>(here) / 4 : lane<W>(here) % 16;
}
template <int W>
GPU_DEVICE int tile_column(Here here = Here::current()) {
  return W == 32 ? lane<W>(here) % 4 * 2 : lane<W>(here) / 16 * 4;
}

// Two neighbours, the first in the lower half.
using Pair = std::uint32_t;

// Value kLaneColumns i + j is of the lane's row i and column j.
struct SumTile {
  float values[4] = {};
};
// Pair kLaneRows i + j is the i-th of the lane's row j.
template <int W, class T>
struct LeftTile {
  Values<Pair, 2 * kLaneRows<W>> pairs;
};
template <class T>
struct RightTile {
  Pair pairs[2];
};

template <class T>
GPU_DEVICE Pair pair_of(T first, T second) {
  return static_cast<Pair>(first.bits) | static_cast<Pair>(second.bits) << 16U;
}

// Rounded to nearest even.
template <class T>
GPU_DEVICE Pair rounded_pair(float first, float second) {
  return pair_of(from_float<T>(first), from_float<T>(second));
}

// One of the two, 0 or 1.
template <class T>
GPU_DEVICE T of_pair(Pair pair, int which) {
  return T{static_cast<std::uint16_t>(pair >> (which == 0 ? 0U : 16U))};
}

// Infinite values and those that are no numbers become 0.
template <class T>
GPU_DEVICE Pair finite_pair(Pair pair) {
  constexpr Pair kExponent = std::is_same_v<T, bf16> ? 0x7F80U : 0x7C00U;
  if ((pair & kExponent) == kExponent) pair &= 0xFFFF0000U;
  if ((pair >> 16U & kExponent) == kExponent) pair &= 0xFFFFU;
  return pair;
}

// Sum tiles side by side, of 16 columns together, rounded.
template <int W, class T>
GPU_DEVICE LeftTile<W, T> left_tile(const SumTile* tiles) {
  LeftTile<W, T> out;
  for (int i = 0; i < 2 * kLaneRows<W>; ++i) {
    const float* values = tiles[i / 2].values + i % 2 * 2;
    out.pairs[i] = rounded_pair<T>(values[0], values[1]);
  }
  return out;
}

#if defined(GPU_TENSOR_CORES)

// right[k][n] = memory[n * pitch + k], in shared memory: its columns stand as rows there. Rows of memory are aligned to
// 16 bytes.
template <int W, class T>
GPU_DEVICE RightTile<T> right_tile_of_rows(const T* memory, int pitch) {
  const int l = lane<W>() % 16;  // of 8 rows, then of the same rows 8 values on
  const auto address = static_cast<unsigned>(__cvta_generic_to_shared(memory + l % 8 * pitch + l / 8 * 8));
  RightTile<T> out;
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
               : "=r"(out.pairs[0]), "=r"(out.pairs[1])
               : "r"(address)
               : "memory");
  return out;
}

// right[k][n] = memory[k * pitch + n], likewise.
template <int W, class T>
GPU_DEVICE RightTile<T> right_tile(const T* memory, int pitch) {
  const auto address = static_cast<unsigned>(__cvta_generic_to_shared(memory + lane<W>() % 16 * pitch));
  RightTile<T> out;
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
               : "=r"(out.pairs[0]), "=r"(out.pairs[1])
               : "r"(address)
               : "memory");
  return out;
}

template <int W>
GPU_DEVICE void add_product(SumTile& sums, const LeftTile<W, bf16>& left, const RightTile<bf16>& right) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(sums.values[0]), "+f"(sums.values[1]), "+f"(sums.values[2]), "+f"(sums.values[3])
      : "r"(left.pairs[0]), "r"(left.pairs[1]), "r"(left.pairs[2]), "r"(left.pairs[3]), "r"(right.pairs[0]),
        "r"(right.pairs[1]));
}

template <int W>
GPU_DEVICE void add_product(SumTile& sums, const LeftTile<W, f16>& left, const RightTile<f16>& right) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(sums.values[0]), "+f"(sums.values[1]), "+f"(sums.values[2]), "+f"(sums.values[3])
      : "r"(left.pairs[0]), "r"(left.pairs[1]), "r"(left.pairs[2]), "r"(left.pairs[3]), "r"(right.pairs[0]),
        "r"(right.pairs[1]));
}

#else

template <int W, class T>
GPU_DEVICE RightTile<T> right_tile_of_rows(const T* memory, int pitch) {
  const T* from = memory + tile_row<W>() * pitch + tile_column<W>();
  return {{pair_of(from[0], from[1]), pair_of(from[kPairStep<W>], from[kPairStep<W> + 1])}};
}

template <int W, class T>
GPU_DEVICE RightTile<T> right_tile(const T* memory, int pitch) {
  const T* from = memory + tile_column<W>() * pitch + tile_row<W>();
  const T* next = from + kPairStep<W> * pitch;
  return {{pair_of(from[0], from[pitch]), pair_of(next[0], next[pitch])}};
}

#if defined(GPU_MATRIX_CORES)

template <class Values>
GPU_DEVICE Values of_pairs(Pair first, Pair second) {
  const Pair pairs[2] = {first, second};
  return __builtin_bit_cast(Values, pairs);
}

template <int W, class T>
GPU_DEVICE void add_product(SumTile& sums, const LeftTile<W, T>& left, const RightTile<T>& right) {
  using Sums = float __attribute__((ext_vector_type(4)));
  Sums out = __builtin_bit_cast(Sums, sums.values);
  if constexpr (std::is_same_v<T, bf16>) {
    using Factors = short __attribute__((ext_vector_type(4)));
    out = __builtin_amdgcn_mfma_f32_16x16x16bf16_1k(of_pairs<Factors>(right.pairs[0], right.pairs[1]),
                                                    of_pairs<Factors>(left.pairs[0], left.pairs[1]), out, 0, 0, 0);
  } else {
    using Factors = _Float16 __attribute__((ext_vector_type(4)));
    out = __builtin_amdgcn_mfma_f32_16x16x16f16(of_pairs<Factors>(right.pairs[0], right.pairs[1]),
                                                of_pairs<Factors>(left.pairs[0], left.pairs[1]), out, 0, 0, 0);
  }
  for (int i = 0; i < 4; ++i) sums.values[i] = out[i];
}

#else

// Sixteen values of a row of `left` or of a column of `right`, counted within the lanes' first rows, of which four
// lanes have pairs a and b each.
template <int W, class T>
GPU_DEVICE void gather_line(Pair a, Pair b, int which, Values<float, 16>& line) {
  const std::uint64_t own = static_cast<std::uint64_t>(a) | static_cast<std::uint64_t>(b) << 32U;
  const int first = W == 32 ? which * 4 : which;
  for (int i = 0; i < 4; ++i) {
    const std::uint64_t pairs = shuffle<W>(own, first + i * kNextLane<W>);
    for (int j = 0; j < 2; ++j) {
      line[kLaneColumns<W> * i + j] = to_float(of_pair<T>(static_cast<Pair>(pairs), j));
      line[kLaneColumns<W> * i + kPairStep<W> + j] = to_float(of_pair<T>(static_cast<Pair>(pairs >> 32U), j));
    }
  }
}

template <int W, class T>
GPU_DEVICE void add_product(SumTile& sums, const LeftTile<W, T>& left, const RightTile<T>& right) {
  constexpr int kRows = kLaneRows<W>, kColumns = kLaneColumns<W>;
  Values<Values<float, 16>, kRows> rows;
  Values<Values<float, 16>, kColumns> columns;
  for (int i = 0; i < kRows; ++i) {
    gather_line<W, T>(left.pairs[i], left.pairs[i + kRows], tile_row<W>(), rows[i]);
  }
  for (int i = 0; i < kColumns; ++i) {
    gather_line<W, T>(right.pairs[0], right.pairs[1], tile_column<W>() + i, columns[i]);
  }
  for (int i = 0; i < 4; ++i) {
    for (int k = 0; k < 16; ++k) sums.values[i] += rows[i / kColumns][k] * columns[i % kColumns][k];
  }
}

#endif
#endif

}  // namespace mlbench::gpu::MLBENCH_GPU_TARGET
