// One tap of a backend against its exact value, element by element.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "core/error.h"
#include "core/results.h"
#include "harness/compare.h"
#include "harness/error_model.h"
#include "harness/plan.h"
#include "models/taps.h"
#include "reference/tensor.h"

namespace mlbench::harness {

// Tokens of the rows of a tap: their positions, and the sequences that they belong to, as indices into the call's.
struct TapRows {
  std::vector<std::int32_t> positions;
  std::vector<Index> row_sequence;
};

// What a check looked at, for those who want to look too; valid while it is reported.
struct Sight {
  std::optional<TapLayout> layout;  // nothing: entries of the cache
  const ref::Tensor& expected;
  const ref::Tensor& got;
  const std::function<double(Index)>& limit;
  const std::map<Tap, Known>* inputs = nullptr;  // what the tap was computed from; null: the whole stack
};

// Sees every check; null where there is no tap to look at.
using Report = std::function<void(TapCheck, const Sight*)>;

// Where in a run a tap stands.
struct TapPlace {
  VerifyMode mode = VerifyMode::isolated;
  Inputs inputs = Inputs::random;
  const Call* call = nullptr;
  TapRows rows;
};

// The specs of a configuration by tap.
[[nodiscard]] const TapSpec& spec_of(const std::vector<TapSpec>& specs, Tap tap);

// "[17]", "head 2 [5]", "head 2 key 4"
[[nodiscard]] std::string describe_element(const TapSpec& spec, Index column, Index head);

// `limit` gives what the error of the element with that flat index must not exceed, `type` is what values are rounded
// to. Both tensors have one shape, in the layout of the spec.
[[nodiscard]] TapCheck check_tap(const TapPlace& place, const TapSpec& spec, TapId id, DType type,
                                 const ref::Tensor& expected, const ref::Tensor& got,
                                 const std::function<double(Index)>& limit);

// The figures of a comparison by one limit, and where it does not pass, the worst element.
[[nodiscard]] TapResult with_figures(const Comparison& comparison, Index elements);
[[nodiscard]] TapResult tap_result(const Comparison& comparison, const TapSpec& spec, TapId id,
                                   const ref::Tensor& expected, const ref::Tensor& got, const TapRows& rows);

// A limit for each element.
[[nodiscard]] inline std::function<double(Index)> limit_by_element(const ref::Tensor& limits) {
  return [&limits](Index i) { return limits.values()[static_cast<std::size_t>(i)]; };
}

// One limit for each row of tokens, whatever the layout.
[[nodiscard]] inline std::function<double(Index)> limit_by_row(const ref::Tensor& exact,
                                                               const std::vector<double>& limits) {
  return [cols = exact.cols(), rows = static_cast<Index>(limits.size()), &limits](Index i) {
    return limits[static_cast<std::size_t>(i / cols % rows)];
  };
}

// A tap that the backend gave in a shape that it cannot have.
[[nodiscard]] Error wrong_tap_shape(TapId id, const Shape& expected, const Shape& got);

}  // namespace mlbench::harness
