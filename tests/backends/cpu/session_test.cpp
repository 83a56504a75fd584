// Identities between the methods, bit for bit. Nothing here is compared with the reference.
#include "backends/cpu/session.h"

#include <algorithm>
#include <cstring>

#include <gtest/gtest.h>

#include "tests/backends/cpu/side_by_side.h"

namespace mlbench::cpu::test {
namespace {

using backends::Part;
using ref::test::small_model;
using ref::test::some_tokens;

class AllTaps final : public backends::TapSink {
 public:
  [[nodiscard]] bool wants(TapId) const override { return true; }
  void take(TapId, const ConstTensorView&) override { ++count; }
  int count = 0;
};

class OneTap final : public backends::TapSink {
 public:
  explicit OneTap(TapId id) : id_(id) {}
  [[nodiscard]] bool wants(TapId id) const override { return id == id_; }
  void take(TapId id, const ConstTensorView& value) override {
    EXPECT_EQ(id, id_);
    taken.emplace_back(value.dtype, value.shape);
    std::memcpy(taken.back().bytes().data(), value.data, taken.back().bytes().size());
  }
  std::vector<HostTensor> taken;

 private:
  TapId id_;
};

Call prefill_call(Index count, Method method = Method::prefill) {
  return {.method = method, .ids = {0}, .lengths = {count}, .tokens = some_tokens(count)};
}

struct Case {
  Architecture architecture;
  DType dtype;
};

class Sessions : public testing::TestWithParam<Case> {
 protected:
  [[nodiscard]] const ModelConfig& config() const { return model_.config; }
  // A new cache with sequences 0 and 1.
  [[nodiscard]] std::unique_ptr<backends::KvCache> cache() const {
    auto cache = session_->create_paged_kv_cache(kLimits);
    cache->add_sequence(0);
    cache->add_sequence(1);
    return cache;
  }
  [[nodiscard]] HostTensor run(const Call& call, backends::TapSink* taps = nullptr) const {
    return run_alone(*session_, *cache(), config(), call, taps);
  }
  [[nodiscard]] HostTensor logits_of(const HostTensor& hidden) const {
    HostTensor out(DType::f32, {hidden.shape()[0], config().vocab_size});
    session_->get_logits(hidden.view(), out.view());
    return out;
  }
  [[nodiscard]] HostTensor selected(const HostTensor& hidden, const std::vector<std::int32_t>& positions) const {
    HostTensor out(DType::f32, {static_cast<Index>(positions.size()), config().hidden_size});
    session_->batch_select_last_hidden_states(hidden.view(), positions, out.view());
    return out;
  }
  // Hidden rows [n, h] of a call in a cache of its own.
  [[nodiscard]] HostTensor hidden_of(const Call& call) const {
    return run(call).reshaped({static_cast<Index>(call.tokens.size()), config().hidden_size});
  }

