// Timed repetitions and the check of what they gave: honest backends pass, in every method, and those that did not
// compute are found.
#include "harness/measure/output_check.h"

#include <algorithm>
#include <map>

#include <gmock/gmock.h>

#include "harness/measure/sweep.h"
#include "models/presets.h"
#include "models/synthetic.h"
#include "tests/harness/around.h"

namespace mlbench::measure {
namespace {

using backends::Method;
using harness::test::SessionAround;

BenchPoint point(Index batch, Index depth, DType dtype = DType::f32) {
  BenchPoint out;
  out.dtype = std::string(name(dtype));
  out.threads = 1;
  out.batch = batch;
  out.prompt = 9;
  out.gen = 3;
  out.depth = depth;
  out.page_size = 4;
  return out;
}

// A point on a backend, run a few times.
class Timed {
 public:
  Timed(backends::Backend& backend, const BenchPoint& point, const std::vector<Method>& methods,
        const ModelConfig& config = preset_config("llama-small", {{"num_hidden_layers", 2}}), int repetitions = 4)
      : model_(make_synthetic(config, *parse_dtype(point.dtype), 1, workers_)),
        session_(backend.load(model_, {.dtype = *parse_dtype(point.dtype), .threads = 1})),
        bed_(*session_, model_.config, point, methods, 1) {
    for (int i = 0; i < repetitions; ++i) times_ = bed_.repeat();
  }

  [[nodiscard]] std::vector<Verified> check(double most_flops = 1e18) {
    return check_outputs(bed_, model_, {.most_flops = most_flops}, workers_);
  }
  [[nodiscard]] const std::vector<TimedMethod>& times() const { return times_; }
  [[nodiscard]] const Testbed& bed() const { return bed_; }

 private:
  Workers workers_{1};
  Model model_;
  std::unique_ptr<backends::Session> session_;
  Testbed bed_;
  std::vector<TimedMethod> times_;
};

const std::vector<Method> kEvery = {Method::prefill,       Method::prefill_to_last_hidden_states,
                                    Method::batch_prefill, Method::batch_prefill_to_last_hidden_states,
                                    Method::batch_verify,  Method::batch_verify_to_last_hidden_states,
                                    Method::decode,        Method::decode_to_last_hidden_states,
                                    Method::batch_decode,  Method::batch_decode_to_last_hidden_states};
const std::vector<Method> kBatched = {Method::batch_prefill, Method::batch_decode};

void expect_all(const std::vector<Verified>& verified, BenchCheck check) {
  for (const Verified& v : verified) {
    EXPECT_EQ(v.check, check) << v.text;
    if (check == BenchCheck::passed || check == BenchCheck::sampled) {
      EXPECT_GT(v.ratio, 0.0) << "rounding shows somewhere";
      EXPECT_LE(v.ratio, 1.0);
    } else {
      EXPECT_GT(v.ratio, 1.0);
    }
  }
}

TEST(Testbed, TimesEveryMethodAndEveryStep) {
  const auto backend = harness::test::cpu_backend();
  const Timed timed(*backend, point(1, 0), kEvery);
  ASSERT_EQ(timed.times().size(), kEvery.size());
  for (std::size_t m = 0; m < kEvery.size(); ++m) {
    const TimedMethod& time = timed.times()[m];
    EXPECT_GT(time.seconds, 0.0);
    EXPECT_EQ(time.steps.size(), decodes(kEvery[m]) ? 3U : 0U);
    double sum = 0.0;
    for (const double step : time.steps) sum += step;
    if (!time.steps.empty()) {
      EXPECT_DOUBLE_EQ(sum, time.seconds);
    }
  }
}

TEST(Testbed, RepetitionsBeginWhereTheOneBeforeDid) {
  const auto backend = harness::test::cpu_backend();
  const Timed timed(*backend, point(2, 6), kBatched);
  EXPECT_EQ(timed.bed().outputs().size(), 4U) << "one prompt, three steps";
  EXPECT_EQ(timed.bed().later_difference(), 0.0);
  EXPECT_FALSE(timed.bed().repeats_itself(0) || timed.bed().repeats_itself(1));
}

TEST(Testbed, SaysWhyAMethodCannotRun) {
  EXPECT_EQ(why_not(Method::prefill, point(1, 0)), "");
  EXPECT_EQ(why_not(Method::prefill, point(2, 0)), "prefill takes one sequence, not 2");
  BenchPoint empty = point(1, 0);
  empty.gen = 0;
  EXPECT_NE(why_not(Method::batch_decode, empty), "");
  empty.gen = 2;
  empty.prompt = 0;
  EXPECT_NE(why_not(Method::batch_decode, empty), "");
  EXPECT_NE(why_not(Method::batch_prefill, empty), "");
  empty.depth = 5;
  EXPECT_EQ(why_not(Method::batch_decode, empty), "");
}

TEST(OutputCheck, PassesAnHonestBackendInEveryMethod) {
  const auto backend = harness::test::cpu_backend();
  Timed timed(*backend, point(1, 0), kEvery);
  expect_all(timed.check(), BenchCheck::passed);
}

class EveryArchitecture : public ::testing::TestWithParam<Architecture> {};
INSTANTIATE_TEST_SUITE_P(, EveryArchitecture, ::testing::ValuesIn(kArchitectures),
                         [](const auto& which) { return std::string(name(which.param)); });

TEST_P(EveryArchitecture, PassesBatchedAtADepthInEveryType) {
  const auto backend = harness::test::cpu_backend();
  const ModelConfig config = preset_config(small_preset(GetParam()));
  for (const DType dtype : {DType::f32, DType::bf16}) {
    Timed timed(*backend, point(2, 7, dtype), kBatched, config);
    expect_all(timed.check(), BenchCheck::passed);
    expect_all(timed.check(1.0), BenchCheck::sampled);
  }
}

TEST(OutputCheck, DecodingAloneStandsOnAPromptThatWasNotTimed) {
  const auto backend = harness::test::cpu_backend();
  Timed timed(*backend, point(2, 3), {Method::batch_decode});
  expect_all(timed.check(), BenchCheck::passed);
  expect_all(timed.check(1.0), BenchCheck::sampled);
}

// Forwards of one row, which decode, do nothing: the output is what it was.
class ReturnsBeforeItComputes : public SessionAround {
 public:
  using SessionAround::SessionAround;
  void forward(Method method, const ConstTensorView& x, std::span<const std::int32_t> positions,
               backends::KvCache& cache, const TensorView& out, backends::TapSink* taps) override {
    if (!decodes(method)) SessionAround::forward(method, x, positions, cache, out, taps);
  }
};

// The first forward of each shape is right, its result is given again for all others.
class RemembersResults : public SessionAround {
 public:
  using SessionAround::SessionAround;
  void forward(Method method, const ConstTensorView& x, std::span<const std::int32_t> positions,
               backends::KvCache& cache, const TensorView& out, backends::TapSink* taps) override {
    const std::size_t bytes = static_cast<std::size_t>(element_count(out.shape)) * size_bytes(out.dtype);
    auto& known = results_[method];
    if (known.size() != bytes) {
      SessionAround::forward(method, x, positions, cache, out, taps);
      known.assign(out.data, out.data + bytes);
    }
    std::copy(known.begin(), known.end(), out.data);
  }

