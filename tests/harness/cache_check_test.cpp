// What a cache says and holds, against the reference's: a wrong word or entry is found, an honest cache is left alone.
#include "harness/cache_check.h"

#include <algorithm>
#include <cmath>
#include <set>

#include <gmock/gmock.h>

#include "harness/verify_backend.h"
#include "models/presets.h"
#include "models/synthetic.h"
#include "tests/harness/around.h"

namespace mlbench::harness {
namespace {

using test::CacheAround;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class CacheOfARun : public ::testing::Test {
 protected:
  BackendVerification verify(backends::Backend& backend, const Plan& plan, bool chained = false) {
    BackendOptions options;
    options.run = {.dtype = DType::f32, .threads = 1};
    options.isolated = !chained;
    options.chained = chained;
    options.evidence = [this](const Evidence& evidence) { evidence_ = evidence; };
    return verify_backend(model_, backend, plan, options, workers_);
  }
  // Sequences, forks, a tree, removals.
  [[nodiscard]] Plan batch() const { return {make_plan(config_, Extent::quick, 1)[1]}; }

  std::optional<Evidence> evidence_;
  Workers workers_{1};
  ModelConfig config_ = preset_config(small_preset(Architecture::llama), {{"num_hidden_layers", 2}});
  Model model_ = make_synthetic(config_, DType::f32, 1, workers_);
};

std::vector<std::string> codes_of(const BackendVerification& run) {
  std::vector<std::string> out;
  for (const Finding& fault : run.faults) out.push_back(fault.code);
  return out;
}

std::set<std::string> failed_kinds(const BackendVerification& run) {
  std::set<std::string> out;
  for (const TapCheck& check : run.checks) {
    if (!check.passed) out.insert(check.kind);
  }
  return out;
}

TEST_F(CacheOfARun, ThatIsHonestPasses) {
  const auto backend = test::cpu_with_cache<CacheAround>();
  const BackendVerification run = verify(*backend, batch());
  EXPECT_EQ(run.error, "");
  EXPECT_THAT(failed_kinds(run), IsEmpty());
  EXPECT_THAT(run.faults, IsEmpty());
  for (const char* kind : {"cache.k", "cache.v"}) {
    const auto of_kind = [&](const TapCheck& check) { return check.kind == kind; };
    EXPECT_EQ(std::ranges::count_if(run.checks, of_kind), total_calls(batch()));
    EXPECT_TRUE(std::ranges::all_of(run.checks, [&](const TapCheck& c) { return !of_kind(c) || c.elements > 0; }));
  }
}

// ---- entries ----

// One key of the last entry is read one unit in the last place off.
template <bool of_keys>
class MisreadsOneEntry : public CacheAround {
 public:
  using CacheAround::CacheAround;
  void debug_get_kv(SeqId id, Index begin, Index end, const TensorView& keys, const TensorView& values) const override {
    CacheAround::debug_get_kv(id, begin, end, keys, values);
    float& last = test::floats(of_keys ? keys : values).back();
    last = std::nextafter(last, 1e30F);
  }
};

TEST_F(CacheOfARun, ThatHoldsAWrongEntryFailsToTheBit) {
  const auto keys = test::cpu_with_cache<MisreadsOneEntry<true>>(),
             values = test::cpu_with_cache<MisreadsOneEntry<false>>();
  for (const bool of_keys : {true, false}) {
    const BackendVerification run = verify(of_keys ? *keys : *values, batch());
    EXPECT_EQ(failed_kinds(run), std::set<std::string>{of_keys ? "cache.k" : "cache.v"});
    ASSERT_NE(run.first_failure(), nullptr);
    const TapCheck& first = *run.first_failure();
    EXPECT_EQ(first.call, "batch/0 batch_prefill");
    EXPECT_EQ(first.straying, 3) << "one in each sequence";
    ASSERT_TRUE(first.worst);
    const Index last_head = config_.num_kv_heads - 1, last = config_.head_dim - 1;
    EXPECT_EQ(first.worst->element, "layer 1 head " + std::to_string(last_head) + " [" + std::to_string(last) + "]");
    const Index lengths[] = {17, 1, 9};
    EXPECT_EQ(first.worst->position, lengths[first.worst->batch_row] - 1);
    EXPECT_NE(first.worst->expected, first.worst->computed);
    EXPECT_EQ(run.verdict(), BackendVerification::Verdict::failed);
    ASSERT_TRUE(evidence_);
    EXPECT_EQ(evidence_->check.tap, of_keys ? "cache.k" : "cache.v");
    EXPECT_EQ(evidence_->expected.shape(), (Shape{2, 17, config_.num_kv_heads, config_.head_dim})) << "sequence 0";
    EXPECT_NE(evidence_->expected.values().back(), evidence_->got.values().back());
  }
}

// The part of the parent's last page that a fork has to copy is not copied.
class ForgetsACopy : public CacheAround {
 public:
  using CacheAround::CacheAround;
  void fork_sequence(SeqId parent, SeqId child, Index pos) override {
    CacheAround::fork_sequence(parent, child, pos);
    constexpr Index kPage = 16, kLayers = 2, kHeads = 2, kWidth = 32;
    const Index first = pos - pos % kPage;
    HostTensor nothing(DType::f32, Shape{kLayers, pos - first, kHeads, kWidth});
    inner().debug_set_kv(child, first, nothing.view(), nothing.view());
  }
};

TEST_F(CacheOfARun, ThatLosesTheCopyOfAForkFailsFromThatCallOn) {
  ASSERT_EQ(config_.num_kv_heads, 2);
  ASSERT_EQ(config_.head_dim, 32);
  const auto backend = test::cpu_with_cache<ForgetsACopy>();
  const BackendVerification run = verify(*backend, batch());
  EXPECT_EQ(run.error, "");
  for (const char* kind : {"cache.k", "cache.v"}) {
    const auto it = std::ranges::find_if(run.checks, [&](const TapCheck& c) { return c.kind == kind && !c.passed; });
    ASSERT_NE(it, run.checks.end()) << kind;
    EXPECT_EQ(it->call, "batch/2 batch_decode") << "the first with the fork";
    EXPECT_EQ(it->worst->batch_row, 3) << "the fork";
    EXPECT_EQ(it->worst->computed, 0.0);
  }
}

// A sequence that holds nothing yet has no entries to compare.
TEST_F(CacheOfARun, MayHaveALiveSequenceWithoutEntries) {
  Plan plan = batch();
  plan[0].calls.resize(1);
  plan[0].calls[0].before.push_back({CacheOperation::Kind::add, 77, 0, 0, 0});
  plan[0].limits.max_batch_size += 1;
  const auto backend = test::cpu_backend();
  for (const bool chained : {false, true}) {
    const BackendVerification run = verify(*backend, plan, chained);
    EXPECT_EQ(run.error, "");
    EXPECT_TRUE(run.passed());
  }
}

// ---- what it says ----

class SaysTheNextPosition : public CacheAround {
 public:
  using CacheAround::CacheAround;
  [[nodiscard]] std::vector<std::int32_t> get_query_positions() const override {
    std::vector<std::int32_t> out = CacheAround::get_query_positions();
    out.back() += 1;
    return out;
  }
};
class SaysATokenMore : public CacheAround {
 public:
  using CacheAround::CacheAround;
  [[nodiscard]] Index sequence_length(SeqId id) const override { return CacheAround::sequence_length(id) + 1; }
};
class CountsATokenTwice : public CacheAround {
 public:
  using CacheAround::CacheAround;
  [[nodiscard]] Index total_sequence_length() const override { return CacheAround::total_sequence_length() + 1; }
};

TEST_F(CacheOfARun, ThatSaysOtherPositionsIsAtFaultInBothModes) {
  const auto backend = test::cpu_with_cache<SaysTheNextPosition>();
  for (const bool chained : {false, true}) {
    const BackendVerification run = verify(*backend, batch(), chained);
    EXPECT_THAT(codes_of(run), ElementsAre("cache.positions"));
    EXPECT_THAT(run.faults[0].where, HasSubstr("batch/0 batch_prefill"));
    EXPECT_THAT(run.faults[0].text, HasSubstr("times more")) << "every call, told once";
    EXPECT_THAT(failed_kinds(run), IsEmpty());
    EXPECT_EQ(run.verdict(), BackendVerification::Verdict::failed);
  }
}

TEST_F(CacheOfARun, ThatSaysOtherLengthsIsAtFault) {
  const auto one = test::cpu_with_cache<SaysATokenMore>(), all = test::cpu_with_cache<CountsATokenTwice>();
  for (backends::Backend* backend : {one.get(), all.get()}) {
    const BackendVerification run = verify(*backend, batch());
    EXPECT_THAT(codes_of(run), ElementsAre("cache.positions"));
    EXPECT_THAT(run.faults[0].text, HasSubstr("length"));
    EXPECT_EQ(run.verdict(), BackendVerification::Verdict::failed);
  }
}

class NeverEmpty : public CacheAround {
 public:
  using CacheAround::CacheAround;
  [[nodiscard]] bool empty() const override { return false; }
};
class LosesAPage : public CacheAround {
 public:
  using CacheAround::CacheAround;
  void clear() override {
    CacheAround::clear();
    ++lost_;
  }
  [[nodiscard]] Index num_available_pages() const override { return CacheAround::num_available_pages() - lost_; }

