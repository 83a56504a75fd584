// Plans and arithmetics as text: given back whole, and refused in one line where they are none.
#include "harness/plan_json.h"

#include <limits>

#include <gmock/gmock.h>

#include "models/presets.h"
#include "tests/support/expect_error.h"

namespace mlbench::harness {
namespace {

using mlbench::test::error_of;

ModelConfig small(Architecture architecture) { return preset_config(small_preset(architecture)); }

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
      EXPECT_EQ(back[s].limits.support_sliding_window, plan[s].limits.support_sliding_window);
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
        EXPECT_EQ(a.padding, b.padding);
        ASSERT_EQ(a.before.size(), b.before.size());
        for (std::size_t o = 0; o < a.before.size(); ++o) {
          EXPECT_EQ(a.before[o].kind, b.before[o].kind);
          EXPECT_EQ(a.before[o].id, b.before[o].id);
          EXPECT_EQ(a.before[o].child, b.before[o].child);
          EXPECT_EQ(a.before[o].number, b.before[o].number);
          EXPECT_EQ(a.before[o].sink, b.before[o].sink);
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
  for (const json& padding : std::vector<json>{-1, 2000, std::numeric_limits<Index>::max(), 2.5, 1e300, "5"})
    texts.push_back(with_call("padding", padding));
  // Replicas of a sequence are numbered from a multiple of its id, and sums of the others must not overflow.
  for (const char* field : {"sequence", "child", "number", "sink"}) {
    for (const json& value : std::vector<json>{Index{1} << 62, -(Index{1} << 62), ~std::uint64_t{0}, 2.5, 1e300, "5"}) {
      json operation = {{"operation", "window"}, {"sequence", 0}, {"number", 8}, {"sink", 2}};
      operation[field] = value;
      texts.push_back(with_call("before", json::array({operation})));
    }
  }
  for (const char* field : {"max_batch_size", "max_total_seq_len", "prefill_chunk_size", "page_size"}) {
    for (const json& value : std::vector<json>{Index{1} << 62, 2.5, 1e300, "5"}) {
      json plan = json::parse(with_call("before", json::array()));
      plan["stories"][0]["limits"][field] = value;
      texts.push_back(plan.dump());
    }
  }
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
                                   .product_sums = {.fused = 4, .truncates = true},
                                   .attention_sums = {.fused = 16},
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
  for (const nlohmann::json& fused : {nlohmann::json(0), nlohmann::json(-1), nlohmann::json(2.5)}) {
    nlohmann::json wrong = text;
    wrong["product_sums"]["fused"] = fused;
    EXPECT_EQ(error_of([&] { (void)parse_arithmetic(wrong.dump(), "here"); }).code(), "golden.format") << fused;
  }
}

}  // namespace
}  // namespace mlbench::harness
