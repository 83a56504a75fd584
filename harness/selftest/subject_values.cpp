#include "harness/selftest/subject_values.h"

#include <algorithm>

namespace mlbench::selftest {

Rows rows_of(const ConstTensorView& view, Index count) {
  const Index width = view.shape.back();
  std::vector<double> wide(static_cast<std::size_t>(count * width));
  widen(view.dtype, view.data, wide);
  Rows out({count, width});
  std::ranges::transform(wide, out.values().begin(), [](double value) { return static_cast<float>(value); });
  return out;
}

void copy_to(const Rows& rows, const TensorView& out) {
  const std::vector<double> wide(rows.values().begin(), rows.values().end());
  narrow(out.dtype, wide, out.data);
}

}  // namespace mlbench::selftest
