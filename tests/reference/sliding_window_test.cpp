// Sliding windows with attention sinks (specification methods.md, section 6.1).
#include <algorithm>

#include <gmock/gmock.h>

#include "tests/reference/small_models.h"
#include "tests/support/expect_error.h"

namespace mlbench::ref {
namespace {

using mlbench::test::code_of;
using test::Driver;
using test::Ids;
using test::joined;
using test::rows_of;
using test::slice;
using test::small_model;
using test::some_tokens;

// With a single layer an entry's key and value depend on its token alone (and in GPT BigCode on the position it was
// given), so a window's results can be had from a plain cache that is fed the surviving tokens.
Driver one_layer(Architecture architecture) {
  return Driver(
      small_model(architecture, {{architecture == Architecture::gpt_bigcode ? "n_layer" : "num_hidden_layers", 1}}));
}

class SlidingWindow : public ::testing::TestWithParam<Architecture> {
 protected:
  SlidingWindow() : driver_(one_layer(GetParam())), cache_(driver_.make_cache(4, true)) { cache_.add_sequence(0); }

  [[nodiscard]] Tensor last_row(const Ids& tokens) const {
    PagedKvCache plain = driver_.make_cache();
    plain.add_sequence(0);
    const Tensor rows = driver_.forward(plain, 0, tokens);
    return rows_of(rows, rows.rows() - 1, 1);
  }

