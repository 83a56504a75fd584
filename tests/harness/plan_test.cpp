// What a verification runs: complete, and within its limits.
#include "harness/plan.h"

#include <algorithm>
#include <set>

#include <gmock/gmock.h>

#include "harness/plan_json.h"
#include "models/presets.h"
#include "reference/page_table.h"
#include "tests/support/expect_error.h"

namespace mlbench::harness {
namespace {

using backends::Method;
using mlbench::test::error_of;

ModelConfig small(Architecture architecture) { return preset_config(small_preset(architecture)); }

std::set<Method> methods_of(const Plan& plan) {
  std::set<Method> out;
  for (const Story& story : plan) {
    for (const Call& call : story.calls) out.insert(call.method);
  }
  return out;
}

// The cache's bookkeeping alone, under the names that plans use.
class Bookkeeping {
 public:
  explicit Bookkeeping(const KvLimits& limits) : limits_(limits), table_(limits, true) {}
  void add_sequence(SeqId id) { table_.add_sequence(id); }
  void remove_sequence(SeqId id) { table_.remove_sequence(id); }
  void fork_sequence(SeqId parent, SeqId child, Index pos) { table_.fork_sequence(parent, child, pos); }
  void popn(SeqId id, Index count) { table_.popn(id, count); }
  void enable_sliding_window_for_seq(SeqId id, Index window, Index sink) {
    table_.enable_sliding_window(id, window, sink);
  }
  void commit_accepted_token_tree_nodes(std::span<const SeqId> ids, std::span<const Index> leaves) {
    (void)table_.commit_trees(ids, leaves);
  }
  // The largest position that the call's rows stand at.
  Index run(const Call& call) {
    for (const CacheOperation& operation : call.before) apply(operation, *this);
    EXPECT_LE(call.rows(), limits_.prefill_chunk_size) << call.label;
    Index largest = 0;
    for (const ref::PlannedRow& row : table_.begin_forward(call.ids, call.lengths, call.tree_parents).rows) {
      largest = std::max(largest, row.position);
    }
    table_.end_forward();
    return largest;
  }
  [[nodiscard]] Index length(SeqId id) const { return table_.sequence_length(id); }

