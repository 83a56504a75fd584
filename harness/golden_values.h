// The values that a golden holds for a call, in the layout of taps.
#pragma once

#include "golden/golden_file.h"
#include "golden/hf_layout.h"
#include "harness/plan.h"
#include "models/taps.h"
#include "reference/tensor.h"

namespace mlbench::harness {

class GoldenValues {
 public:
  explicit GoldenValues(golden::GoldenFile& file) : file_(file) {}

  // Those of a dataset for the rows of a call over `sequences`, as a tap of that shape. Throws golden.shape. What comes
  // back is valid until the next call of this.
  const ref::Tensor& read(const golden::DatasetInfo& dataset, const GoldenRows& rows, Index sequences,
                          const TapSpec& spec, const Shape& shape);

 private:
  [[nodiscard]] ref::Tensor piece(const golden::DatasetInfo& dataset, Index first_row, const Shape& shape);

  golden::GoldenFile& file_;
  // Names of the same values follow each other; they are read once.
  std::uint64_t cached_object_ = 0;
  bool cached_part_ = false;
  ref::Tensor cached_;
};

}  // namespace mlbench::harness
