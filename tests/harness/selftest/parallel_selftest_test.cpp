// Verification on workers with a mistake in them.
#include "harness/selftest/parallel_selftest.h"

#include <algorithm>
#include <ostream>

#include <gmock/gmock.h>

#include "backends/cpu/cpu_backend.h"
#include "harness/selftest/judgement.h"
#include "harness/selftest/selftest.h"

namespace mlbench::selftest {

static void PrintTo(const ParallelMistakeInfo& mistake, std::ostream* out) { *out << mistake.name; }
static void PrintTo(const ParallelScene& scene, std::ostream* out) { *out << name(scene); }

namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr std::uint64_t kSeed = 1;

std::string identifier(std::string name) {
  std::erase(name, ',');
  std::ranges::replace_if(
      name, [](char c) { return c == ' ' || c == '-'; }, '_');
  return name;
}

class EveryParallelMistake : public ::testing::TestWithParam<ParallelMistakeInfo> {
 protected:
  MistakeResult plant(const ParallelScene& scene, DType dtype) {
    const PlantedRun run = verify_with(GetParam().mistake, scene, *cpu_, dtype, kSeed);
    error_ = run.result.error;
    return judged(GetParam(), scene, run.result, run.executed);
  }

  std::unique_ptr<backends::Backend> cpu_ = cpu::make_cpu_backend();
  std::string error_;
};
INSTANTIATE_TEST_SUITE_P(Planted, EveryParallelMistake,
                         ::testing::ValuesIn(parallel_mistakes().begin(), parallel_mistakes().end()),
                         [](const auto& mistake) { return identifier(std::string(mistake.param.name)); });

TEST_P(EveryParallelMistake, IsExecutedFoundAndPlacedInBothTypes) {
  for (const ParallelScene& scene : scenes_of(GetParam().mistake)) {
    for (const DType dtype : {DType::f32, DType::bf16}) {
      const MistakeResult result = plant(scene, dtype);
      const std::string where = name(scene) + " " + std::string(mlbench::name(dtype));
      EXPECT_TRUE(result.executed) << where;
      EXPECT_TRUE(result.found) << where << ", largest error/limit " << result.ratio;
      EXPECT_TRUE(result.placed) << where << ": " << result.where << " " << result.call << " " << error_;
    }
  }
}

class EveryParallelScene : public ::testing::TestWithParam<ParallelScene> {
 protected:
  std::unique_ptr<backends::Backend> cpu_ = cpu::make_cpu_backend();
};
INSTANTIATE_TEST_SUITE_P(Scenes, EveryParallelScene,
                         ::testing::ValuesIn(parallel_scenes().begin(), parallel_scenes().end()),
                         [](const auto& scene) { return identifier(name(scene.param)); });

// Stages that go part by part, too: what is found in them is the mistake, not the way.
TEST_P(EveryParallelScene, HonestWorkersPass) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const Stages stages : {Stages::whole, Stages::by_parts}) {
      const BackendVerification result = verify_honest(GetParam(), *cpu_, dtype, 3, stages);
      EXPECT_TRUE(result.passed()) << mlbench::name(dtype) << " " << result.error;
      if (const TapCheck* failure = result.first_failure()) ADD_FAILURE() << failure->tap << " in " << failure->call;
      EXPECT_FALSE(result.checks.empty());
    }
  }
}

TEST(ParallelSelftest, ReplicasThatDifferAreNamed) {
  const auto cpu = cpu::make_cpu_backend();
  const PlantedRun run =
      verify_with(ParallelMistake::norm_differs, {Architecture::llama, {2, 1}}, *cpu, DType::f32, kSeed);
  EXPECT_THAT(run.result.error, StartsWith("parallel.differs: "));
  EXPECT_THAT(run.result.error, HasSubstr("worker 0 and worker 1 differ in layers.0.attn_norm"));
  EXPECT_THAT(verify_with(ParallelMistake::embedding_differs, {Architecture::olmo, {1, 3}}, *cpu, DType::bf16, kSeed)
                  .result.error,
              AllOf(StartsWith("parallel.differs: embed: "), HasSubstr("worker 0 and worker 2")));
}

// What was thrown after a tap had failed is not where it began.
TEST(ParallelSelftest, AnErrorIsAPlaceOnlyWhereItComesFirst) {
  const ParallelScene scene{Architecture::llama, {2, 1}};
  const ParallelMistakeInfo& mistake = info(ParallelMistake::norm_differs);
  BackendVerification result;
  result.error = "parallel.differs: run_part: worker 0 and worker 1 differ in layers.0.attn_norm, from byte 4 of 8 on";
  EXPECT_TRUE(judged(mistake, scene, result, true).placed);
  EXPECT_FALSE(judged(info(ParallelMistake::sum_dropped), scene, result, true).placed) << "another tap";
  TapCheck failed;
  failed.tap = "layers.0.attn.q";
  failed.kind = "attn.q";
  result.checks = {failed};
  EXPECT_FALSE(judged(mistake, scene, result, true).placed);
}

TEST(ParallelSelftest, IsPartOfTheSelftestWhereABackendHoldsTheParts) {
  Workers workers(2);
  SelftestOptions options;
  options.dtypes = {DType::f32};
  options.parallel_mistakes = {ParallelMistake::positions_everywhere};
  options.seeds = 0;
  EXPECT_EQ(run_selftest(options, workers).types.front().planted(), 0);
  options.backend_of_parts = cpu::make_cpu_backend;
  const SelftestResults results = run_selftest(options, workers);
  EXPECT_EQ(results.types.front().planted(), 2) << "two and three stages";
  EXPECT_EQ(results.types.front().placed(), 2);
  EXPECT_EQ(results.types.front().mistakes.front().scene, "gpt_bigcode, 2 stages");
  EXPECT_TRUE(results.enough());
}

}  // namespace
}  // namespace mlbench::selftest
