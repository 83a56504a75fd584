#include "tests/harness/soak/flipping.h"

#include <algorithm>
#include <vector>

namespace mlbench::soak::test {
namespace {

constexpr std::size_t kWidth = 4;  // bytes of a float

std::vector<std::byte> flipped(const ConstTensorView& value, const Flip& flip_of) {
  const auto size = static_cast<std::size_t>(element_count(value.shape)) * size_bytes(value.dtype);
  std::vector<std::byte> out(value.data, value.data + size);
  flip(out.data() + kWidth * static_cast<std::size_t>(flip_of.element), flip_of.bit);
  return out;
}

}  // namespace

void flip(std::byte* element, int bit) { element[bit / 8] ^= static_cast<std::byte>(1 << (bit % 8)); }

void FlippingSink::take(TapId id, const ConstTensorView& value) {
  if (!(id == TapId{flip_.tap, 1})) return inner_.take(id, value);
  const std::vector<std::byte> other = flipped(value, flip_);
  inner_.take(id, {value.dtype, value.shape, other.data()});
}

void FlippingSession::forward(backends::Method method, const ConstTensorView& x,
                              std::span<const std::int32_t> positions, backends::KvCache& cache, const TensorView& out,
                              backends::TapSink* taps) {
  const bool counts = !fills_a_cache(method);
  const bool now = counts && forwards_ >= flip_.after && forwards_ < flip_.after + flip_.times;
  forwards_ += counts ? 1 : 0;
  if (!now) return SessionAround::forward(method, x, positions, cache, out, taps);
  if (flip_.where == Flip::Where::input) {
    const std::vector<std::byte> other = flipped(x, flip_);
    return SessionAround::forward(method, {x.dtype, x.shape, other.data()}, positions, cache, out, taps);
  }
  if (flip_.where == Flip::Where::tap && taps != nullptr) {
    FlippingSink sink(*taps, flip_);
    return SessionAround::forward(method, x, positions, cache, out, &sink);
  }
  SessionAround::forward(method, x, positions, cache, out, taps);
  if (flip_.where == Flip::Where::result) flip(out.data + kWidth * static_cast<std::size_t>(flip_.element), flip_.bit);
}

std::unique_ptr<backends::Backend> flipping_backend(const Flip& flip_of) {
  return harness::test::cpu_backend([flip_of](std::unique_ptr<backends::Session> inner) {
    return std::make_unique<FlippingSession>(std::move(inner), flip_of);
  });
}

}  // namespace mlbench::soak::test
