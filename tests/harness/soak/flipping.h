// The CPU backend whose forwards change one bit, from some forward on: in a tap, in the result, or in what it was
// given.
#pragma once

#include <memory>

#include "tests/harness/around.h"

namespace mlbench::soak::test {

struct Flip {
  enum class Where { result, tap, input };
  Where where = Where::result;
  Index after = 0;    // forwards that are left alone
  Index times = 1;    // forwards that are spoilt then
  Tap tap = Tap::q;   // of layer 1
  Index element = 5;  // of the tensor
  int bit = 3;        // of the element, which has 4 bytes
};

void flip(std::byte* element, int bit);
// Whether the call makes a cache dirty (harness/dirty_cache.h); no workload has such a one.
[[nodiscard]] inline bool fills_a_cache(backends::Method method) {
  return method == backends::Method::prefill_to_last_hidden_states;
}

// What is shown of a tap differs by a bit from what was computed.
class FlippingSink final : public backends::TapSink {
 public:
  FlippingSink(backends::TapSink& inner, const Flip& flip) : inner_(inner), flip_(flip) {}
  [[nodiscard]] bool wants(TapId id) const override { return inner_.wants(id); }
  void take(TapId id, const ConstTensorView& value) override;

 private:
  backends::TapSink& inner_;
  const Flip& flip_;
};

class FlippingSession final : public harness::test::SessionAround {
 public:
  FlippingSession(std::unique_ptr<backends::Session> inner, const Flip& flip)
      : SessionAround(std::move(inner)), flip_(flip) {}
  void forward(backends::Method method, const ConstTensorView& x, std::span<const std::int32_t> positions,
               backends::KvCache& cache, const TensorView& out, backends::TapSink* taps) override;

 private:
  Flip flip_;
  Index forwards_ = 0;
};

[[nodiscard]] std::unique_ptr<backends::Backend> flipping_backend(const Flip& flip);

}  // namespace mlbench::soak::test
