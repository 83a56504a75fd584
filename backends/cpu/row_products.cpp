#include "backends/cpu/row_products.h"

#include <algorithm>

// Compiled once for every instruction set: this file includes itself.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/row_products.cpp"
#include <hwy/foreach_target.h>
// Behind it, not in the order of names.
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include "backends/cpu/stored-inl.h"

HWY_BEFORE_NAMESPACE();
namespace mlbench::cpu::HWY_NAMESPACE {
namespace {

// Of up to so many rows, every other vector's products are summed apart: one sum need not wait for another.
constexpr Index kTwoChains = 4;
template <Index kRows>
constexpr Index kChains = kRows <= kTwoChains ? 2 : 1;
// Where several rows of x are larger than what a first-level cache holds of them, they are taken in parts, each for a
// panel of outputs.
constexpr Index kNear = 6144, kPart = 512, kPanel = 15;
// Bytes that are fetched before they are read. Processors foresee none beyond a page, which is one row of a weight.
constexpr Index kAhead = 4096;

// Sums of a panel of outputs between two parts of x.
struct Partial {
  alignas(64) float values[kLength<kPanel * kFewRows * kLanes>];

  [[nodiscard]] float* at(Index output, Index row, Index chain) {
    return values + (output * kFewRows + row + kTwoChains * chain) * kLanes;
  }
};

// `kRows` rows of x with `kTogether` rows of the weight. Loops over them are unrolled, so that the sums stay in
// registers.
template <DType type, Index kRows, Index kTogether>
class Block {
 public:
  // `ahead`: where what is fetched meanwhile stands behind what is read, in bytes.
  Block(const RowProduct& product, Index ahead) : p_(product), ahead_(ahead) {}

  void run(Index first) const {
    Sums sums;
    start(sums);
    add_part(first, 0, p_.in, sums);
    finish(first, sums);
  }

  // Values [begin, end) of all; `partial` has the sums from begin on, its output `place` is `first`.
  void run_part(Index first, Index begin, Index end, Index place, Partial& partial) const {
    Sums sums;
    if (begin == 0) {
      start(sums);
    } else {
      each([&](Index r, Index n, Index c)
               HWY_ATTR { sums.at[r][n][c] = hn::Load(Floats(), partial.at(place + n, r, c)); });
    }
    add_part(first, begin, end, sums);
    if (end == p_.in) return finish(first, sums);
    each([&](Index r, Index n, Index c)
             HWY_ATTR { hn::Store(sums.at[r][n][c], Floats(), partial.at(place + n, r, c)); });
  }

 private:
  static constexpr Index kBytes = kStoredBytes<type>;
  struct Sums {
    Vector at[kLength<kRows>][kLength<kTogether>][kLength<kChains<kRows>>];
  };

  template <class Do>
  static HWY_INLINE void each(const Do& work) {
#pragma GCC unroll 8
    for (Index r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
      for (Index n = 0; n < kTogether; ++n) {
#pragma GCC unroll 8
        for (Index c = 0; c < kChains<kRows>; ++c) work(r, n, c);
      }
    }
  }

  static HWY_INLINE void start(Sums& sums) {
    each([&](Index r, Index n, Index c) HWY_ATTR { sums.at[r][n][c] = hn::Zero(Floats()); });
  }

  HWY_INLINE void add_part(Index first, Index begin, Index end, Sums& sums) const {
    const std::byte* weights = p_.weight + first * p_.in * kBytes;
    Index i = begin;
    for (; i + kChains<kRows> * kLanes <= end; i += kChains<kRows> * kLanes) {
      const std::byte* at = weights + i * kBytes;
#pragma GCC unroll 8
      for (Index n = 0; n < kTogether; ++n) {
#pragma GCC unroll 8
        for (Index b = 0; b < kChains<kRows> * kLanes * kBytes; b += 64)
          hwy::Prefetch(at + n * p_.in * kBytes + b + ahead_);
      }
#pragma GCC unroll 8
      for (Index c = 0; c < kChains<kRows>; ++c) add_whole(i + c * kLanes, at + c * kLanes * kBytes, c, sums);
    }
    if (i + kLanes <= end) {
      add_whole(i, weights + i * kBytes, 0, sums);
      i += kLanes;
    }
    if (i == end) return;
    // What is left of a vector; zeros follow in x.
    add(i, kChains<kRows> - 1, sums,
        [&](Index n) HWY_ATTR { return load_stored_part<type>(weights + (n * p_.in + i) * kBytes, end - i); });
  }

  HWY_INLINE void finish(Index first, const Sums& sums) const {
#pragma GCC unroll 8
    for (Index r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
      for (Index n = 0; n < kTogether; ++n) {
        const Vector all =
            kChains<kRows> == 1 ? sums.at[r][n][0] : hn::Add(sums.at[r][n][0], sums.at[r][n][kChains<kRows> - 1]);
        const float sum = hn::GetLane(hn::SumOfLanes(Floats(), all));
        p_.y[r * p_.stride + first + n] = p_.bias == nullptr ? sum : sum + p_.bias[first + n];
      }
    }
  }

