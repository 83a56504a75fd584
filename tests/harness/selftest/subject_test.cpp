// The execution that mistakes are planted in: without one it is right, and it refuses what a backend must.
#include "harness/selftest/subject.h"

#include <algorithm>
#include <ostream>

#include <gmock/gmock.h>

#include "core/error.h"
#include "harness/selftest/selftest.h"
#include "models/presets.h"
#include "tests/support/expect_error.h"

namespace mlbench::selftest {

static void PrintTo(const SceneInfo& scene, std::ostream* out) { *out << scene.name; }

namespace {

using backends::Method;
using test::code_of;
using ::testing::HasSubstr;

class EveryScene : public ::testing::TestWithParam<SceneInfo> {};
INSTANTIATE_TEST_SUITE_P(Scenes, EveryScene, ::testing::ValuesIn(scenes().begin(), scenes().end()),
                         [](const auto& scene) {
                           std::string name(scene.param.name);
                           std::ranges::replace_if(
                               name, [](char c) { return c == ' ' || c == ','; }, '_');
                           return name;
                         });

TEST_P(EveryScene, TheHonestExecutionAgreesWithTheReferenceInBothTypes) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const BackendVerification result = verify_honest(GetParam().scene, dtype, 3, Depth::plan);
    EXPECT_FALSE(result.checks.empty());
    const MistakeResult blame = judged(mistakes().front(), result, true);
    EXPECT_FALSE(blame.found) << mlbench::name(dtype) << " " << blame.where << " " << blame.call << " " << blame.ratio;
  }
}

class Subject : public ::testing::Test {
 protected:
  Subject() {
    session_ = backend_->load(model_, {.dtype = DType::f32});
    cache_ = session_->create_paged_kv_cache({.max_batch_size = 2, .max_total_seq_len = 32, .prefill_chunk_size = 8});
    cache_->add_sequence(0);
  }

  Workers workers_{1};
  Model model_ = model_of(Scene::bigcode, DType::f32, 1, workers_);
  std::unique_ptr<backends::Backend> backend_ = make_subject();
  std::unique_ptr<backends::Session> session_;
  std::unique_ptr<backends::KvCache> cache_;
  const SeqId ids_[1] = {0};
};

TEST_F(Subject, SaysWhichTypesItHas) {
  EXPECT_TRUE(backend_->supports(model_.config, {.dtype = DType::bf16}));
  const backends::Support support = backend_->supports(model_.config, {.dtype = DType::f16});
  EXPECT_FALSE(support);
  EXPECT_THAT(support.reason, HasSubstr("f32 and bf16"));
}

TEST_F(Subject, RefusesTokensPositionsAndShapesThatAreNone) {
  const Index h = model_.config.hidden_size, V = model_.config.vocab_size;
  HostTensor row(DType::f32, Shape{1, h}), logits(DType::f32, Shape{1, 1, V}), wrong(DType::f32, Shape{1, h + 1});
  const std::int32_t beyond[] = {static_cast<std::int32_t>(V)};
  const std::int32_t one[] = {1};
  EXPECT_EQ(code_of([&] { session_->embed(beyond, row.view()); }), "input.token_range");
  EXPECT_EQ(code_of([&] { session_->embed(one, wrong.view()); }), "input.shape");
  EXPECT_EQ(code_of([&] { session_->batch_select_last_hidden_states(row.view(), one, row.view()); }),
            "input.logit_position");
  const HostTensor x = HostTensor(DType::f32, Shape{1, h}).reshaped({1, 1, h});
  EXPECT_EQ(code_of([&] { session_->forward(Method::prefill, x.view(), {}, *cache_, logits.view(), nullptr); }),
            "kv.state");
  const Index lengths[] = {2};
  cache_->begin_forward(ids_, lengths, std::nullopt);
  EXPECT_EQ(code_of([&] { session_->forward(Method::prefill, x.view(), {}, *cache_, logits.view(), nullptr); }),
            "input.shape");
}

TEST_F(Subject, RefusesAPositionThatHasNoEmbedding) {
  model_.config.num_positions = 96;
  const auto cache =
      session_->create_paged_kv_cache({.max_batch_size = 1, .max_total_seq_len = 128, .prefill_chunk_size = 128});
  cache->add_sequence(0);
  const Index lengths[] = {97};
  cache->begin_forward(ids_, lengths, std::nullopt);
  const Index h = model_.config.hidden_size;
  const HostTensor x(DType::f32, Shape{1, 97, h});
  HostTensor out(DType::f32, Shape{1, 97, h});
  EXPECT_EQ(code_of([&] {
              session_->forward(Method::prefill_to_last_hidden_states, x.view(), {}, *cache, out.view(), nullptr);
            }),
            "input.position_range");
}

TEST_F(Subject, GivesBackTheEntriesThatWereSet) {
  const Index lengths[] = {3};
  cache_->begin_forward(ids_, lengths, std::nullopt);
  cache_->end_forward();
  const Shape shape = {model_.config.num_layers, 2, model_.config.num_kv_heads, model_.config.head_dim};
  Tensor<double> values(shape);
  for (std::size_t i = 0; i < values.values().size(); ++i) values.values()[i] = static_cast<double>(i);
  const HostTensor keys(DType::f32, values);
  values.values()[0] = -1.0;
  const HostTensor set(DType::f32, values);
  cache_->debug_set_kv(0, 1, keys.view(), set.view());
  HostTensor k(DType::f32, shape), v(DType::f32, shape);
  cache_->debug_get_kv(0, 1, 3, k.view(), v.view());
  EXPECT_EQ(k, keys);
  EXPECT_EQ(v, set);
  EXPECT_EQ(code_of([&] { cache_->debug_get_kv(0, 2, 4, k.view(), v.view()); }), "kv.bad_argument");
  HostTensor narrow(DType::bf16, shape);
  EXPECT_EQ(code_of([&] { cache_->debug_get_kv(0, 1, 3, narrow.view(), v.view()); }), "input.shape");
}

TEST(Planted, CountsOnlyTheMistakeThatIsThere) {
  const Planted planted(Mistake::scale_missing);
  EXPECT_FALSE(planted.at(Mistake::scale_twice));
  EXPECT_EQ(planted.hits(), 0U);
  const Planted copy = planted;
  EXPECT_TRUE(copy.at(Mistake::scale_missing));
  EXPECT_EQ(planted.hits(), 1U) << "copies share the count";
  EXPECT_FALSE(Planted().at(Mistake::scale_missing));
}

}  // namespace
}  // namespace mlbench::selftest
