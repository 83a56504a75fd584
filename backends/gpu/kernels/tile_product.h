// A warp's product of small tiles: sums[16, 8] += left[16, 16] right[16, 8], factors bf16 or f16, sums float32, all
// spread over the 32 lanes. With CUDA it is one instruction of the tensor cores (PTX ISA, mma.sync.aligned.m16n8k16:
// its layout is used everywhere); the host exchanges factors between lanes, multiplies exactly and adds in order, in
// float32.
//
// Lane l has, with row = l / 4 and column = 2 (l % 4), of
//   sums   [row, column], [row, column + 1], [row + 8, column], [row + 8, column + 1]
//   left   pairs at [row, column], [row + 8, column], [row, column + 8], [row + 8, column + 8], each with its right
//   neighbour right  pairs at [column, row], [column + 8, row], each with its lower neighbour
// so that two tiles of sums, side by side and rounded, are a left tile: pairs 0 and 1 of the first, 2 and 3 of the
// second.
//
// AMD's matrix units have other shapes and layouts: there is no such product with HIP yet.
#pragma once

#include <type_traits>

#include "backends/gpu/kernels/vocabulary.h"

namespace mlbench::gpu::MLBENCH_GPU_TARGET {

#if defined(__HIPCC__) || defined(__HIP__)
template <int W>
inline constexpr bool kHasTileProducts = false;
#else
template <int W>
inline constexpr bool kHasTileProducts = W == 32;
#endif

// Two neighbours, the first in the lower half.
using Pair = std::uint32_t;

struct SumTile {
  float values[4] = {};
};
template <class T>
struct LeftTile {
  Pair pairs[4];
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

// Two sum tiles side by side, rounded.
template <class T>
GPU_DEVICE LeftTile<T> left_tile(const SumTile& first, const SumTile& second) {
  return {{rounded_pair<T>(first.values[0], first.values[1]), rounded_pair<T>(first.values[2], first.values[3]),
           rounded_pair<T>(second.values[0], second.values[1]), rounded_pair<T>(second.values[2], second.values[3])}};
}

#if defined(__CUDACC__)

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
GPU_DEVICE void add_product(SumTile& sums, const LeftTile<bf16>& left, const RightTile<bf16>& right) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(sums.values[0]), "+f"(sums.values[1]), "+f"(sums.values[2]), "+f"(sums.values[3])
      : "r"(left.pairs[0]), "r"(left.pairs[1]), "r"(left.pairs[2]), "r"(left.pairs[3]), "r"(right.pairs[0]),
        "r"(right.pairs[1]));
}

template <int W>
GPU_DEVICE void add_product(SumTile& sums, const LeftTile<f16>& left, const RightTile<f16>& right) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(sums.values[0]), "+f"(sums.values[1]), "+f"(sums.values[2]), "+f"(sums.values[3])
      : "r"(left.pairs[0]), "r"(left.pairs[1]), "r"(left.pairs[2]), "r"(left.pairs[3]), "r"(right.pairs[0]),
        "r"(right.pairs[1]));
}

#elif !defined(__HIPCC__) && !defined(__HIP__)

template <int W, class T>
GPU_DEVICE RightTile<T> right_tile_of_rows(const T* memory, int pitch) {
  const T* from = memory + lane<W>() / 4 * pitch + lane<W>() % 4 * 2;
  return {{pair_of(from[0], from[1]), pair_of(from[8], from[9])}};
}

template <int W, class T>
GPU_DEVICE RightTile<T> right_tile(const T* memory, int pitch) {
  const T* from = memory + lane<W>() % 4 * 2 * pitch + lane<W>() / 4;
  return {{pair_of(from[0], from[pitch]), pair_of(from[8 * pitch], from[9 * pitch])}};
}

// Sixteen values of a row of `left` (upper: of the lower 8 rows) or of a column of `right`, which lane `first` and the
// next three have: pairs a and b of each.
template <int W, class T>
GPU_DEVICE void gather_line(Pair a, Pair b, int first, float (&line)[16]) {
  const std::uint64_t own = static_cast<std::uint64_t>(a) | static_cast<std::uint64_t>(b) << 32U;
  for (int i = 0; i < 4; ++i) {
    const std::uint64_t pairs = shuffle<W>(own, first + i);
    for (int j = 0; j < 2; ++j) {
      line[2 * i + j] = to_float(of_pair<T>(static_cast<Pair>(pairs), j));
      line[2 * i + 8 + j] = to_float(of_pair<T>(static_cast<Pair>(pairs >> 32U), j));
    }
  }
}

template <int W, class T>
GPU_DEVICE void add_product(SumTile& sums, const LeftTile<T>& left, const RightTile<T>& right) {
  static_assert(kHasTileProducts<W>);
  const int row = lane<W>() / 4, column = lane<W>() % 4 * 2;
  float rows[2][16], columns[2][16];
  for (int i = 0; i < 2; ++i) {
    gather_line<W, T>(left.pairs[i], left.pairs[i + 2], row * 4, rows[i]);
    gather_line<W, T>(right.pairs[0], right.pairs[1], (column + i) * 4, columns[i]);
  }
  for (int i = 0; i < 4; ++i) {
    for (int k = 0; k < 16; ++k) sums.values[i] += rows[i / 2][k] * columns[i % 2][k];
  }
}

#endif

}  // namespace mlbench::gpu::MLBENCH_GPU_TARGET
