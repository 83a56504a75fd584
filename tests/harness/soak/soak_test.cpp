// A backend under load: an honest one raises no alarm, and one flipped bit is found, whenever it comes, and named.
#include "harness/soak/soak.h"

#include <gmock/gmock.h>

#include "core/error.h"
#include "harness/soak/workload.h"
#include "models/presets.h"
#include "models/synthetic.h"
#include "tests/harness/soak/flipping.h"

namespace mlbench::soak {
namespace {

using test::Flip;
using test::flipping_backend;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using Verdict = BackendVerification::Verdict;

constexpr Index kCalls = 8, kIterations = 6;

Model small_model() {
  Workers workers(1);
  const nlohmann::json two_layers = {{"num_hidden_layers", 2}};
  return make_synthetic(preset_config(small_preset(Architecture::llama), two_layers), DType::f32, 1, workers);
}

SoakOptions one_workload() {
  SoakOptions out;
  out.run.threads = 1;
  out.seconds = 1e9;
  out.iterations = kIterations;
  out.workloads = 1;
  out.calls = kCalls;
  out.taps_every = 1;
  return out;
}

SoakResults soak_of(backends::Backend& backend, const SoakOptions& options) {
  Workers workers(1);
  static const Model model = small_model();
  return soak(model, backend, options, workers);
}
SoakResults soak_of(const Flip& flip, const SoakOptions& options = one_workload()) {
  const auto backend = flipping_backend(flip);
  return soak_of(*backend, options);
}

Index calls_of_one_workload() {
  return static_cast<Index>(make_workload(small_model().config, one_workload().seed, 0, kCalls).calls.size());
}
// How many calls stand before the first of an iteration, from 1 on: a workload runs three times before.
Index before_iteration(Index iteration) { return (3 + iteration - 1) * calls_of_one_workload(); }

TEST(Soak, OfAnHonestBackendFindsNothing) {
  const auto backend = harness::test::cpu_backend();
  SoakOptions options = one_workload();
  options.workloads = 3;
  options.taps_every = 2;
  const SoakResults r = soak_of(*backend, options);
  EXPECT_EQ(r.verdict(), Verdict::passed) << r.error << r.check_failure;
  EXPECT_TRUE(r.bitwise);
  EXPECT_EQ(r.iterations, kIterations);
  EXPECT_EQ(r.with_taps, 3);  // the first of two rounds of three workloads
  EXPECT_GT(r.checks, 100);
  EXPECT_LE(r.worst_ratio, 1.0);
  EXPECT_GT(r.compared, 100000U);
  EXPECT_EQ(r.kept, "all taps");
}

TEST(Soak, FindsABitThatFlipsOnceInTheResult) {
  const SoakResults r = soak_of({.where = Flip::Where::result, .after = before_iteration(3), .element = 7, .bit = 0});
  EXPECT_EQ(r.verdict(), Verdict::failed);
  EXPECT_EQ(r.wrong_iterations, 1);
  ASSERT_EQ(r.faults.size(), 1U);
  const SoakFault& f = r.faults[0];
  EXPECT_EQ(f.iteration, 3);
  EXPECT_THAT(f.call, StartsWith("workload-0/0 "));
  EXPECT_EQ(f.tap, "logits");
  EXPECT_EQ(f.element, "[7]");
  EXPECT_EQ(f.bits, std::vector<int>{0});
  EXPECT_EQ(f.straying, 1);
  EXPECT_EQ(f.wrong_calls, 1);
  EXPECT_EQ(f.again, Again::transient);
  EXPECT_NE(f.expected_bits, f.computed_bits);
  EXPECT_EQ(r.reruns, 1);
  EXPECT_EQ(r.iterations, kIterations);  // it went on
}

TEST(Soak, NamesATapAndItsElement) {
  const SoakResults r =
      soak_of({.where = Flip::Where::tap, .after = before_iteration(2) + 1, .tap = Tap::attn_out, .element = 33});
  ASSERT_EQ(r.faults.size(), 1U);
  EXPECT_EQ(r.faults[0].tap, "layers.1.attn.out");
  EXPECT_EQ(r.faults[0].element, "[33]");
  EXPECT_EQ(r.faults[0].iteration, 2);
  EXPECT_THAT(r.faults[0].call, StartsWith("workload-0/1 "));
  EXPECT_TRUE(r.faults[0].with_taps);
  EXPECT_EQ(r.faults[0].bits, std::vector<int>{3});
}

// What spoils everything behind it is named where it begins.
TEST(Soak, NamesTheFirstTapInTheOrderOfComputation) {
  const SoakResults r = soak_of({.where = Flip::Where::input, .after = before_iteration(2), .element = 2, .bit = 30});
  ASSERT_EQ(r.faults.size(), 1U);
  EXPECT_EQ(r.faults[0].tap, "embed");
  EXPECT_EQ(r.faults[0].element, "[2]");
  EXPECT_EQ(r.faults[0].bits, std::vector<int>{30});
  EXPECT_GT(r.faults[0].wrong_calls, 1);  // what was cached is wrong, too
}

// Without taps it is the result that is wrong; the run once more, with taps, says where a lasting fault begins.
TEST(Soak, FindsALastingFaultWithoutTaps) {
  SoakOptions options = one_workload();
  options.taps_every = 0;
  options.iterations = 2;
  const SoakResults r =
      soak_of({.where = Flip::Where::input, .after = before_iteration(2), .times = 1000, .bit = 30}, options);
  ASSERT_EQ(r.faults.size(), 1U);
  EXPECT_EQ(r.faults[0].iteration, 2);
  EXPECT_FALSE(r.faults[0].with_taps);
  EXPECT_EQ(r.faults[0].again, Again::repeatable);
  EXPECT_THAT(r.faults[0].again_first, StartsWith("embed [5] in workload-0/0 "));
}

TEST(Soak, EndsAtTheFirstWhereThatIsAskedFor) {
  SoakOptions options = one_workload();
  options.stop_at_first = true;
  const SoakResults r = soak_of({.after = before_iteration(2), .times = 1000}, options);
  EXPECT_EQ(r.iterations, 2);
  EXPECT_EQ(r.wrong_iterations, 1);
  EXPECT_EQ(r.faults.at(0).again, Again::repeatable);
}

// One odd run of three before the clock starts is no proof that the backend's runs differ.
TEST(Soak, FindsAFlipBeforeTheFirstIteration) {
  const SoakResults r = soak_of({.after = calls_of_one_workload() + 1, .element = 1, .bit = 2});
  EXPECT_TRUE(r.bitwise);
  ASSERT_EQ(r.faults.size(), 1U);
  EXPECT_EQ(r.faults[0].iteration, 0);
  EXPECT_EQ(r.verdict(), Verdict::failed);
}

// ---- a backend whose runs are never the same ----

class Restless final : public harness::test::SessionAround {
 public:
  Restless(std::unique_ptr<backends::Session> inner, Index wrong_from)
      : SessionAround(std::move(inner)), wrong_from_(wrong_from) {}
  void forward(backends::Method method, const ConstTensorView& x, std::span<const std::int32_t> positions,
               backends::KvCache& cache, const TensorView& out, backends::TapSink* taps) override {
    SessionAround::forward(method, x, positions, cache, out, taps);
    if (test::fills_a_cache(method)) return;
    ++forwards_;
    test::flip(out.data, static_cast<int>(forwards_ % 3));  // the lowest bits of a float
    if (wrong_from_ > 0 && forwards_ >= wrong_from_) test::flip(out.data + 8, 30);
  }

