#include "harness/golden_values.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/error.h"

namespace mlbench::harness {

using golden::DatasetInfo;
using ref::Tensor;

Tensor GoldenValues::piece(const DatasetInfo& dataset, Index first_row, const Shape& shape) {
  const Tensor values = file_.read(dataset);
  if (values.cols() != shape[1] || values.rows() < first_row + shape[0]) {
    throw request_error("golden.shape", fmt::format("{}: dataset {} has shape {}: expected rows of {}", file_.path(),
                                                    in_quotes(dataset.path), to_string(values.shape()), shape[1]));
  }
  Tensor part(shape);
  std::copy_n(values.row(first_row).begin(), part.size(), part.values().begin());
  return part;
}

const Tensor& GoldenValues::read(const DatasetInfo& dataset, const GoldenRows& rows, Index sequences,
                                 const TapSpec& spec, const Shape& shape) {
  const bool same = dataset.object == cached_object_ && cached_.shape() == shape;  // links may join unequal taps
  if (same && !rows.part && !cached_part_) return cached_;
  if (!rows.part && element_count(dataset.shape) > element_count(shape)) {  // not worth its memory
    throw request_error("golden.shape",
                        fmt::format("{}: dataset {} has shape {}: the model gives {}", file_.path(),
                                    in_quotes(dataset.path), to_string(dataset.shape), to_string(shape)));
  }
  if (rows.part) {
    cached_ = piece(dataset, rows.first_row, shape);
  } else {
    // Rows of the equal prompts are `sequences` of one length; those of the ragged batch stand as they are.
    const bool equal = rows.step.group == golden::Group::prefill || rows.step.group == golden::Group::decode;
    cached_ =
        golden::to_tap_layout(file_.read(dataset), dataset, shape, spec.layout, equal ? sequences : 1, file_.path());
  }
  cached_object_ = dataset.object;
  cached_part_ = rows.part;
  return cached_;
}

}  // namespace mlbench::harness
