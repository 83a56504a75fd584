// The same tokens in every way: what differs between two ways is found between those two.
#include "harness/schedules.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <string_view>
#include <tuple>

#include <gmock/gmock.h>

#include "harness/verify_backend.h"
#include "models/presets.h"
#include "models/synthetic.h"
#include "tests/harness/around.h"

namespace mlbench::harness {
namespace {

using backends::Method;
using Tokens = std::vector<std::int32_t>;
using ::testing::IsEmpty;

ModelConfig small(Architecture architecture) {
  const char* layers = architecture == Architecture::gpt_bigcode ? "n_layer" : "num_hidden_layers";
  return preset_config(small_preset(architecture), {{layers, 1}});
}

// ---- the schedules ----

// Which tokens each sequence holds, operation by operation.
class Sequences {
 public:
  void add_sequence(SeqId id) { tokens_[id] = {}; }
  void remove_sequence(SeqId id) { tokens_.erase(id); }
  void fork_sequence(SeqId parent, SeqId child, Index pos) {
    Tokens from = tokens_.at(parent);
    if (pos >= 0) from.resize(static_cast<std::size_t>(pos));
    tokens_[child] = std::move(from);
  }
  void popn(SeqId id, Index count) { tokens_.at(id).resize(tokens_.at(id).size() - static_cast<std::size_t>(count)); }
  void enable_sliding_window_for_seq(SeqId, Index, Index) { ADD_FAILURE() << "the same tokens would be forgotten"; }
  void commit_accepted_token_tree_nodes(std::span<const SeqId>, std::span<const Index>) {}

  void run(const Call& call) {
    for (const CacheOperation& operation : call.before) apply(operation, *this);
    auto next = call.tokens.begin();
    for (std::size_t i = 0; i < call.ids.size(); ++i) {
      Tokens& own = tokens_.at(call.ids[i]);
      own.insert(own.end(), next, next + call.lengths[i]);
      next += call.lengths[i];
    }
  }
  [[nodiscard]] const Tokens& of(SeqId id) const { return tokens_.at(id); }
  [[nodiscard]] std::size_t live() const { return tokens_.size(); }