 private:
  Index wrong_from_, forwards_ = 0;
};

std::unique_ptr<backends::Backend> restless(Index wrong_from) {
  return harness::test::cpu_backend([wrong_from](std::unique_ptr<backends::Session> inner) {
    return std::make_unique<Restless>(std::move(inner), wrong_from);
  });
}

TEST(Soak, HoldsABackendWhoseRunsDifferToTheLimits) {
  const auto backend = restless(0);
  const SoakResults r = soak_of(*backend, one_workload());
  EXPECT_FALSE(r.bitwise);
  EXPECT_THAT(r.criterion, HasSubstr("limits"));
  EXPECT_EQ(r.verdict(), Verdict::passed) << r.check_failure << r.error;
}

TEST(Soak, FindsWhatIsBeyondTheLimits) {
  const auto backend = restless(before_iteration(4));
  const SoakResults r = soak_of(*backend, one_workload());
  EXPECT_FALSE(r.bitwise);
  ASSERT_FALSE(r.faults.empty());
  EXPECT_EQ(r.faults[0].iteration, 2);  // its last call: such a backend runs four times before the first
  EXPECT_EQ(r.faults[0].element, "[2]");
}

// ---- what is wrong from the beginning, breaks, or is interrupted ----

TEST(Soak, HasAFirstRunThatIsCheckedAgainstTheReference) {
  const SoakResults r = soak_of({.where = Flip::Where::result, .times = 1 << 20, .bit = 30});
  EXPECT_EQ(r.verdict(), Verdict::failed);
  EXPECT_EQ(r.iterations, 0);
  EXPECT_THAT(r.check_failure, StartsWith("logits [5] in workload-0/0 "));
}

TEST(Soak, KeepsWhatItHadWhenTheBackendBreaks) {
  class Breaking final : public harness::test::SessionAround {
   public:
    using SessionAround::SessionAround;
    void forward(backends::Method method, const ConstTensorView& x, std::span<const std::int32_t> positions,
                 backends::KvCache& cache, const TensorView& out, backends::TapSink* taps) override {
      if (!test::fills_a_cache(method) && ++forwards_ > before_iteration(3) + 3)
        throw Error(ErrorKind::internal, "backend.failed", "no more");
      SessionAround::forward(method, x, positions, cache, out, taps);
    }

   private:
    Index forwards_ = 0;
  };
  const auto backend = harness::test::cpu_with_session<Breaking>();
  const SoakResults r = soak_of(*backend, one_workload());
  EXPECT_EQ(r.verdict(), Verdict::error);
  EXPECT_THAT(r.error, HasSubstr("no more (in iteration"));
  EXPECT_EQ(r.calls, 2 * calls_of_one_workload() + 3);
}

TEST(Soak, EndsWhenInterrupted) {
  const auto backend = harness::test::cpu_backend();
  SoakOptions options = one_workload();
  int asked = 0;
  options.interrupted = [&] { return ++asked > 40; };
  const SoakResults r = soak_of(*backend, options);
  EXPECT_TRUE(r.interrupted);
  EXPECT_LT(r.iterations, kIterations);
  EXPECT_EQ(r.wrong_iterations, 0);
}

TEST(Soak, KeepsLessWhereAllTapsAreTooMuch) {
  const auto backend = harness::test::cpu_backend();
  SoakOptions options = one_workload();
  options.iterations = 1;
  options.most_bytes = 2'000'000;
  EXPECT_EQ(soak_of(*backend, options).kept, "outputs of layers");
  options.most_bytes = 1;
  const SoakResults r = soak_of(*backend, options);
  EXPECT_EQ(r.kept, "results");
  EXPECT_EQ(r.verdict(), Verdict::passed);
}

// ---- the workloads ----

TEST(Workload, IsTheSameForTheSameSeedAndAnotherForAnother) {
  const ModelConfig config = small_model().config;
  const auto tokens = [&](std::uint64_t seed, Index number) {
    std::vector<std::int32_t> out;
    for (const harness::Call& call : make_workload(config, seed, number, 24).calls)
      out.insert(out.end(), call.tokens.begin(), call.tokens.end());
    return out;
  };
  EXPECT_EQ(tokens(1, 0), tokens(1, 0));
  EXPECT_NE(tokens(1, 0), tokens(1, 1));
  EXPECT_NE(tokens(1, 0), tokens(2, 0));
}

// Over a few seeds there is everything that a server does.
TEST(Workload, HasAllKindsOfCallsAndOperations) {
  std::set<backends::Method> methods;
  std::set<harness::CacheOperation::Kind> kinds;
  bool batched = false;
  for (Index number = 0; number < 20; ++number) {
    for (const harness::Call& call : make_workload(small_model().config, 1, number, 24).calls) {
      methods.insert(call.method);
      for (const auto& operation : call.before) kinds.insert(operation.kind);
      batched |= call.ids.size() > 2;
    }
  }
  using Kind = harness::CacheOperation::Kind;
  EXPECT_TRUE(batched);
  for (const Kind kind : {Kind::add, Kind::remove, Kind::fork, Kind::popn, Kind::commit})
    EXPECT_TRUE(kinds.contains(kind));
  for (const backends::Method method : {backends::Method::prefill, backends::Method::batch_prefill,
                                        backends::Method::batch_decode, backends::Method::batch_verify})
    EXPECT_TRUE(methods.contains(method)) << name(method);
}

TEST(Workload, RunsOnEveryArchitecture) {
  Workers workers(1);
  for (const Architecture architecture : kArchitectures) {
    const Model model = make_synthetic(preset_config(small_preset(architecture)), DType::f32, 1, workers);
    const auto backend = harness::test::cpu_backend();
    SoakOptions options = one_workload();
    options.iterations = 1;
    const SoakResults r = soak(model, *backend, options, workers);
    EXPECT_EQ(r.verdict(), Verdict::passed) << name(architecture) << r.error << r.check_failure;
  }
}

}  // namespace
}  // namespace mlbench::soak
