#include "harness/check_tap.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "core/error.h"

namespace mlbench::harness {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// A reference that overflowed on purpose is no excuse for a value that is not a number, nor the other way round.
double distance(double a, double b) { return std::isfinite(a) && std::isfinite(b) ? std::fabs(a - b) : kInfinity; }

double ratio_of(double error, double limit) {
  if (std::isfinite(error) && error <= limit) return limit > 0.0 ? error / limit : 0.0;
  return limit > 0.0 && std::isfinite(error) ? error / limit : kInfinity;
}

// Whether the mean of all values in the place of each would be within every limit: then there is nothing that this
// check could tell apart. Values that are all the same have nothing to tell.
bool constant_passes(const ref::Tensor& x, const std::function<double(Index)>& limit) {
  double sum = 0.0;
  for (const double value : x.values()) sum += value;
  const double mean = sum / static_cast<double>(x.size());
  bool varies = false;
  for (Index i = 0; i < x.size(); ++i) {
    const double value = x.values()[static_cast<std::size_t>(i)];
    varies |= value != x.values()[0];
    if (!(std::fabs(value - mean) <= limit(i))) return false;
  }
  return varies;
}

// Its sequence is an index.
Mismatch describe(const TapRows& rows, const TapSpec& spec, Index at, const ref::Tensor& expected,
                  const ref::Tensor& got) {
  const Index row = at / got.cols();  // rows: t; heads and probabilities: h * T + t
  const bool by_row = spec.layout == TapLayout::rows;
  const auto t = static_cast<std::size_t>(by_row ? row : row % got.dim(1));
  const auto i = static_cast<std::size_t>(at);
  Mismatch out;
  out.batch_row = rows.row_sequence[t];
  out.position = rows.positions[t];
  out.element = describe_element(spec, at % got.cols(), by_row ? 0 : row / got.dim(1));
  out.expected = expected.values()[i];
  out.computed = got.values()[i];
  return out;
}

}  // namespace

const TapSpec& spec_of(const std::vector<TapSpec>& specs, Tap tap) {
  return *std::ranges::find_if(specs, [&](const TapSpec& spec) { return spec.tap == tap; });
}

std::string describe_element(const TapSpec& spec, Index column, Index head) {
  switch (spec.layout) {
    case TapLayout::rows: return fmt::format("[{}]", column);
    case TapLayout::heads:
      return fmt::format("{} {} [{}]", spec.tap >= Tap::attn_part ? "shard" : "head", head, column);
    case TapLayout::probs: return fmt::format("head {} key {}", head, column);
  }
  return "";
}

TapCheck check_tap(const TapPlace& place, const TapSpec& spec, TapId id, DType type, const ref::Tensor& expected,
                   const ref::Tensor& got, const std::function<double(Index)>& limit) {
  TapCheck out;
  out.mode = place.mode;
  out.inputs = place.inputs;
  out.call = place.call->label;
  out.method = backends::name(place.call->method);
  out.tap = to_string(id);
  out.kind = name(id.tap);
  out.layer = id.layer;
  out.elements = expected.size();
  Index worst = -1;
  for (Index i = 0; i < expected.size(); ++i) {
    const auto at = static_cast<std::size_t>(i);
    const double want = expected.values()[at], value = got.values()[at], most = limit(i);
    const double error = distance(want, value);
    const double ratio = ratio_of(error, most);
    if (!(std::isfinite(error) && error <= most)) ++out.straying;
    if (worst >= 0 && ratio <= out.ratio) continue;
    worst = i;
    out.ratio = ratio;
    out.error = error;
    out.limit = most;
  }
  if (worst >= 0) {
    const auto at = static_cast<std::size_t>(worst);
    const double rounded = rounded_to(expected.values()[at], type);
    out.rounded_error = distance(rounded, got.values()[at]);
    out.rounding = distance(rounded, expected.values()[at]);
  }
  out.passed = out.straying == 0;
  out.loose = constant_passes(expected, limit);
  if (!out.passed) {
    out.worst = describe(place.rows, spec, worst, expected, got);
    out.worst->batch_row = place.call->ids[static_cast<std::size_t>(out.worst->batch_row)];
  }
  return out;
}

TapResult with_figures(const Comparison& comparison, Index elements) {
  TapResult result;
  result.elements = elements;
  result.straying = comparison.straying;
  result.max_error = comparison.max_error;
  result.max_expected = comparison.max_expected;
  result.limit = comparison.limit;
  result.passed = comparison.passed;
  return result;
}

TapResult tap_result(const Comparison& comparison, const TapSpec& spec, TapId id, const ref::Tensor& expected,
                     const ref::Tensor& got, const TapRows& rows) {
  TapResult result = with_figures(comparison, got.size());
  result.tap = to_string(id);
  result.layer = id.layer;
  if (!comparison.passed) result.worst = describe(rows, spec, comparison.worst, expected, got);
  return result;
}

Error wrong_tap_shape(TapId id, const Shape& expected, const Shape& got) {
  return Error(
      ErrorKind::internal, "backend.failed",
      fmt::format("the backend gave {} in shape {}: expected {}", to_string(id), to_string(got), to_string(expected)));
}

}  // namespace mlbench::harness