  // A vector of every row of x, from value `i` on, with one of every row of the weight, which `load` gives.
  template <class Load>
  HWY_INLINE void add(Index i, Index chain, Sums& sums, const Load& load) const {
    Vector weights[kLength<kTogether>];
#pragma GCC unroll 8
    for (Index n = 0; n < kTogether; ++n) weights[n] = load(n);
#pragma GCC unroll 8
    for (Index r = 0; r < kRows; ++r) {
      const Vector row = hn::LoadU(Floats(), p_.x + i * kRows + r * kLanes);
#pragma GCC unroll 8
      for (Index n = 0; n < kTogether; ++n) sums.at[r][n][chain] = hn::MulAdd(row, weights[n], sums.at[r][n][chain]);
    }
  }
  HWY_INLINE void add_whole(Index i, const std::byte* w, Index chain, Sums& sums) const {
    add(i, chain, sums, [&](Index n) HWY_ATTR { return load_stored<type>(w + n * p_.in * kBytes); });
  }

  const RowProduct& p_;
  Index ahead_;
};

// Outputs that are computed together, so that each value of x that is read serves all of them: as many as registers
// have room for.
template <Index kRows>
constexpr Index kOutputs = kRegisters < 32 || kRows < 3 ? 1
                           : kRows <= kTwoChains        ? 2
                                                        : 3;

template <DType type, Index kRows>
void multiply_near(const RowProduct& p, Index first, Index last) {
  const Index ahead = kOutputs<kRows> == 1 ? kAhead : kOutputs<kRows> * p.in * kStoredBytes<type>;
  for (; first + kOutputs<kRows> <= last; first += kOutputs<kRows>)
    Block<type, kRows, kOutputs<kRows>>(p, ahead).run(first);
  for (; first < last; ++first) Block<type, kRows, 1>(p, ahead).run(first);
}

template <DType type, Index kRows>
void multiply_far(const RowProduct& p, Index first, Index last) {
  Partial partial;
  const Index ahead = kPanel * p.in * kStoredBytes<type>;
  for (Index panel = first; panel < last; panel += kPanel) {
    const Index end = std::min(last, panel + kPanel);
    for (Index i = 0; i < p.in; i += kPart) {
      const Index part = std::min(p.in, i + kPart);
      Index n = panel;
      for (; n + kOutputs<kRows> <= end; n += kOutputs<kRows>)
        Block<type, kRows, kOutputs<kRows>>(p, ahead).run_part(n, i, part, n - panel, partial);
      for (; n < end; ++n) Block<type, kRows, 1>(p, ahead).run_part(n, i, part, n - panel, partial);
    }
  }
}

template <DType type, Index kRows>
void multiply_all(const RowProduct& p, Index first, Index last) {
  return kRows > 2 && kRows * p.in > kNear ? multiply_far<type, kRows>(p, first, last)
                                           : multiply_near<type, kRows>(p, first, last);
}

template <DType type>
void multiply_as(const RowProduct& p, Index first, Index last) {
  switch (p.rows) {
    case 1: return multiply_all<type, 1>(p, first, last);
    case 2: return multiply_all<type, 2>(p, first, last);
    case 3: return multiply_all<type, 3>(p, first, last);
    case 4: return multiply_all<type, 4>(p, first, last);
    case 5: return multiply_all<type, 5>(p, first, last);
    case 6: return multiply_all<type, 6>(p, first, last);
    case 7: return multiply_all<type, 7>(p, first, last);
    default: return multiply_all<type, kFewRows>(p, first, last);
  }
}

Index packed_values(Index rows, Index in) { return rows * ((in + kLanes - 1) / kLanes * kLanes); }

void pack_rows(const float* x, Index rows, Index in, float* packed) {
  for (Index i = 0; i < in; i += kLanes) {
    const Index count = std::min(kLanes, in - i);
    for (Index r = 0; r < rows; ++r, packed += kLanes) {
      std::copy_n(x + r * in + i, count, packed);
      std::fill_n(packed + count, kLanes - count, 0.0F);
    }
  }
}

void multiply_rows(const RowProduct& p, Index first, Index last) {
  switch (p.type) {
    case DType::bf16: return multiply_as<DType::bf16>(p, first, last);
    case DType::f16: return multiply_as<DType::f16>(p, first, last);
    default: return multiply_as<DType::f32>(p, first, last);
  }
}

}  // namespace
}  // namespace mlbench::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mlbench::cpu {
namespace {
HWY_EXPORT(packed_values);
HWY_EXPORT(pack_rows);
HWY_EXPORT(multiply_rows);
}  // namespace

Index packed_values(Index rows, Index in) { return HWY_DYNAMIC_DISPATCH(packed_values)(rows, in); }

void pack_rows(const float* x, Index rows, Index in, float* packed) {
  HWY_DYNAMIC_DISPATCH(pack_rows)(x, rows, in, packed);
}

void multiply_rows(const RowProduct& product, Index first, Index last) {
  HWY_DYNAMIC_DISPATCH(multiply_rows)(product, first, last);
}

}  // namespace mlbench::cpu
#endif
