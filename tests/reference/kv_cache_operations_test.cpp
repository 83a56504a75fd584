// What sequence operations do to later results: a fork, a popn or a page border must not be observable.
#include <algorithm>
#include <cmath>

#include <gmock/gmock.h>

#include "tests/reference/small_models.h"
#include "tests/support/expect_error.h"

namespace mlbench::ref {
namespace {

using mlbench::test::code_of;
using test::Driver;
using test::Ids;
using test::joined;
using test::slice;
using test::small_model;
using test::some_tokens;

class CacheOperations : public ::testing::TestWithParam<Architecture> {
 protected:
  CacheOperations() : driver_(small_model(GetParam())) {}

  // The logits of `next` after `prefix`, from a cache of their own.
  [[nodiscard]] Tensor expected(const Ids& prefix, const Ids& next) const {
    PagedKvCache cache = driver_.make_cache(4);
    cache.add_sequence(0);
    if (!prefix.empty()) driver_.forward(cache, 0, prefix);
    return driver_.forward(cache, 0, next);
  }

  Driver driver_;
  Ids prompt_ = some_tokens(18);
  Ids a_ = some_tokens(3, 21), b_ = some_tokens(3, 22);
};

TEST_P(CacheOperations, AForkGoesOnFromItsPrefixAndSoDoesItsParent) {
  for (const Index pos : {-1, 0, 1, 7, 8, 9, 16, 18}) {
    PagedKvCache cache = driver_.make_cache(4);
    cache.add_sequence(0);
    driver_.forward(cache, 0, prompt_);
    cache.fork_sequence(0, 1, pos);
    const std::size_t kept = pos < 0 ? prompt_.size() : static_cast<std::size_t>(pos);
    EXPECT_EQ(driver_.forward(cache, 1, a_), expected(slice(prompt_, 0, kept), a_)) << pos;
    EXPECT_EQ(driver_.forward(cache, 0, b_), expected(prompt_, b_)) << pos;
    EXPECT_EQ(driver_.forward(cache, 1, b_), expected(joined(slice(prompt_, 0, kept), a_), b_)) << pos;
    cache.remove_sequence(0);
    EXPECT_EQ(driver_.forward(cache, 1, a_), expected(joined(joined(slice(prompt_, 0, kept), a_), b_), a_)) << pos;
  }
}

TEST_P(CacheOperations, AForkAtAFullPageGoesOnToo) {
  PagedKvCache cache = driver_.make_cache(4);
  cache.add_sequence(0);
  driver_.forward(cache, 0, slice(prompt_, 0, 16));
  cache.fork_sequence(0, 1);
  cache.fork_sequence(1, 2, 16);
  EXPECT_EQ(driver_.forward(cache, 0, a_), expected(slice(prompt_, 0, 16), a_));
  EXPECT_EQ(driver_.forward(cache, 1, b_), expected(slice(prompt_, 0, 16), b_));
  EXPECT_EQ(driver_.forward(cache, 2, a_), expected(slice(prompt_, 0, 16), a_));
}

TEST_P(CacheOperations, PopnUndoesTokensAlsoInsideASharedPrefix) {
  for (const Index n : {0, 1, 3, 4, 5, 12, 20}) {
    PagedKvCache cache = driver_.make_cache(4);
    cache.add_sequence(0);
    driver_.forward(cache, 0, prompt_);
    cache.fork_sequence(0, 1, 17);
    driver_.forward(cache, 1, a_);
    cache.popn(1, n);
    const Ids left = slice(joined(slice(prompt_, 0, 17), a_), 0, static_cast<std::size_t>(20 - n));
    EXPECT_EQ(driver_.forward(cache, 1, b_), expected(left, b_)) << n;
    EXPECT_EQ(driver_.forward(cache, 0, b_), expected(prompt_, b_)) << n;
  }
}

TEST_P(CacheOperations, RecycledPagesLeaveNoTrace) {
  PagedKvCache cache = driver_.make_cache(4);
  cache.add_sequence(0);
  driver_.forward(cache, 0, some_tokens(30, 77));
  cache.remove_sequence(0);
  cache.add_sequence(3);
  EXPECT_EQ(driver_.forward(cache, 3, prompt_), expected({}, prompt_));
  cache.clear();
  EXPECT_TRUE(cache.empty());
  cache.add_sequence(3);
  EXPECT_EQ(driver_.forward(cache, 3, a_), expected({}, a_));
}

TEST_P(CacheOperations, StoredKeysAndValuesAreTheTaps) {
  struct Keys final : TapSink {
    [[nodiscard]] bool wants(TapId id) const override { return id == TapId{Tap::k, 1} || id == TapId{Tap::v, 1}; }
    void take(TapId id, const Tensor& value) override { (id.tap == Tap::k ? k : v) = value; }
    Tensor k, v;  // [Hkv, T, d]
  } taps;
  PagedKvCache cache = driver_.make_cache(4);
  cache.add_sequence(0);
  driver_.forward(cache, {0}, {18}, prompt_, std::nullopt, &taps);
  const auto entries = cache.debug_get_kv(0, 2, 9);  // [L, 7, Hkv, d]
  const Index heads = taps.k.dim(0);
  for (Index t = 0; t < 7; ++t) {
    for (Index h = 0; h < heads; ++h) {
      EXPECT_TRUE(std::ranges::equal(entries.keys.row((7 + t) * heads + h), taps.k.row(h * 18 + 2 + t)));
      EXPECT_TRUE(std::ranges::equal(entries.values.row((7 + t) * heads + h), taps.v.row(h * 18 + 2 + t)));
    }
  }
  EXPECT_EQ(code_of([&] { (void)cache.debug_get_kv(0, 3, 3); }), "kv.bad_argument");
  EXPECT_EQ(code_of([&] { (void)cache.debug_get_kv(0, -1, 3); }), "kv.bad_argument");
  EXPECT_EQ(code_of([&] { (void)cache.debug_get_kv(0, 0, 19); }), "kv.bad_argument");
}

TEST_P(CacheOperations, AForwardThatWasAnnouncedAndNotRunLeavesNaNAndNoHarm) {
  PagedKvCache cache = driver_.make_cache(4);
  cache.add_sequence(0);
  const SeqId ids[] = {0};
  const Index lengths[] = {6};
  cache.begin_forward(ids, lengths);
  EXPECT_EQ(code_of([&] { (void)cache.debug_get_kv(0, 0, 6); }), "kv.state");
  cache.end_forward();
  EXPECT_TRUE(std::isnan(cache.debug_get_kv(0, 0, 6).keys.values()[0]));
  cache.fork_sequence(0, 1, 5);
  EXPECT_TRUE(std::isnan(driver_.forward(cache, 1, a_).values()[0]));
  cache.popn(0, 6);
  EXPECT_EQ(driver_.forward(cache, 0, a_), expected({}, a_));
}

TEST_P(CacheOperations, QueryPositionsExistDuringAForwardOnly) {
  PagedKvCache cache = driver_.make_cache(4);
  for (const SeqId id : {0, 1}) cache.add_sequence(id);
  driver_.forward(cache, 0, a_);
  EXPECT_EQ(code_of([&] { (void)cache.get_query_positions(); }), "kv.state");
  const SeqId ids[] = {1, 0};
  const Index lengths[] = {2, 3};
  cache.begin_forward(ids, lengths);
  EXPECT_THAT(cache.get_query_positions(), ::testing::ElementsAre(0, 1, 3, 4, 5));
}

INSTANTIATE_TEST_SUITE_P(Architectures, CacheOperations, ::testing::ValuesIn(kArchitectures),
                         [](const auto& param) { return std::string(name(param.param)); });

// Scaling kinds that follow the length: keys that are cached keep the rotation they were stored with.
TEST(DynamicRope, CachedKeysKeepTheRotationTheyWereStoredWith) {
  const Driver driver(small_model(Architecture::llama, {{"rope_scaling", {{"rope_type", "dynamic"}, {"factor", 2.0}}},
                                                        {"max_position_embeddings", 16}}));
  PagedKvCache cache = driver.make_cache();
  cache.add_sequence(0);
  driver.forward(cache, 0, some_tokens(16));
  const auto before = cache.debug_get_kv(0, 0, 16);
  driver.forward(cache, 0, some_tokens(4, 3));
  EXPECT_EQ(cache.debug_get_kv(0, 0, 16).keys, before.keys);
  // Nothing is kept between calls: a fresh short sequence is not affected by the long one.
  PagedKvCache fresh = driver.make_cache();
  cache.add_sequence(1);
  fresh.add_sequence(1);
  EXPECT_EQ(driver.forward(cache, 1, some_tokens(5)), driver.forward(fresh, 1, some_tokens(5)));
  // Each sequence of a batch goes by its own length.
  PagedKvCache batch = driver.make_cache();
  for (const SeqId id : {0, 1}) batch.add_sequence(id);
  const Tensor both = driver.forward(batch, {0, 1}, {20, 5}, joined(some_tokens(20), some_tokens(5)));
  PagedKvCache alone = driver.make_cache();
  alone.add_sequence(1);
  EXPECT_EQ(test::rows_of(both, 20, 5), driver.forward(alone, 1, some_tokens(5)));
}

}  // namespace
}  // namespace mlbench::ref