 private:
  KvLimits limits_;
  ref::PageTable table_;
};

Index positions_of(const ModelConfig& config) {
  return config.architecture == Architecture::gpt_bigcode ? config.num_positions : config.rope.max_positions;
}

void expect_runs(const Plan& plan, const ModelConfig& config) {
  for (const Story& story : plan) {
    Bookkeeping cache(story.limits);
    for (const Call& call : story.calls) {
      SCOPED_TRACE(call.label);
      EXPECT_LT(cache.run(call), positions_of(config));
      for (const std::int32_t row : call.logit_positions) EXPECT_TRUE(row >= 0 && row < call.rows());
    }
  }
}

class EveryArchitecturesPlan : public ::testing::TestWithParam<Architecture> {};
INSTANTIATE_TEST_SUITE_P(Architectures, EveryArchitecturesPlan, ::testing::ValuesIn(kArchitectures),
                         [](const auto& arch) { return std::string(name(arch.param)); });

TEST_P(EveryArchitecturesPlan, StaysWithinItsOwnLimits) {
  for (const Extent extent : {Extent::quick, Extent::full}) {
    expect_runs(make_plan(small(GetParam()), extent, 1), small(GetParam()));
  }
}

TEST_P(EveryArchitecturesPlan, StaysWithinTheLimitsOfOtherPrompts) {
  const ModelConfig config = small(GetParam());
  for (const std::vector<Index>& prompts : {std::vector<Index>{2, 1}, {16, 32, 1, 64}, {490, 3}}) {
    expect_runs(make_plan(config, Extent::quick, 1, prompts), config);
  }
}

TEST_P(EveryArchitecturesPlan, StaysWithinTheLimitsOfASinglePrompt) {
  const ModelConfig config = small(GetParam());
  for (const Index prompt : {1, 2, 100}) expect_runs(make_plan(config, Extent::quick, 1, {prompt}), config);
}

TEST_P(EveryArchitecturesPlan, StaysWithinTheFewPositionsOfAModel) {
  const bool bigcode = GetParam() == Architecture::gpt_bigcode;
  for (const Index positions : {24, 32, 40}) {
    nlohmann::json overrides = {{bigcode ? "n_positions" : "max_position_embeddings", positions}};
    if (GetParam() == Architecture::llama) overrides["rope_scaling"] = nullptr;
    const ModelConfig config = preset_config(small_preset(GetParam()), overrides);
    ASSERT_EQ(positions_of(config), positions);
    for (const Extent extent : {Extent::quick, Extent::full}) expect_runs(make_plan(config, extent, 1), config);
  }
}

TEST(QuickPlan, HasEveryMethod) {
  EXPECT_EQ(methods_of(make_plan(small(Architecture::llama), Extent::quick, 1)).size(),
            static_cast<std::size_t>(backends::kNumMethods));
  EXPECT_LT(total_rows(make_plan(small(Architecture::llama), Extent::quick, 1)), 200);
}

// Beside a sequence without a window. Whole pages and parts of them are forgotten.
TEST_P(EveryArchitecturesPlan, HasAWindowThatSlides) {
  const Plan plan = make_plan(small(GetParam()), Extent::quick, 1);
  const auto story = std::ranges::find(plan, "window", &Story::name);
  ASSERT_NE(story, plan.end());
  EXPECT_TRUE(story->limits.support_sliding_window);
  Bookkeeping cache(story->limits);
  Index fed = 0, other = 0;
  std::set<Index> forgotten;
  for (const Call& call : story->calls) {
    const Index before = fed;
    (void)cache.run(call);
    for (std::size_t i = 0; i < call.ids.size(); ++i) (call.ids[i] == 0 ? fed : other) += call.lengths[i];
    EXPECT_EQ(cache.length(0), std::min<Index>(fed, 8)) << call.label;
    EXPECT_EQ(cache.length(1), other) << call.label;
    forgotten.insert(fed - before);
  }
  EXPECT_GT(fed, 8);
  EXPECT_TRUE(forgotten.contains(1));
  EXPECT_GT(*forgotten.rbegin(), story->limits.page_size) << "more than a page at once";
}

// Prompts that end before, at and behind the end of a page.
TEST_P(EveryArchitecturesPlan, EndsPromptsAroundTheEndOfAPage) {
  const Plan plan = make_plan(small(GetParam()), Extent::quick, 1);
  const auto story = std::ranges::find(plan, "pages", &Story::name);
  ASSERT_NE(story, plan.end());
  const Index page = story->limits.page_size;
  EXPECT_EQ(story->calls.front().lengths, (std::vector<Index>{page - 1, page, page + 1}));
  std::set<Index> sizes;
  for (const Story& any : plan) sizes.insert(any.limits.page_size);
  EXPECT_GE(sizes.size(), 4U) << "1 and 16 among them";
  EXPECT_TRUE(sizes.contains(1) && sizes.contains(16));
}

TEST_P(EveryArchitecturesPlan, PadsWhereRowsMayBePadded) {
  const ModelConfig config = small(GetParam());
  Index padded = 0;
  for (const Story& story : make_plan(config, Extent::full, 1)) {
    for (const Call& call : story.calls) {
      EXPECT_EQ(call.padding > 0, call.input_shape(config.hidden_size)[1] > call.rows() && call.rows() > 1);
      if (call.padding == 0) continue;
      ++padded;
      EXPECT_EQ(call.input_shape(config.hidden_size), (Shape{1, call.rows() + call.padding, config.hidden_size}));
    }
  }
  EXPECT_GE(padded, 2);
}

TEST(FullPlan, BeginsWithTheQuickOneAndCrossesTheBorderOfScaling) {
  const ModelConfig config = small(Architecture::llama);
  const Plan quick = make_plan(config, Extent::quick, 1), full = make_plan(config, Extent::full, 1);
  EXPECT_EQ(plan_json(Plan(full.begin(), full.begin() + static_cast<std::ptrdiff_t>(quick.size()))), plan_json(quick));
  EXPECT_GT(total_rows(full), 3 * total_rows(quick));
  EXPECT_GT(largest_call(full), config.rope.original_max_positions);
}

TEST(Plans, HaveUniqueLabels) {
  const Plan plan = make_plan(small(Architecture::llama), Extent::full, 1);
  std::set<std::string> labels;
  for (const Story& story : plan) {
    for (const Call& call : story.calls) labels.insert(call.label);
  }
  EXPECT_EQ(static_cast<Index>(labels.size()), total_calls(plan));
}

TEST(Plans, UseTokensOfTheVocabularyWithBothEnds) {
  for (const Architecture architecture : kArchitectures) {
    const ModelConfig config = small(architecture);
    for (const std::uint64_t seed : {0U, 1U, 99U}) {
      std::set<std::int32_t> tokens;
      for (const Story& story : make_plan(config, Extent::quick, seed)) {
        for (const Call& call : story.calls) tokens.insert(call.tokens.begin(), call.tokens.end());
      }
      EXPECT_EQ(*tokens.begin(), 0);
      EXPECT_EQ(*tokens.rbegin(), config.vocab_size - 1);
      EXPECT_GT(tokens.size(), 50U) << "scattered";
    }
  }
}

TEST(Plans, AreTheSameFromTheSameSeedAndOthersFromAnother) {
  const ModelConfig config = small(Architecture::olmo);
  EXPECT_EQ(plan_json(make_plan(config, Extent::quick, 5)), plan_json(make_plan(config, Extent::quick, 5)));
  EXPECT_NE(plan_json(make_plan(config, Extent::quick, 5)), plan_json(make_plan(config, Extent::quick, 6)));
}

TEST(Plans, WithPromptsRunTheFirstAloneAllTogetherAndTheLongestInPieces) {
  const Plan plan = make_plan(small(Architecture::llama), Extent::quick, 1, {7, 30, 1});
  ASSERT_EQ(plan.size(), 3U);
  EXPECT_EQ(plan[0].calls[0].lengths, (std::vector<Index>{7}));
  EXPECT_EQ(plan[1].calls[0].lengths, (std::vector<Index>{7, 30, 1}));
  EXPECT_EQ(plan[2].calls[0].rows() + plan[2].calls[1].rows(), 30);
}

TEST(Plans, RefusePromptsThatDoNotFit) {
  const ModelConfig config = small(Architecture::llama);  // 512 positions
  for (const std::vector<Index>& prompts : {std::vector<Index>{0}, {-3}, {513}, {5, 497}}) {
    EXPECT_EQ(error_of([&] { (void)make_plan(config, Extent::quick, 1, prompts); }).code(), "input.position_range");
  }
  EXPECT_NO_THROW((void)make_plan(config, Extent::quick, 1, {496}));
}

TEST(WithMethods, KeepsWhatComesBeforeTheLastOfThem) {
  const Plan plan = make_plan(small(Architecture::llama), Extent::quick, 1);
  const Method verify[] = {Method::batch_verify_to_last_hidden_states};
  const Plan out = with_methods(plan, verify);
  ASSERT_EQ(out.size(), 1U);  // the batch's story alone, without its last call
  EXPECT_EQ(out[0].name, "batch");
  EXPECT_EQ(out[0].calls.back().method, Method::batch_verify_to_last_hidden_states);
  EXPECT_EQ(out[0].calls.front().method, Method::batch_prefill);
  EXPECT_EQ(out[0].calls.size(), plan[1].calls.size() - 1);
  expect_runs(out, small(Architecture::llama));
  std::vector<Method> all;
  for (const Method method : methods_of(plan)) all.push_back(method);
  EXPECT_EQ(plan_json(with_methods(plan, all)), plan_json(plan));
}

TEST(WithMethods, RefusesMethodsThatNoCallHas) {
  const Plan single = {make_plan(small(Architecture::llama), Extent::quick, 1).front()};
  const Method verify[] = {Method::batch_verify};
  EXPECT_EQ(error_of([&] { (void)with_methods(single, verify); }).code(), "method.not_in_plan");
  EXPECT_EQ(error_of([&] { (void)with_methods(single, {}); }).code(), "method.not_in_plan");
}

TEST(UpToCall, IsTheStoryThatEndsWithIt) {
  const Plan plan = make_plan(small(Architecture::llama), Extent::full, 1);
  for (const Story& story : plan) {
    for (std::size_t i = 0; i < story.calls.size(); ++i) {
      const Plan out = up_to_call(plan, story.calls[i].label);
      ASSERT_EQ(out.size(), 1U);
      EXPECT_EQ(out[0].name, story.name);
      EXPECT_EQ(out[0].calls.size(), i + 1);
      EXPECT_EQ(out[0].calls.back().label, story.calls[i].label);
    }
  }
  const Error error = error_of([&] { (void)up_to_call(plan, "single/0 prefil"); });
  EXPECT_EQ(error.code(), "plan.label");
  EXPECT_THAT(error.message(), ::testing::HasSubstr("single/0 prefill"));
}

TEST(Calls, KnowTheirShapesAndRows) {
  Call call;
  call.ids = {3, 4};
  call.lengths = {2, 1};
  call.tokens = {1, 2, 3};
  call.logit_positions = {2, 0, 2};
  const auto with = [&](Method method) {
    Call out = call;
    out.method = method;
    return out;
  };
  using Rows = std::vector<std::int32_t>;
  EXPECT_EQ(with(Method::batch_verify).input_shape(8), (Shape{1, 3, 8}));
  EXPECT_EQ(with(Method::batch_decode).input_shape(8), (Shape{3, 1, 8}));
  EXPECT_EQ(with(Method::batch_decode_to_last_hidden_states).input_shape(8), (Shape{3, 1, 8}));
  EXPECT_EQ(with(Method::batch_prefill).result_rows(), (Rows{2, 0, 2}));
  EXPECT_EQ(with(Method::prefill).result_rows(), (Rows{2}));
  EXPECT_EQ(with(Method::batch_verify).result_rows(), (Rows{0, 1, 2}));
  EXPECT_EQ(with(Method::prefill_to_last_hidden_states).result_rows(), (Rows{0, 1, 2}));
  EXPECT_EQ(call.row_sequences(), (std::vector<Index>{0, 0, 1}));
}

}  // namespace
}  // namespace mlbench::harness