 private:
  std::map<SeqId, Tokens> tokens_;
};

class EveryArchitecturesSchedules : public ::testing::TestWithParam<Architecture> {};
INSTANTIATE_TEST_SUITE_P(Architectures, EveryArchitecturesSchedules, ::testing::ValuesIn(kArchitectures),
                         [](const auto& arch) { return std::string(name(arch.param)); });

TEST_P(EveryArchitecturesSchedules, HoldTheSameTokensInTheSameOrder) {
  const Plan plan = make_schedules(small(GetParam()), 1);
  EXPECT_EQ(plan.size(), 10U);
  Tokens expected;
  for (const Story& story : plan) {
    SCOPED_TRACE(story.name);
    Sequences sequences;
    for (const Call& call : story.calls) {
      sequences.run(call);
      EXPECT_LE(sequences.live(), static_cast<std::size_t>(story.limits.max_batch_size));
      EXPECT_LE(call.rows(), story.limits.prefill_chunk_size);
      EXPECT_EQ(call.ids.back(), kOwnSequence) << "the last row of a result is ours";
    }
    if (expected.empty()) expected = sequences.of(kOwnSequence);
    EXPECT_EQ(sequences.of(kOwnSequence), expected);
  }
  EXPECT_EQ(expected.size(), 21U) << "across a page of 16";
}

TEST(Schedules, DoNotCutAPromptWhoseResultsDependOnIt) {
  for (const char* kind : {"dynamic", "longrope"}) {
    ModelConfig config = small(Architecture::llama);
    config.rope.kind = std::string(kind) == "dynamic" ? RopeKind::dynamic : RopeKind::longrope;
    const Plan plan = make_schedules(config, 1);
    EXPECT_GE(plan.size(), 4U);
    for (const Story& story : plan) EXPECT_EQ(story.calls.size(), 1U) << kind << " " << story.name;
  }
}

TEST(Schedules, AreNoneWhereTheModelHasTooFewPositions) {
  ModelConfig config = small(Architecture::gpt_bigcode);
  config.num_positions = 21;
  EXPECT_THAT(make_schedules(config, 1), IsEmpty());
}

// ---- what is found ----

BackendVerification compare(Architecture architecture, backends::Backend& backend) {
  Workers workers{1};
  const ModelConfig config = small(architecture);
  BackendOptions options;
  options.run = {.dtype = DType::f32, .threads = 1};
  options.isolated = false;
  options.schedules = true;
  Plan plan = make_plan(config, Extent::quick, 1);
  plan.resize(1);
  plan[0].calls.resize(1);
  return verify_backend(make_synthetic(config, DType::f32, 1, workers), backend, plan, options, workers);
}

const Invariance& of(const BackendVerification& run, std::string_view property) {
  return *std::ranges::find(run.invariances, property, &Invariance::property);
}

TEST_P(EveryArchitecturesSchedules, OfAnHonestBackendAgree) {
  const BackendVerification run = compare(GetParam(), *test::cpu_backend());
  EXPECT_EQ(run.error, "");
  EXPECT_EQ(run.schedules.size(), 45U);  // pairs of ten
  for (const ScheduleComparison& pair : run.schedules) {
    EXPECT_TRUE(pair.passed) << pair.a << " " << pair.b << " " << pair.ratio;
    EXPECT_EQ(pair.bitwise, pair.first_tap.empty());
    EXPECT_EQ(pair.bitwise, pair.max_difference == 0.0);
    EXPECT_EQ(pair.bitwise, pair.position < 0);
  }
  EXPECT_EQ(run.invariances.size(), 3U);
  EXPECT_TRUE(of(run, "run to run").holds);
  EXPECT_TRUE(of(run, "taps on = off").holds);
  EXPECT_TRUE(of(run, "taps on = off").required);
  EXPECT_FALSE(of(run, "batch").required);
  EXPECT_TRUE(run.passed());
}

// Its method decode reads rows that are a hundredth too large.
class WrongInDecode final : public test::SessionAround {
 public:
  using SessionAround::SessionAround;
  void forward(Method method, const ConstTensorView& x, std::span<const std::int32_t> positions,
               backends::KvCache& cache, const TensorView& out, backends::TapSink* taps) override {
    if (method != Method::decode) return SessionAround::forward(method, x, positions, cache, out, taps);
    ref::Tensor rows = widened(x);
    for (double& value : rows.values()) value *= 1.01;
    const HostTensor larger(x.dtype, rows);
    SessionAround::forward(method, larger.view(), positions, cache, out, taps);
  }
};

TEST(CompareSchedules, BlamesThePairsWithTheWrongOneAlone) {
  const BackendVerification run = compare(Architecture::llama, *test::cpu_with_session<WrongInDecode>());
  EXPECT_EQ(run.error, "");
  ASSERT_EQ(run.schedules.size(), 45U);
  for (const ScheduleComparison& pair : run.schedules) {
    const bool wrong = pair.a == "one by one" || pair.b == "one by one";
    EXPECT_EQ(pair.passed, !wrong) << pair.a << " " << pair.b << " " << pair.ratio;
    if (!wrong) continue;
    EXPECT_EQ(pair.first_tap, "embed") << "the first in the order of computation";
    EXPECT_EQ(pair.position, 0);
    EXPECT_GT(pair.ratio, 1.0);
  }
  EXPECT_EQ(run.verdict(), BackendVerification::Verdict::failed);
}

// Rows of large models are compared in parts: of some taps, then of others.
TEST(CompareSchedules, ComesToTheSameInParts) {
  Workers workers{1};
  const Model model = make_synthetic(small(Architecture::llama), DType::f32, 1, workers);
  const auto backend = test::cpu_with_session<WrongInDecode>();
  const auto session = backend->load(model, {.dtype = DType::f32, .threads = 1});
  const ErrorModel errors(model, session->arithmetic(), workers);
  const ref::Reference reference(model, workers);
  const auto compare = [&](std::optional<std::uint64_t> room) {
    return compare_schedules(reference, errors, *session, 1, nullptr, room);
  };
  const ScheduleResults whole = compare(std::nullopt), parts = compare(200'000);
  ASSERT_EQ(whole.pairs.size(), parts.pairs.size());
  for (std::size_t i = 0; i < whole.pairs.size(); ++i) {
    const ScheduleComparison &a = whole.pairs[i], &b = parts.pairs[i];
    EXPECT_EQ(std::tie(a.a, a.b, a.bitwise, a.first_tap, a.position),
              std::tie(b.a, b.b, b.bitwise, b.first_tap, b.position));
    EXPECT_EQ(std::tie(a.max_difference, a.ratio), std::tie(b.max_difference, b.ratio));
  }
  ASSERT_EQ(whole.invariances.size(), parts.invariances.size());
  for (std::size_t i = 0; i < whole.invariances.size(); ++i)
    EXPECT_EQ(whole.invariances[i].holds, parts.invariances[i].holds);
}

// The first result of a forward is a unit in the last place larger, by what the session was asked for.
class Moody : public test::SessionAround {
 public:
  Moody(std::unique_ptr<backends::Session> inner, std::function<bool(bool taps)> mood)
      : SessionAround(std::move(inner)), mood_(std::move(mood)) {}
  void forward(Method method, const ConstTensorView& x, std::span<const std::int32_t> positions,
               backends::KvCache& cache, const TensorView& out, backends::TapSink* taps) override {
    SessionAround::forward(method, x, positions, cache, out, taps);
    float& first = test::floats(out)[0];
    if (mood_(taps != nullptr)) first = std::nextafter(first, 1e30F);
  }

 private:
  std::function<bool(bool)> mood_;
};
std::unique_ptr<backends::Backend> moody(const std::function<bool(bool taps)>& mood) {
  return test::cpu_backend(
      [mood](std::unique_ptr<backends::Session> inner) { return std::make_unique<Moody>(std::move(inner), mood); });
}

TEST(CompareSchedules, RequiresThatTapsChangeNothing) {
  const BackendVerification run = compare(Architecture::olmo, *moody([](bool taps) { return taps; }));
  EXPECT_TRUE(std::ranges::all_of(run.schedules, &ScheduleComparison::passed));
  EXPECT_TRUE(of(run, "run to run").holds);
  const Invariance& taps = of(run, "taps on = off");
  EXPECT_FALSE(taps.holds);
  EXPECT_TRUE(taps.required);
  EXPECT_EQ(taps.first_tap, "logits");
  EXPECT_GT(taps.max_difference, 0.0);
  EXPECT_EQ(run.verdict(), BackendVerification::Verdict::failed);
}

// Sums in an order that the machine chooses are honest. Whether taps change a result cannot be told then.
TEST(CompareSchedules, ReportsRunsThatDifferAndFailsNone) {
  class Noisy final : public test::SessionAround {
   public:
    using SessionAround::SessionAround;
    void forward(Method method, const ConstTensorView& x, std::span<const std::int32_t> positions,
                 backends::KvCache& cache, const TensorView& out, backends::TapSink* taps) override {
      SessionAround::forward(method, x, positions, cache, out, taps);
      float& last = test::floats(out).back();
      for (int i = 0; i < forwards_ % 5; ++i) last = std::nextafter(last, 1e30F);
      ++forwards_;
    }

   private:
    int forwards_ = 0;
  };
  const BackendVerification run = compare(Architecture::olmo, *test::cpu_with_session<Noisy>());
  EXPECT_FALSE(of(run, "run to run").holds);
  EXPECT_FALSE(of(run, "run to run").required);
  EXPECT_EQ(of(run, "run to run").first_tap, "logits");
  EXPECT_FALSE(of(run, "taps on = off").holds);
  EXPECT_EQ(run.verdict(), BackendVerification::Verdict::passed);
}

TEST(CompareSchedules, SeesADifferenceToNoNumber) {
  class NotANumber final : public test::SessionAround {
   public:
    using SessionAround::SessionAround;
    void forward(Method method, const ConstTensorView& x, std::span<const std::int32_t> positions,
                 backends::KvCache& cache, const TensorView& out, backends::TapSink* taps) override {
      SessionAround::forward(method, x, positions, cache, out, taps);
      if (method == Method::batch_prefill) test::floats(out).back() = std::nanf("");
    }
  };
  const BackendVerification run = compare(Architecture::olmo, *test::cpu_with_session<NotANumber>());
  for (const ScheduleComparison& pair : run.schedules) {
    const bool wrong = (pair.a == "batched") != (pair.b == "batched");
    EXPECT_EQ(pair.passed, !wrong) << pair.a << " " << pair.b;
    if (wrong) {
      EXPECT_EQ(pair.max_difference, std::numeric_limits<double>::infinity());
    }
  }
}

}  // namespace
}  // namespace mlbench::harness
