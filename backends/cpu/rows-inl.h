// Loops over the values of rows, in vectors: whatever the length and the alignment, each value is computed by the same
// steps. For files that are compiled once for every instruction set: they include this behind Highway's own headers.
#if defined(MLBENCH_CPU_ROWS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef MLBENCH_CPU_ROWS_INL_H
#undef MLBENCH_CPU_ROWS_INL_H
#else
#define MLBENCH_CPU_ROWS_INL_H
#endif

#include <algorithm>

#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

#include "backends/cpu/stored-inl.h"

HWY_BEFORE_NAMESPACE();
namespace mlbench::cpu::HWY_NAMESPACE {

// What is left at the end of a row, less than a vector: `count` values from `x` on, and `rest` in the other lanes.
HWY_INLINE Vector load_part(const float* x, Index count, float rest) {
  const Floats d;
#if HWY_MEM_OPS_MIGHT_FAULT
  HWY_ALIGN float values[kLength<kLanes>];
  std::fill_n(values, kLanes, rest);
  std::copy_n(x, count, values);
  return hn::Load(d, values);
#else
  const auto some = hn::FirstN(d, static_cast<std::size_t>(count));
  return hn::IfThenElse(some, hn::MaskedLoad(some, d, x), hn::Set(d, rest));
#endif
}

HWY_INLINE void store_part(Vector v, float* y, Index count) {
  const Floats d;
#if HWY_MEM_OPS_MIGHT_FAULT
  HWY_ALIGN float values[kLength<kLanes>];
  hn::Store(v, d, values);
  std::copy_n(values, count, y);
#else
  hn::BlendedStore(v, hn::FirstN(d, static_cast<std::size_t>(count)), d, y);
#endif
}

// e^x for x <= 0, within a unit in the last place: 0 of -infinity, and NaN of NaN, which Highway's would make 0.
HWY_INLINE Vector exponential(Vector x) { return hn::IfThenElse(hn::IsNaN(x), x, hn::Exp(Floats(), x)); }

// y[i] = formula(x[i]...), where each x may be y.
template <class Formula, class... Values>
HWY_INLINE void transform(Index count, const Formula& formula, float* y, const Values*... x) {
  const Floats d;
  Index i = 0;
  for (; i + kLanes <= count; i += kLanes) hn::StoreU(formula(hn::LoadU(d, x + i)...), d, y + i);
  if (i < count) store_part(formula(load_part(x + i, count - i, 0.0F)...), y + i, count - i);
}

// Folds what fold.add(folded, x[i]...) adds to fold.start(), in four vectors, so that no addition waits for the one
// before and chains of roundings stay short; fold.join() puts them together. Lanes beyond the end have fold.rest().
template <class Fold, class... Values>
HWY_INLINE Vector folded(Index count, const Fold& fold, const Values*... x) {
  const Floats d;
  Vector a = fold.start(), b = a, c = a, e = a;
  Index i = 0;
  for (; i + 4 * kLanes <= count; i += 4 * kLanes) {
    a = fold.add(a, hn::LoadU(d, x + i)...);
    b = fold.add(b, hn::LoadU(d, x + i + kLanes)...);
    c = fold.add(c, hn::LoadU(d, x + i + 2 * kLanes)...);
    e = fold.add(e, hn::LoadU(d, x + i + 3 * kLanes)...);
  }
  for (; i + kLanes <= count; i += kLanes) a = fold.add(a, hn::LoadU(d, x + i)...);
  if (i < count) b = fold.add(b, load_part(x + i, count - i, fold.rest())...);
  return fold.join(fold.join(a, b), fold.join(c, e));
}

}  // namespace mlbench::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