 private:
  Index lost_ = 0;
};

TEST_F(CacheOfARun, ThatIsNotFreshAfterClearIsAtFault) {
  const auto full = test::cpu_with_cache<NeverEmpty>(), leaking = test::cpu_with_cache<LosesAPage>();
  for (backends::Backend* backend : {full.get(), leaking.get()}) {
    for (const bool chained : {false, true})
      EXPECT_THAT(codes_of(verify(*backend, batch(), chained)), ElementsAre("cache.pages"));
  }
}

TEST(CheckPositions, SaysWhatWasExpected) {
  Call call;
  call.label = "batch/1 batch_decode";
  std::vector<Finding> seen;
  const FaultReport fault = [&](Finding finding) { seen.push_back(std::move(finding)); };
  check_positions(call, {4, 5}, {4, 5}, fault);
  EXPECT_THAT(seen, IsEmpty());
  check_positions(call, {4, 5}, {4, 6}, fault);
  check_positions(call, {4, 5}, {4}, fault);
  check_positions(call, {4, 5}, {5}, nullptr);
  ASSERT_EQ(seen.size(), 2U);
  EXPECT_EQ(seen[0].code, "cache.positions");
  EXPECT_EQ(seen[0].where, call.label);
  EXPECT_EQ(seen[0].text, "get_query_positions says [4, 6]: the rows stand at [4, 5]");
}

}  // namespace
}  // namespace mlbench::harness
