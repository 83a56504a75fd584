// Which splits are legal, and what is said of those from the command line. Those of a configuration stand in
// config_engine_test.cpp.
#include "models/parallel_rules.h"

#include "models/presets.h"
#include "tests/support/expect_error.h"

namespace mlbench {
namespace {

using Number = SplitFault::Number;

TEST(SplitRules, LetLegalOnesPass) {
  const ModelConfig config = preset_config("llama-2-70b");  // 80 layers, 8 heads of keys
  for (const Split& split : {Split{1, 1}, Split{8, 1}, Split{1, 80}, Split{4, 16}, Split{2, 3}}) {
    EXPECT_FALSE(fault_of(config, split)) << split.tensor_parallel << ' ' << split.pipeline_parallel;
    EXPECT_FALSE(why_not(config, split, "llama-2-70b"));
  }
}

struct Wrong {
  const char* preset;
  Split split;
  Number number;
  const char* code;
  const char* message;
};

class WrongSplit : public testing::TestWithParam<Wrong> {};

TEST_P(WrongSplit, IsNamedWithItsOption) {
  const Wrong& wrong = GetParam();
  const ModelConfig config = preset_config(wrong.preset);
  const auto fault = fault_of(config, wrong.split);
  ASSERT_TRUE(fault);
  EXPECT_EQ(fault->number, wrong.number);
  EXPECT_EQ(fault->code, wrong.code);
  const auto error = why_not(config, wrong.split, wrong.preset);
  ASSERT_TRUE(error);
  EXPECT_EQ(error->kind(), ErrorKind::request);
  EXPECT_EQ(error->code(), wrong.code);
  EXPECT_EQ(error->message(), wrong.message);
}

INSTANTIATE_TEST_SUITE_P(
    Rules, WrongSplit,
    testing::Values(Wrong{"llama-2-70b",
                          {3, 1},
                          Number::shards,
                          "parallel.indivisible",
                          "llama-2-70b: --tp 3: must divide the MLP size, 28672"},
                    Wrong{"llama-2-70b",
                          {16, 1},
                          Number::shards,
                          "parallel.indivisible",
                          "llama-2-70b: --tp 16: must divide the number of key-value heads, 8"},
                    Wrong{"llama-2-70b", {0, 1}, Number::shards, "config.value", "llama-2-70b: --tp 0: must be >= 1"},
                    Wrong{"starcoderbase-1b",
                          {2, 1},
                          Number::shards,
                          "parallel.unsupported",
                          "starcoderbase-1b: --tp 2: gpt_bigcode cannot be sharded: must be 1"},
                    Wrong{"llama-2-70b",
                          {1, 81},
                          Number::stages,
                          "config.value",
                          "llama-2-70b: --pp 81: must lie within 1..80, the number of layers"},
                    Wrong{"llama-2-70b",
                          {2, 0},
                          Number::stages,
                          "config.value",
                          "llama-2-70b: --pp 0: must lie within 1..80, the number of layers"},
                    Wrong{"llama-3.2-3b",
                          {1, 8},
                          Number::stages,
                          "config.value",
                          "llama-3.2-3b: --pp 8: 28 layers in pieces of 4 leave a stage empty"},
                    // The shards are spoken of first.
                    Wrong{"llama-2-70b",
                          {3, 81},
                          Number::shards,
                          "parallel.indivisible",
                          "llama-2-70b: --tp 3: must divide the MLP size, 28672"}));

// A prompt's last token is computed apart from the others: that must not change their keys.
TEST(PrefillAndDecodeApart, AreOfModelsWhoseKeysDoNotDependOnThePromptsLength) {
  ModelConfig config = preset_config("llama-small");
  for (const RopeKind kind : {RopeKind::none, RopeKind::plain, RopeKind::linear, RopeKind::llama3, RopeKind::yarn}) {
    config.rope.kind = kind;
    EXPECT_FALSE(why_not_apart(config)) << name(kind);
  }
  for (const RopeKind kind : {RopeKind::dynamic, RopeKind::longrope}) {
    config.rope.kind = kind;
    const auto rule = why_not_apart(config);
    ASSERT_TRUE(rule) << name(kind);
    EXPECT_NE(rule->find(name(kind)), std::string::npos) << *rule;
  }
}

}  // namespace
}  // namespace mlbench
