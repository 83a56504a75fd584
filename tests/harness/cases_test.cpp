// What one verification runs beside the user's own plan.
#include "harness/cases.h"

#include <algorithm>
#include <set>

#include <gmock/gmock.h>

#include "harness/plan_json.h"
#include "models/presets.h"
#include "models/taps.h"
#include "tests/support/expect_error.h"

namespace mlbench::harness {
namespace {

using backends::Method;
using mlbench::test::error_of;
using ::testing::HasSubstr;

class EveryArchitecturesCases : public ::testing::TestWithParam<Architecture> {
 protected:
  [[nodiscard]] std::vector<VerifyCase> cases(std::span<const Inputs> inputs = kInputs) const {
    return make_cases(config_, make_plan(config_, Extent::full, 1), inputs, 1);
  }
  ModelConfig config_ = preset_config(small_preset(GetParam()));
};
INSTANTIATE_TEST_SUITE_P(Architectures, EveryArchitecturesCases, ::testing::ValuesIn(kArchitectures),
                         [](const auto& arch) { return std::string(name(arch.param)); });

std::vector<std::string> labels_of(const std::vector<VerifyCase>& cases) {
  std::vector<std::string> out;
  for (const VerifyCase& one : cases) {
    for (const Story& story : one.plan) {
      for (const Call& call : story.calls) out.push_back(call.label);
    }
  }
  return out;
}

Index rows_of(const Story& story) { return total_rows({story}); }

TEST_P(EveryArchitecturesCases, HaveLabelsThatAreUniqueOverAllOfThem) {
  const std::vector<std::string> labels = labels_of(cases());
  EXPECT_EQ(std::set<std::string>(labels.begin(), labels.end()).size(), labels.size());
}

TEST_P(EveryArchitecturesCases, AreThoseOfTheInputsAskedFor) {
  for (const Inputs inputs : kInputs) {
    const std::vector<VerifyCase> only = cases({&inputs, 1});
    EXPECT_FALSE(only.empty());
    for (const VerifyCase& one : only) EXPECT_EQ(one.inputs, inputs) << one.name;
  }
  EXPECT_TRUE(cases({}).empty());
  std::set<std::string> names;
  for (const VerifyCase& one : cases()) names.insert(one.name);
  EXPECT_EQ(names.size(), cases().size());
  EXPECT_TRUE(names.contains("exact-1") && names.contains("exact-3") && names.contains("adversarial"));
}

TEST_P(EveryArchitecturesCases, RunTheUsersPlanAsItIsOnEverydayInputs) {
  const VerifyCase own = cases().front();
  EXPECT_EQ(own.name, "");
  EXPECT_FALSE(own.config);
  EXPECT_EQ(plan_json(own.plan), plan_json(make_plan(config_, Extent::full, 1)));
}

// Of the same architecture, small, and possible: heads divide, the scale 1/sqrt(d) is a power of two.
TEST_P(EveryArchitecturesCases, HaveExactModelsThatCanBe) {
  const Inputs exact = Inputs::exact;
  for (const VerifyCase& one : cases({&exact, 1})) {
    ASSERT_TRUE(one.config);
    EXPECT_EQ(one.config->architecture, GetParam());
    EXPECT_EQ(one.config->num_heads % one.config->num_kv_heads, 0);
    EXPECT_EQ(one.config->head_dim, 16);
    if (GetParam() != Architecture::llama) {
      EXPECT_EQ(one.config->hidden_size, one.config->q_width());
    }
    EXPECT_LE(one.config->rope.rotary_dim, one.config->head_dim);
    EXPECT_LE(total_rows(one.plan), longest_sequence(*one.config));
    EXPECT_FALSE(tap_specs(*one.config).empty());
    for (const Story& story : one.plan) {
      EXPECT_GE(story.limits.max_total_seq_len, rows_of(story));
      for (const Call& call : story.calls) {
        for (const std::int32_t token : call.tokens) EXPECT_TRUE(token >= 0 && token < one.config->vocab_size);
      }
    }
  }
}

// Attention is exact where 2^k entries are seen: some row of some call must.
TEST_P(EveryArchitecturesCases, HaveExactRowsThatSeeAPowerOfTwo) {
  const Inputs exact = Inputs::exact;
  for (const VerifyCase& one : cases({&exact, 1})) {
    Index seen = 0, behind_a_cache = 0, calls = 0;
    for (const Call& call : one.plan.front().calls) {
      for (Index row = 0; row < call.rows(); ++row) {
        ++seen;
        if (calls > 0 && (seen & (seen - 1)) == 0) ++behind_a_cache;
      }
      ++calls;
    }
    EXPECT_GE(behind_a_cache, 1) << one.name;
  }
}

TEST_P(EveryArchitecturesCases, ScaleEveryKindPastItsBorder) {
  const Inputs adversarial = Inputs::adversarial;
  std::set<RopeKind> kinds;
  for (const VerifyCase& one : cases({&adversarial, 1})) {
    if (!one.config) continue;
    const RopeConfig& rope = one.config->rope;
    kinds.insert(rope.kind);
    EXPECT_EQ(one.name, "scaled-" + std::string(name(rope.kind)));
    const Index border = rope.kind == RopeKind::dynamic ? rope.max_positions : rope.original_max_positions;
    const std::vector<Call>& calls = one.plan.front().calls;
    EXPECT_GT(total_rows(one.plan), border) << one.name;
    if (rope.kind != RopeKind::linear) {
      EXPECT_LT(calls.front().rows(), border) << "begins on this side of it";
    }
    if (rope.kind == RopeKind::longrope) {
      EXPECT_EQ(static_cast<Index>(rope.short_factor.size()), rope.rotary_dim / 2);
      EXPECT_NE(rope.short_factor, rope.long_factor);
    }
  }
  std::set<RopeKind> expected;
  if (GetParam() != Architecture::gpt_bigcode) expected = {RopeKind::linear, RopeKind::dynamic};
  if (!expected.empty() && GetParam() != Architecture::orion)
    expected.insert({RopeKind::llama3, RopeKind::yarn, RopeKind::longrope});
  EXPECT_EQ(kinds, expected);
}

TEST_P(EveryArchitecturesCases, AreTheSameFromTheSameSeedAndOthersFromAnother) {
  const auto text = [&](std::uint64_t seed) {
    std::string out;
    for (const VerifyCase& one : make_cases(config_, {}, kInputs, seed)) out += plan_json(one.plan).dump();
    return out;
  };
  EXPECT_EQ(text(4), text(4));
  EXPECT_NE(text(4), text(5));
}

// What --call is given is any line of the table.
TEST_P(EveryArchitecturesCases, AreNarrowedToAnyCall) {
  for (const std::string& label : labels_of(cases())) {
    const std::vector<VerifyCase> one = up_to_call(cases(), label);
    ASSERT_EQ(one.size(), 1U) << label;
    ASSERT_EQ(one[0].plan.size(), 1U) << label;
    EXPECT_EQ(one[0].plan[0].calls.back().label, label);
    EXPECT_TRUE(label.starts_with(one[0].name)) << label;
  }
}

TEST_P(EveryArchitecturesCases, AreNarrowedToMethods) {
  const Method verify[] = {Method::batch_verify};
  const std::vector<VerifyCase> with = with_methods(cases(), verify);
  EXPECT_EQ(with.size(), cases().size()) << "every case verifies";
  for (const VerifyCase& one : with) {
    for (const Story& story : one.plan) EXPECT_EQ(story.calls.back().method, Method::batch_verify);
  }
  const Method hidden[] = {Method::batch_decode_to_last_hidden_states};
  EXPECT_EQ(with_methods(cases(), hidden).size(), 2U) << "the user's own, and the adversarial batch";
}

TEST_P(EveryArchitecturesCases, ThatHaveNoSuchCallOrMethodAreRefused) {
  const Error error = error_of([&] { (void)up_to_call(cases(), "exact-2/1 decod"); });
  EXPECT_EQ(error.code(), "plan.label");
  EXPECT_THAT(error.message(), HasSubstr("exact-2/1 decode"));
  const Inputs exact = Inputs::exact;
  const Method tree[] = {Method::batch_decode};
  EXPECT_EQ(error_of([&] { (void)with_methods(cases({&exact, 1}), tree); }).code(), "method.not_in_plan");
  EXPECT_EQ(error_of([&] { (void)with_methods(cases(), {}); }).code(), "method.not_in_plan");
}

}  // namespace
}  // namespace mlbench::harness
