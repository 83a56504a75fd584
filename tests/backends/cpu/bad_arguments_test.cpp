// What a session and its caches say to requests that are wrong.
#include <gtest/gtest.h>

#include "tests/backends/cpu/side_by_side.h"
#include "tests/support/error_code.h"

namespace mlbench::cpu::test {
namespace {

using backends::Part;
using mlbench::test::code_of;
using ref::test::small_model;
using ref::test::some_tokens;

class BadArguments : public testing::Test {
 protected:
  static constexpr Index kRows = 3;

  BadArguments() : cache_(session_->create_paged_kv_cache(kLimits)) {
    cache_->add_sequence(0);
    cache_->begin_forward(std::vector<SeqId>{0}, std::vector<Index>{kRows}, std::nullopt);
  }

  // The code of the error with which a forward ends.
  std::string forward(Method method, const Shape& x, const Shape& out, const std::vector<std::int32_t>& positions = {},
                      DType dtype = DType::f32) {
    const HostTensor in(dtype, x);
    HostTensor result(DType::f32, out);
    return code_of([&] { session_->forward(method, in.view(), positions, *cache_, result.view(), nullptr); });
  }

  Model model_ = small_model(Architecture::gpt_bigcode, {{"n_positions", 20}});
  Index h_ = model_.config.hidden_size, V_ = model_.config.vocab_size;
  std::unique_ptr<backends::Session> session_ = load(model_, DType::f32);
  std::unique_ptr<backends::KvCache> cache_;
};

TEST_F(BadArguments, OfForwardsAreNamedAndLeaveSessionAndCacheAsTheyWere) {
  const Call call{.method = Method::batch_verify, .ids = {0}, .lengths = {kRows}, .tokens = some_tokens(kRows)};
  const auto other = session_->create_paged_kv_cache(kLimits);
  other->add_sequence(0);
  const HostTensor expected = run_alone(*session_, *other, model_.config, call);

  EXPECT_EQ(forward(Method::prefill, {1, kRows - 1, h_}, {1, 1, V_}), "input.shape");
  EXPECT_EQ(forward(Method::prefill, {kRows, h_}, {1, 1, V_}), "input.shape");
  EXPECT_EQ(forward(Method::prefill, {kRows, 1, h_}, {1, 1, V_}), "input.shape");
  EXPECT_EQ(forward(Method::prefill, {1, kRows, h_ + 1}, {1, 1, V_}), "input.shape");
  EXPECT_EQ(forward(Method::prefill, {1, kRows, h_}, {1, kRows, V_}), "input.shape");
  EXPECT_EQ(forward(Method::prefill, {1, kRows, h_}, {1, 1, V_}, {}, DType::f64), "input.shape");
  EXPECT_EQ(forward(Method::decode, {1, 1, h_}, {1, 1, V_}), "input.shape");
  EXPECT_EQ(forward(Method::batch_decode, {kRows + 1, 1, h_}, {kRows + 1, 1, V_}), "input.shape");
  EXPECT_EQ(forward(Method::batch_decode, {1, kRows, h_}, {1, kRows, V_}), "input.shape");
  EXPECT_EQ(forward(Method::batch_prefill, {1, kRows, h_}, {1, 1, V_}, {kRows}), "input.logit_position");
  EXPECT_EQ(forward(Method::batch_prefill, {1, kRows, h_}, {1, 1, V_}, {-1}), "input.logit_position");
  EXPECT_EQ(forward(Method::batch_prefill, {1, kRows + 2, h_}, {1, 1, V_}, {kRows}), "input.logit_position");
  EXPECT_EQ(forward(Method::batch_prefill, {1, kRows, h_}, {1, 1, V_}, {0, 1}), "input.shape");
  EXPECT_EQ(forward(Method::batch_verify_to_last_hidden_states, {1, kRows, h_}, {1, kRows, V_}), "input.shape");

  const HostTensor x = embedded(*session_, call, h_);
  HostTensor out = room_for_result(call, x.shape(), model_.config);
  session_->forward(call.method, x.view(), {}, *cache_, out.view(), nullptr);
  EXPECT_EQ(out, expected);
}

TEST_F(BadArguments, OfPartsAreNamed) {
  const HostTensor x(DType::f32, {kRows, h_});
  HostTensor out(DType::f32, {kRows, h_});
  HostTensor one_more(DType::f32, {kRows + 1, h_});
  const auto run_part = [&](const Part& part, const HostTensor& in, HostTensor& result) {
    return code_of([&] { session_->run_part(part, in.view(), *cache_, result.view(), nullptr); });
  };
  EXPECT_EQ(run_part({Part::Kind::layer, -1}, x, out), "input.shape");
  EXPECT_EQ(run_part({Part::Kind::layer, 2}, x, out), "input.shape");
  EXPECT_EQ(run_part({Part::Kind::layer, 0}, one_more, out), "input.shape");
  EXPECT_EQ(run_part({Part::Kind::enter, -1}, x, one_more), "input.shape");
  EXPECT_EQ(run_part({Part::Kind::layer, 1}, x, out), "none");
}

TEST_F(BadArguments, OfAForwardWithoutABeginAreKvState) {
  cache_->end_forward();
  EXPECT_EQ(forward(Method::prefill, {1, kRows, h_}, {1, 1, V_}), "kv.state");
}

TEST_F(BadArguments, AreTokensOutsideTheVocabulary) {
  HostTensor out(DType::f32, {2, h_});
  const auto embed = [&](const Ids& ids) { return code_of([&] { session_->embed(ids, out.view()); }); };
  EXPECT_EQ(embed({0, static_cast<std::int32_t>(V_) - 1}), "none");
  EXPECT_EQ(embed({0, static_cast<std::int32_t>(V_)}), "input.token_range");
  EXPECT_EQ(embed({-1, 0}), "input.token_range");
  EXPECT_EQ(embed({1}), "input.shape");
}

TEST_F(BadArguments, ArePositionsBeyondTheEmbedding) {
  cache_->end_forward();
  cache_->begin_forward(std::vector<SeqId>{0}, std::vector<Index>{17}, std::nullopt);  // up to position 19
  EXPECT_EQ(forward(Method::prefill, {1, 17, h_}, {1, 1, V_}), "none");
  cache_->end_forward();
  cache_->begin_forward(std::vector<SeqId>{0}, std::vector<Index>{1}, std::nullopt);
  EXPECT_EQ(forward(Method::prefill, {1, 1, h_}, {1, 1, V_}), "input.position_range");
}

TEST_F(BadArguments, OfTheOutputLayerAndTheSelectionAreNamed) {
  const HostTensor hidden(DType::f32, {2, h_});
  HostTensor logits(DType::f32, {2, V_});
  HostTensor rows(DType::f32, {1, h_});
  EXPECT_EQ(code_of([&] { session_->get_logits(rows.view(), logits.view()); }), "input.shape");
  EXPECT_EQ(code_of([&] { session_->get_logits(logits.view(), logits.view()); }), "input.shape");
  EXPECT_EQ(code_of([&] { session_->get_logits(hidden.view(), logits.view()); }), "none");
  const auto select = [&](std::int32_t position, HostTensor& out) {
    const Ids positions = {position};
    return code_of([&] { session_->batch_select_last_hidden_states(hidden.view(), positions, out.view()); });
  };
  EXPECT_EQ(select(1, rows), "none");
  EXPECT_EQ(select(2, rows), "input.logit_position");
  EXPECT_EQ(select(-1, rows), "input.logit_position");
  EXPECT_EQ(select(0, logits), "input.shape");
}

TEST_F(BadArguments, AreCachesOfAnotherModelOrType) {
  const Model other = small_model(Architecture::llama);
  for (const auto& session : {load(other, DType::f32), load(model_, DType::f16)}) {
    const auto cache = session->create_paged_kv_cache(kLimits);
    cache->add_sequence(0);
    cache->begin_forward(std::vector<SeqId>{0}, std::vector<Index>{1}, std::nullopt);
    const HostTensor x(DType::f32, {1, 1, h_});
    HostTensor out(DType::f32, {1, 1, V_});
    EXPECT_EQ(code_of([&] { session_->forward(Method::decode, x.view(), {}, *cache, out.view(), nullptr); }),
              "kv.state");
  }
}

TEST_F(BadArguments, AreWindowsWhereKeysAreRotated) {
  KvLimits windows = kLimits;
  windows.support_sliding_window = true;
  EXPECT_EQ(code_of([&] { (void)session_->create_paged_kv_cache(windows); }), "none");
  for (const Architecture architecture :
       {Architecture::llama, Architecture::orion, Architecture::olmo, Architecture::phi}) {
    const Model model = small_model(architecture);
    const auto session = load(model, DType::f32);
    EXPECT_EQ(code_of([&] { (void)session->create_paged_kv_cache(windows); }), "kv.unsupported") << name(architecture);
  }
}

TEST_F(BadArguments, AreLimitsBelowOne) {
  KvLimits limits = kLimits;
  limits.page_size = 0;
  EXPECT_EQ(code_of([&] { (void)session_->create_paged_kv_cache(limits); }), "kv.bad_argument");
}

TEST_F(BadArguments, AreTapsThatAnArchitectureLacks) {
  EXPECT_FALSE(session_->gives(Tap::rope_cos).ok);
  EXPECT_FALSE(session_->gives(Tap::q_norm).reason.empty());
}

}  // namespace
}  // namespace mlbench::cpu::test
