// What a verification runs: complete, within its limits, and the same as text.
#include "harness/plan.h"

#include <algorithm>
#include <limits>
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

TEST(FullPlan, BeginsWithTheQuickOneAndCrossesTheBorderOfScaling) {
  const ModelConfig config = small(Architecture::llama);
  const Plan quick = make_plan(config, Extent::quick, 1), full = make_plan(config, Extent::full, 1);
  EXPECT_EQ(plan_json(Plan(full.begin(), full.begin() + 3)), plan_json(quick));
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
  const Method decode[] = {Method::batch_decode};
  const Plan out = with_methods(plan, decode);
  ASSERT_EQ(out.size(), 1U);  // the batch's story alone
  EXPECT_EQ(out[0].name, "batch");
  EXPECT_EQ(out[0].calls.back().method, Method::batch_decode);
  EXPECT_EQ(out[0].calls.front().method, Method::batch_prefill);
  EXPECT_EQ(out[0].calls.size(), 3U);
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

// ---- as text ----

TEST(PlanText, GivesBackThePlan) {
  for (const Architecture architecture : kArchitectures) {
    const Plan plan = make_plan(small(architecture), Extent::full, 3);
    const Plan back = parse_plan(plan_json(plan).dump(), "here");
    EXPECT_EQ(plan_json(back), plan_json(plan));
    ASSERT_EQ(back.size(), plan.size());
    for (std::size_t s = 0; s < plan.size(); ++s) {
      EXPECT_EQ(back[s].name, plan[s].name);
      EXPECT_EQ(back[s].limits.max_total_seq_len, plan[s].limits.max_total_seq_len);
      EXPECT_EQ(back[s].limits.page_size, plan[s].limits.page_size);
      ASSERT_EQ(back[s].calls.size(), plan[s].calls.size());
      for (std::size_t c = 0; c < plan[s].calls.size(); ++c) {
        const Call &a = back[s].calls[c], &b = plan[s].calls[c];
        EXPECT_EQ(a.label, b.label);
        EXPECT_EQ(a.method, b.method);
        EXPECT_EQ(a.ids, b.ids);
        EXPECT_EQ(a.lengths, b.lengths);
        EXPECT_EQ(a.tokens, b.tokens);
        EXPECT_EQ(a.tree_parents, b.tree_parents);
        EXPECT_EQ(a.logit_positions, b.logit_positions);
        ASSERT_EQ(a.before.size(), b.before.size());
        for (std::size_t o = 0; o < a.before.size(); ++o) {
          EXPECT_EQ(a.before[o].kind, b.before[o].kind);
          EXPECT_EQ(a.before[o].id, b.before[o].id);
          EXPECT_EQ(a.before[o].child, b.before[o].child);
          EXPECT_EQ(a.before[o].number, b.before[o].number);
        }
      }
    }
  }
}

// A call's object in place of the first one of a plan's text.
std::string with_call(const std::string& pointer, const nlohmann::json& value) {
  nlohmann::json plan =
      nlohmann::json::parse(plan_json(make_plan(small(Architecture::llama), Extent::quick, 1)).dump());
  nlohmann::json& call = plan["stories"][0]["calls"][0];
  if (value.is_discarded()) {
    call.erase(pointer);
  } else {
    call[pointer] = value;
  }
  return plan.dump();
}

TEST(PlanText, ThatIsNoneIsRefusedInOneLine) {
  using nlohmann::json;
  const json absent = json(json::value_t::discarded);
  std::vector<std::string> texts = {"",
                                    "{",
                                    "[]",
                                    "null",
                                    "7",
                                    "{}",
                                    R"({"stories": 3})",
                                    R"({"stories": [3]})",
                                    R"({"stories": [{"name": "a"}]})",
                                    R"({"stories": [{"name": "a", "limits": {}, "calls": []}]})",
                                    R"({"stories": [], "stories": []})",
                                    std::string(100000, '['),
                                    "{\"stories\": \xff}"};
  for (const char* field : {"label", "method", "before", "ids", "lengths", "tokens"}) {
    texts.push_back(with_call(field, absent));
    texts.push_back(with_call(field, 3.5));
    texts.push_back(with_call(field, {{"a", "b"}}));
  }
  texts.push_back(with_call("method", "prefil"));
  texts.push_back(with_call("method", "prefill\n\x1b[31m"));
  texts.push_back(with_call("lengths", {-19}));
  texts.push_back(with_call("lengths", {18}));
  texts.push_back(with_call("lengths", {0, 19}));
  texts.push_back(with_call("lengths", {std::numeric_limits<Index>::max(), 19}));
  texts.push_back(with_call("ids", json::array()));
  texts.push_back(with_call("ids", {0, 1}));
  texts.push_back(with_call("tokens", json::array()));
  texts.push_back(with_call("tokens", "no numbers"));
  texts.push_back(with_call("tree_parents", "no numbers"));
  texts.push_back(with_call("logit_positions", {{"a", 1}}));
  texts.push_back(with_call("before", {{{"operation", "explode"}, {"sequence", 0}}}));
  texts.push_back(with_call("before", {{{"operation", "add"}}}));
  for (const std::string& text : texts) {
    const Error error = error_of([&] { (void)parse_plan(text, "golden.h5"); });
    EXPECT_EQ(error.code(), "golden.format") << text.substr(0, 300);
    EXPECT_EQ(error.kind(), ErrorKind::request);
    EXPECT_THAT(error.message(), ::testing::StartsWith("golden.h5: "));
  }
}

// Numbers are not cut to what a token's type holds.
TEST(PlanText, WithTokensBeyondTheirTypeIsRefused) {
  std::vector<double> fractions(19, 1.5);
  std::vector<Index> large(19, Index{1} << 32);
  for (const nlohmann::json& tokens : {nlohmann::json(large), nlohmann::json(fractions)}) {
    EXPECT_EQ(error_of([&] { (void)parse_plan(with_call("tokens", tokens), "golden.h5"); }).code(), "golden.format");
  }
}

TEST(ArithmeticText, GivesBackTheArithmetic) {
  const backends::Arithmetic mixed{.weights = DType::bf16,
                                   .activations = DType::f32,
                                   .kv_cache = DType::f16,
                                   .logits = DType::f64,
                                   .product_inputs = DType::bf16,
                                   .attention_inputs = DType::f16,
                                   .accumulation = DType::f32,
                                   .f32_rope_angles = true};
  for (const backends::Arithmetic& arithmetic : {mixed, backends::Arithmetic{}}) {
    EXPECT_EQ(parse_arithmetic(arithmetic_json(arithmetic).dump(), "here"), arithmetic);
  }
  nlohmann::json text = nlohmann::json::parse(arithmetic_json(mixed).dump());
  for (const auto& field : text.items()) {
    nlohmann::json wrong = text;
    wrong[field.key()] = "f12";
    const Error error = error_of([&] { (void)parse_arithmetic(wrong.dump(), "here"); });
    EXPECT_EQ(error.code(), "golden.format") << field.key();
    wrong.erase(field.key());
    EXPECT_EQ(error_of([&] { (void)parse_arithmetic(wrong.dump(), "here"); }).code(), "golden.format");
  }
}

}  // namespace
}  // namespace mlbench::harness