  Model model_ = small_model(GetParam().architecture);
  std::unique_ptr<backends::Session> session_ = load(model_, GetParam().dtype);
};

TEST_P(Sessions, TapsChangeNoBit) {
  AllTaps taps;
  EXPECT_EQ(run(prefill_call(19)), run(prefill_call(19), &taps));
  EXPECT_GT(taps.count, 0);
}

TEST_P(Sessions, TheSameCallTwiceGivesTheSameBits) { EXPECT_EQ(run(prefill_call(19)), run(prefill_call(19))); }

TEST_P(Sessions, ATapAloneIsTheTapAmongAll) {
  for (const TapSpec& spec : tap_specs(config())) {
    OneTap alone({spec.tap, per_layer(spec.tap) ? 1 : -1});
    EXPECT_EQ(run(prefill_call(3)), run(prefill_call(3), &alone));
    EXPECT_EQ(alone.taken.size(), 1U) << name(spec.tap);
    EXPECT_TRUE(session_->gives(spec.tap).ok) << name(spec.tap);
  }
}

TEST_P(Sessions, PrefillIsLogitsOfTheLastHiddenRow) {
  const HostTensor hidden = hidden_of(prefill_call(19, Method::prefill_to_last_hidden_states));
  EXPECT_EQ(run(prefill_call(19)).reshaped({1, config().vocab_size}), logits_of(selected(hidden, {18})));
}

TEST_P(Sessions, BatchPrefillIsLogitsOfTheSelectedHiddenRows) {
  Call call{.method = Method::batch_prefill, .ids = {1, 0}, .lengths = {7, 5}, .tokens = some_tokens(12)};
  call.logit_positions = {11, 6, 0, 6};
  const HostTensor logits = run(call).reshaped({4, config().vocab_size});
  call.method = Method::batch_prefill_to_last_hidden_states;
  EXPECT_EQ(logits, logits_of(selected(hidden_of(call), call.logit_positions)));
}

TEST_P(Sessions, BatchVerifyIsLogitsOfAllHiddenRows) {
  const HostTensor hidden = hidden_of(prefill_call(6, Method::batch_verify_to_last_hidden_states));
  EXPECT_EQ(run(prefill_call(6, Method::batch_verify)).reshaped({6, config().vocab_size}), logits_of(hidden));
}

TEST_P(Sessions, AChainAnnouncedAsATreeIsTheSameRows) {
  Call call = prefill_call(5, Method::batch_verify);
  const HostTensor plain = run(call);
  call.parents = std::vector<Index>{-1, 0, 1, 2, 3};
  EXPECT_EQ(run(call), plain);
}

TEST_P(Sessions, PartsInARowAreAForward) {
  const Call call = prefill_call(9, Method::prefill_to_last_hidden_states);
  const HostTensor whole = hidden_of(call);
  HostTensor x = embedded(*session_, call, config().hidden_size).reshaped(whole.shape());
  const auto kv = cache();
  kv->begin_forward(call.ids, call.lengths, std::nullopt);
  const auto run_part = [&](const Part& part) {
    HostTensor out(DType::f32, x.shape());
    session_->run_part(part, x.view(), *kv, out.view(), nullptr);
    x = out;
  };
  run_part({Part::Kind::enter, -1});
  for (Index layer = 0; layer < config().num_layers; ++layer) run_part({Part::Kind::layer, layer});
  run_part({Part::Kind::final_norm, -1});
  kv->end_forward();
  EXPECT_EQ(x, whole);
}

TEST_P(Sessions, ReadNothingOfPaddingAndWriteNothingThere) {
  const Index h = config().hidden_size;
  for (const Method method : {Method::prefill, Method::batch_verify, Method::prefill_to_last_hidden_states}) {
    const Call call = prefill_call(5, method);
    const HostTensor expected = run(call);
    HostTensor x(DType::f32, {1, 8, h});
    std::ranges::fill(x.bytes(), std::byte{0xFF});  // NaN
    std::ranges::copy(embedded(*session_, call, h).bytes(), x.bytes().begin());
    HostTensor out = room_for_result(call, x.shape(), config());
    std::ranges::fill(out.bytes(), std::byte{0xA5});
    const auto kv = cache();
    kv->begin_forward(call.ids, call.lengths, std::nullopt);
    session_->forward(method, x.view(), {}, *kv, out.view(), nullptr);
    kv->end_forward();
    const std::size_t used = expected.bytes().size();
    EXPECT_TRUE(std::ranges::equal(out.bytes().first(used), expected.bytes())) << backends::name(method);
    EXPECT_TRUE(std::ranges::all_of(out.bytes().subspan(used), [](std::byte b) { return b == std::byte{0xA5}; }))
        << backends::name(method);
  }
}

TEST_P(Sessions, TakeAndGiveTensorsAtAnyAddress) {
  const Call call = prefill_call(5);
  const HostTensor expected = run(call);
  const HostTensor x = embedded(*session_, call, config().hidden_size);
  std::vector<std::byte> in(x.bytes().size() + 1);
  std::ranges::copy(x.bytes(), in.begin() + 1);
  std::vector<std::byte> out(expected.bytes().size() + 1);
  const auto kv = cache();
  kv->begin_forward(call.ids, call.lengths, std::nullopt);
  session_->forward(call.method, {DType::f32, x.shape(), in.data() + 1}, {}, *kv,
                    {DType::f32, expected.shape(), out.data() + 1}, nullptr);
  EXPECT_TRUE(std::equal(out.begin() + 1, out.end(), expected.bytes().begin()));
}

TEST_P(Sessions, DeclareWhatTheyStoreAndRound) {
  const backends::Arithmetic a = session_->arithmetic();
  const DType dtype = GetParam().dtype;
  EXPECT_EQ(a.weights, dtype);
  EXPECT_EQ(a.kv_cache, dtype);
  EXPECT_EQ(a.activations, DType::f32);
  EXPECT_EQ(a.logits, DType::f32);
  EXPECT_EQ(a.attention_inputs, DType::f32);
  EXPECT_EQ(a.accumulation, DType::f32);
  EXPECT_FALSE(a.f32_rope_angles);
  const bool bf16_products = dtype == DType::bf16 && onednn::multiplies_bf16();
  EXPECT_EQ(a.product_inputs, bf16_products ? DType::bf16 : DType::f32);
  EXPECT_TRUE(session_->isolates_layers().ok);
}

INSTANTIATE_TEST_SUITE_P(All, Sessions,
                         testing::Values(Case{Architecture::llama, DType::f32}, Case{Architecture::llama, DType::bf16},
                                         Case{Architecture::olmo, DType::f16}, Case{Architecture::orion, DType::bf16},
                                         Case{Architecture::phi, DType::f32}, Case{Architecture::phi, DType::f16},
                                         Case{Architecture::gpt_bigcode, DType::bf16},
                                         Case{Architecture::gpt_bigcode, DType::f32}),
                         [](const auto& instance) {
                           return std::string(name(instance.param.architecture)) + "_" +
                                  std::string(name(instance.param.dtype));
                         });

}  // namespace
}  // namespace mlbench::cpu::test
