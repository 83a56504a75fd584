#include "harness/soak/watch.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include <fmt/format.h>

#include "core/error.h"

namespace mlbench::soak {
namespace {

// The bytes of one element as a number, the first byte being the lowest.
std::uint64_t bits_of(const HostTensor& tensor, Index element) {
  const std::size_t width = size_bytes(tensor.dtype());
  std::uint64_t out = 0;
  std::memcpy(&out, tensor.bytes().data() + static_cast<std::size_t>(element) * width, width);
  return out;
}

double value_of(const HostTensor& tensor, Index element) {
  const std::size_t width = size_bytes(tensor.dtype());
  HostTensor one(tensor.dtype(), Shape{1});
  std::copy_n(tensor.bytes().begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(element) * width), width,
              one.bytes().begin());
  return one.widened().values()[0];
}

std::string hexadecimal(const HostTensor& tensor, Index element) {
  return fmt::format("0x{:0{}x}", bits_of(tensor, element), 2 * size_bytes(tensor.dtype()));
}

std::vector<int> bits_that_differ(std::uint64_t a, std::uint64_t b) {
  std::vector<int> out;
  for (std::uint64_t left = a ^ b; left != 0; left &= left - 1) out.push_back(std::countr_zero(left));
  return out;
}

Error differs(const Call& call, const std::string& what) {
  return Error(ErrorKind::internal, "backend.failed", fmt::format("in {} the backend gave {}", call.label, what));
}

}  // namespace

std::string describe(const WrongValue& wrong, const Story& story) {
  return fmt::format("{} {} in {}, sequence {}, position {}", to_string(wrong.tap), wrong.where,
                     story.calls[wrong.call].label, wrong.sequence, wrong.position);
}

std::vector<TapId> Watch::looked_at() const {
  std::vector<TapId> out = taps_;
  for (const Tap tap : {Tap::final_norm, Tap::logits}) {
    if (std::ranges::find(out, TapId{tap, -1}) == out.end()) out.push_back({tap, -1});
  }
  return out;
}

WrongValue Watch::locate(const Call& call, TapId id, const HostTensor& got, Index element,
                         const std::vector<std::int32_t>& positions) const {
  const TapSpec& spec = harness::spec_of(specs_, id.tap);
  const Index width = got.shape().back();
  const Index rows = spec.layout == TapLayout::rows ? got.shape()[0] : got.shape()[1];
  const Index row = element / width, t = row % rows;
  const std::vector<std::int32_t> result_rows = call.result_rows();
  const auto token = static_cast<std::size_t>(id.tap == Tap::logits ? result_rows[static_cast<std::size_t>(t)] : t);
  WrongValue out;
  out.tap = id;
  out.element = element;
  out.sequence = call.ids[static_cast<std::size_t>(call.row_sequences()[token])];
  out.position = positions[token];
  out.where = harness::describe_element(spec, element % width, spec.layout == TapLayout::rows ? 0 : row / rows);
  out.computed = value_of(got, element);
  out.computed_bits = hexadecimal(got, element);
  return out;
}

bool Watch::holds(const WrongValue& wrong, const GivenTaps& got) {
  const HostTensor* tap = got.find(wrong.tap);
  return tap != nullptr && wrong.element < element_count(tap->shape()) &&
         hexadecimal(*tap, wrong.element) == wrong.computed_bits;
}

std::optional<WrongValue> Watch::by_bits(const Story& story, std::size_t index, const GivenTaps& expected,
                                         const GivenTaps& got) const {
  const Call& call = story.calls[index];
  if (expected.positions() != got.positions()) throw differs(call, "other positions than before");
  for (const TapId id : looked_at()) {
    const HostTensor *want = expected.find(id), *given = got.find(id);
    if (want == nullptr || given == nullptr || *want == *given) continue;
    if (want->shape() != given->shape() || want->dtype() != given->dtype())
      throw differs(call, fmt::format("{} in another shape or type than before", to_string(id)));
    Index first = -1, straying = 0;
    for (Index i = 0; i < element_count(want->shape()); ++i) {
      if (bits_of(*want, i) == bits_of(*given, i)) continue;
      if (first < 0) first = i;
      ++straying;
    }
    WrongValue out = locate(call, id, *given, first, got.positions());
    out.call = index;
    out.straying = straying;
    out.expected = value_of(*want, first);
    out.expected_bits = hexadecimal(*want, first);
    out.bits = bits_that_differ(bits_of(*want, first), bits_of(*given, first));
    return out;
  }
  return std::nullopt;
}

std::optional<WrongValue> Watch::by_limits(const Story& story, std::size_t index, const CallLimits& limits,
                                           const GivenTaps& got) const {
  const Call& call = story.calls[index];
  for (const TapId id : looked_at()) {
    const HostTensor* given = got.find(id);
    const auto known = limits.find({id.layer, static_cast<int>(id.tap)});
    if (given == nullptr || known == limits.end()) continue;
    const TapLimits& tap = known->second;
    if (given->shape() != tap.exact.shape()) throw harness::wrong_tap_shape(id, tap.exact.shape(), given->shape());
    const ref::Tensor values = given->widened();
    const auto limit = harness::limit_by_row(tap.exact, tap.rows);
    Index worst = -1, straying = 0;
    double most = 0.0;
    for (Index i = 0; i < values.size(); ++i) {
      const auto at = static_cast<std::size_t>(i);
      const double error = std::fabs(values.values()[at] - tap.exact.values()[at]);
      if (error <= limit(i)) continue;  // written so that what is no number is wrong
      ++straying;
      if (worst >= 0 && !(error > most)) continue;
      worst = i;
      most = error;
    }
    if (worst < 0) continue;
    WrongValue out = locate(call, id, *given, worst, got.positions());
    out.call = index;
    out.straying = straying;
    out.expected = tap.exact.values()[static_cast<std::size_t>(worst)];
    return out;
  }
  return std::nullopt;
}

std::uint64_t Watch::values(const GivenTaps& got) const {
  std::uint64_t out = 0;
  for (const TapId id : looked_at()) {
    if (const HostTensor* tap = got.find(id); tap != nullptr)
      out += static_cast<std::uint64_t>(element_count(tap->shape()));
  }
  return out;
}

}  // namespace mlbench::soak