 private:
  std::map<Method, std::vector<std::byte>> results_;
};

// Right in the first two repetitions of three steps.
class DriftsLater : public SessionAround {
 public:
  using SessionAround::SessionAround;
  void forward(Method method, const ConstTensorView& x, std::span<const std::int32_t> positions,
               backends::KvCache& cache, const TensorView& out, backends::TapSink* taps) override {
    SessionAround::forward(method, x, positions, cache, out, taps);
    if (method == Method::batch_decode && ++calls_ > 6) harness::test::floats(out)[0] += 0.01F;
  }

 private:
  int calls_ = 0;
};

TEST(OutputCheck, FindsABackendThatReturnsBeforeItComputes) {
  const auto backend = harness::test::cpu_with_session<ReturnsBeforeItComputes>();
  for (const double flops : {1e18, 1.0}) {
    Timed timed(*backend, point(2, 0), kBatched);
    const std::vector<Verified> verified = timed.check(flops);
    EXPECT_NE(verified[0].check, BenchCheck::failed) << verified[0].text;
    EXPECT_EQ(verified[1].check, BenchCheck::failed) << "flops " << flops;
    EXPECT_THAT(verified[1].text, ::testing::HasSubstr("logits stray"));
  }
}

TEST(OutputCheck, FindsABackendThatRemembersResults) {
  const auto backend = harness::test::cpu_with_session<RemembersResults>();
  for (const double flops : {1e18, 1.0}) {
    Timed timed(*backend, point(2, 0), kBatched);
    EXPECT_EQ(timed.check(flops)[1].check, BenchCheck::failed) << "flops " << flops;
  }
}

// The output is copied before the call that computes it: a missing synchronisation.
class GivesTheCallBefore : public SessionAround {
 public:
  using SessionAround::SessionAround;
  void forward(Method method, const ConstTensorView& x, std::span<const std::int32_t> positions,
               backends::KvCache& cache, const TensorView& out, backends::TapSink* taps) override {
    SessionAround::forward(method, x, positions, cache, out, taps);
    if (method != Method::prefill) return;
    const std::size_t bytes = static_cast<std::size_t>(element_count(out.shape)) * size_bytes(out.dtype);
    std::vector<std::byte> now(out.data, out.data + bytes);
    if (before_.size() == bytes) std::ranges::copy(before_, out.data);
    before_ = std::move(now);
  }

 private:
  std::vector<std::byte> before_;
};

// One prompt alone would give the same in every repetition.
TEST(OutputCheck, FindsResultsOfTheCallBefore) {
  const auto backend = harness::test::cpu_with_session<GivesTheCallBefore>();
  Timed timed(*backend, point(1, 0), {Method::prefill});
  EXPECT_TRUE(timed.bed().repeats_itself(0));
  const Verified verified = timed.check().front();
  EXPECT_EQ(verified.check, BenchCheck::failed);
  EXPECT_THAT(verified.text, ::testing::HasSubstr("left from an earlier call"));
}

TEST(OutputCheck, FindsALaterRepetitionThatStrays) {
  const auto backend = harness::test::cpu_with_session<DriftsLater>();
  Timed timed(*backend, point(2, 0), kBatched);
  EXPECT_GE(timed.bed().later_difference(), 0.009);
  for (const Verified& v : timed.check()) {
    EXPECT_EQ(v.check, BenchCheck::failed);
    EXPECT_THAT(v.text, ::testing::HasSubstr("repetitions differ"));
  }
}

}  // namespace
}  // namespace mlbench::measure