  Driver driver_;
  PagedKvCache cache_;
  Ids tokens_ = some_tokens(16);
};

TEST_P(SlidingWindow, KeepsTheSinkAndTheNewestEntriesRenumbered) {
  // The specification's example: W = 8, sink = 2, a prompt of 10 leaves tokens 0, 1, 4..9; the next stands at
  // position 8.
  cache_.enable_sliding_window_for_seq(0, 8, 2);
  const Tensor prompt = driver_.forward(cache_, 0, slice(tokens_, 0, 10));
  PagedKvCache plain = driver_.make_cache();
  plain.add_sequence(0);
  EXPECT_EQ(prompt, driver_.forward(plain, 0, slice(tokens_, 0, 10))) << "inside a chunk no window is applied";
  EXPECT_EQ(cache_.sequence_length(0), 8);

  const SeqId ids[] = {0};
  const Index lengths[] = {1};
  cache_.begin_forward(ids, lengths);
  EXPECT_THAT(cache_.get_query_positions(), ::testing::ElementsAre(8));
  const Tensor next = driver_.reference().batch_verify(driver_.embedded({77}), cache_);
  cache_.end_forward();
  EXPECT_EQ(cache_.sequence_length(0), 8);
  if (GetParam() != Architecture::gpt_bigcode) {
    const Ids kept = joined(slice(tokens_, 0, 2), slice(tokens_, 4, 6));
    EXPECT_EQ(next.reshaped({1, next.cols()}), last_row(joined(kept, {77}))) << "sees all 8 kept entries and itself";
  }
}

TEST_P(SlidingWindow, SlidesOneByOneDuringDecoding) {
  cache_.enable_sliding_window_for_seq(0, 5, 1);
  for (std::size_t i = 0; i < 16; ++i) {
    const Tensor row = driver_.forward(cache_, 0, slice(tokens_, i, 1));
    if (i < 6) {
      EXPECT_EQ(row, last_row(slice(tokens_, 0, i + 1))) << i;
    } else if (GetParam() != Architecture::gpt_bigcode) {
      EXPECT_EQ(row, last_row(joined(slice(tokens_, 0, 1), slice(tokens_, i - 4, 5)))) << i;
    }
    EXPECT_EQ(cache_.sequence_length(0), std::min<Index>(5, static_cast<Index>(i) + 1));
  }
}

TEST_P(SlidingWindow, GivesBackThePagesThatItLeaves) {
  const Index all = cache_.num_available_pages();
  cache_.enable_sliding_window_for_seq(0, 8, 3);
  for (int i = 0; i < 60; ++i) {
    driver_.forward(cache_, 0, {static_cast<std::int32_t>(i)});
    EXPECT_GE(cache_.num_available_pages(), all - 4)
        << "8 entries, the sink and the window each with a page partly filled";
  }
  cache_.remove_sequence(0);
  EXPECT_EQ(cache_.num_available_pages(), all);
}

TEST_P(SlidingWindow, WithoutReachingItsSizeChangesNothing) {
  cache_.enable_sliding_window_for_seq(0, 32, 4);
  PagedKvCache plain = driver_.make_cache();
  plain.add_sequence(0);
  EXPECT_EQ(driver_.forward(cache_, 0, tokens_), driver_.forward(plain, 0, tokens_))
      << "rotated when used equals rotated when stored";
}

TEST_P(SlidingWindow, NeverSlidesASharedPrefix) {
  driver_.forward(cache_, 0, slice(tokens_, 0, 8));
  cache_.fork_sequence(0, 1, 8);                   // two whole pages are shared
  cache_.enable_sliding_window_for_seq(1, 10, 2);  // so the sink is 8
  const auto prefix = cache_.debug_get_kv(1, 0, 8);
  for (std::size_t i = 8; i < 16; ++i) driver_.forward(cache_, 1, slice(tokens_, i, 1));
  EXPECT_EQ(cache_.sequence_length(1), 10);
  EXPECT_EQ(cache_.debug_get_kv(1, 0, 8).keys, prefix.keys);
  if (GetParam() != Architecture::gpt_bigcode) {
    EXPECT_EQ(driver_.forward(cache_, 1, {5}),
              last_row(joined(joined(slice(tokens_, 0, 8), slice(tokens_, 14, 2)), {5})));
  }
  EXPECT_EQ(cache_.sequence_length(0), 8);
}

TEST_P(SlidingWindow, AForkWithinTheSinkIsPlainAgain) {
  cache_.enable_sliding_window_for_seq(0, 8, 5);
  for (std::size_t i = 0; i < 14; ++i) driver_.forward(cache_, 0, slice(tokens_, i, 1));
  EXPECT_EQ(code_of([&] { cache_.fork_sequence(0, 1, 6); }), "kv.bad_argument");
  cache_.fork_sequence(0, 1, 5);
  EXPECT_EQ(driver_.forward(cache_, 1, {9}), last_row(joined(slice(tokens_, 0, 5), {9})));
  for (int i = 0; i < 10; ++i) driver_.forward(cache_, 1, {static_cast<std::int32_t>(i)});
  EXPECT_EQ(cache_.sequence_length(1), 16) << "the child has no window";
  if (GetParam() != Architecture::gpt_bigcode) {
    EXPECT_EQ(driver_.forward(cache_, 0, {7}),
              last_row(joined(joined(slice(tokens_, 0, 5), slice(tokens_, 11, 3)), {7})));
  }
}

TEST_P(SlidingWindow, RefusesWhatHasNoMeaning) {
  EXPECT_EQ(code_of([&] { cache_.enable_sliding_window_for_seq(0, 0, 0); }), "kv.bad_argument");
  EXPECT_EQ(code_of([&] { cache_.enable_sliding_window_for_seq(0, 4, -1); }), "kv.bad_argument");
  EXPECT_EQ(code_of([&] { cache_.enable_sliding_window_for_seq(0, 4, 4); }), "kv.bad_argument");
  EXPECT_EQ(code_of([&] { cache_.enable_sliding_window_for_seq(3, 4, 0); }), "kv.unknown_seq");
  cache_.enable_sliding_window_for_seq(0, 4, 0);
  EXPECT_EQ(code_of([&] { cache_.enable_sliding_window_for_seq(0, 4, 0); }), "kv.bad_argument");
  driver_.forward(cache_, 0, slice(tokens_, 0, 4));
  cache_.popn(0, 2);  // it has not slid yet
  EXPECT_EQ(cache_.sequence_length(0), 2);
  driver_.forward(cache_, 0, slice(tokens_, 0, 4));
  EXPECT_EQ(code_of([&] { cache_.popn(0, 1); }), "kv.unsupported");
}

INSTANTIATE_TEST_SUITE_P(Architectures, SlidingWindow, ::testing::ValuesIn(kArchitectures),
                         [](const auto& param) { return std::string(name(param.param)); });

TEST(SlidingWindows, DependOnTheChunkingOfALongPrompt) {
  const Driver driver(small_model(Architecture::llama));
  PagedKvCache a = driver.make_cache(4, true), b = driver.make_cache(4, true);
  for (PagedKvCache* cache : {&a, &b}) {
    cache->add_sequence(0);
    cache->enable_sliding_window_for_seq(0, 8, 2);
  }
  const Ids tokens = some_tokens(16);
  const Tensor whole = driver.forward(a, 0, tokens);
  driver.forward(b, 0, slice(tokens, 0, 10));
  EXPECT_NE(rows_of(whole, 15, 1), rows_of(driver.forward(b, 0, slice(tokens, 10, 6)), 5, 1));
}

TEST(SlidingWindows, KeepStoredKeysUnrotated) {
  const Driver driver = one_layer(Architecture::llama);
  PagedKvCache cache = driver.make_cache(4, true);
  cache.add_sequence(0);
  driver.forward(cache, 0, {5, 5, 5});
  const auto keys = cache.debug_get_kv(0, 0, 3).keys;  // [1, 3, Hkv, d]
  const Index heads = keys.dim(2);
  EXPECT_TRUE(std::ranges::equal(keys.row(0), keys.row(2 * heads)));
}

}  // namespace
}  // namespace mlbench::ref
