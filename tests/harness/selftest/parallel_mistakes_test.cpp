// The table of parallel mistakes, and the splits that they are planted in.
#include "harness/selftest/parallel_mistakes.h"

#include <fstream>
#include <regex>
#include <set>
#include <sstream>

#include <gmock/gmock.h>

#include "harness/selftest/mistakes.h"
#include "models/parallel_rules.h"
#include "models/taps.h"

namespace mlbench::selftest {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

TEST(ParallelMistakes, StandInTheTableInTheirOrderUnderNamesOfTheirOwn) {
  std::set<std::string_view> names, texts;
  for (const MistakeInfo& mistake : mistakes()) names.insert(mistake.name);
  std::size_t index = 0;
  for (const ParallelMistakeInfo& mistake : parallel_mistakes()) {
    EXPECT_EQ(static_cast<std::size_t>(mistake.mistake), index++) << mistake.name;
    EXPECT_TRUE(names.insert(mistake.name).second) << mistake.name;
    EXPECT_TRUE(texts.insert(mistake.what).second) << mistake.name;
    EXPECT_TRUE(
        std::regex_match(std::string(mistake.name), std::regex("(shards|stages|replicas|transfers)(-[a-z0-9]+)+")))
        << mistake.name;
  }
}

TEST(ParallelMistakes, ArePlantedInEveryArchitectureThatCanHaveThem) {
  for (const ParallelMistakeInfo& mistake : parallel_mistakes()) {
    std::set<Architecture> architectures;
    for (const ParallelScene& scene : scenes_of(mistake.mistake)) architectures.insert(scene.architecture);
    std::set<Architecture> able;
    for (const ParallelScene& scene : parallel_scenes()) {
      if (has(scene, mistake.needs)) able.insert(scene.architecture);
    }
    EXPECT_EQ(architectures, able) << mistake.name;
    EXPECT_FALSE(able.empty()) << mistake.name;
  }
  EXPECT_EQ(scenes_of(ParallelMistake::positions_everywhere).size(), 2U);
  EXPECT_FALSE(has({Architecture::phi, {2, 1}}, Needs::gate));
  EXPECT_FALSE(has({Architecture::phi, {2, 1}}, Needs::own_sums));
  EXPECT_FALSE(has({Architecture::olmo, {2, 1}}, Needs::biases));
  EXPECT_FALSE(has({Architecture::olmo, {2, 1}}, Needs::shard_norms));
  EXPECT_FALSE(has({Architecture::olmo, {2, 1}}, Needs::transfer));
  EXPECT_FALSE(has({Architecture::olmo, {1, 2}, true}, Needs::transfer_of_shards));
  EXPECT_FALSE(has({Architecture::gpt_bigcode, {1, 2}, true}, Needs::transfer_of_rotated));
  EXPECT_FALSE(has({Architecture::olmo, {2, 1}, true}, Needs::shards)) << "planted where nothing else is in the way";
}

// A place that cannot be reached would let a mistake count as found elsewhere for ever.
TEST(ParallelMistakes, AreExpectedWhereThereIsATap) {
  std::set<std::string> reachable = {"attn.out.all_reduce", "mlp.out.all_reduce", "block.sum.all_reduce", "get_logits",
                                     "cache.k"};
  for (int tap = 0; tap < kNumTaps; ++tap) reachable.emplace(mlbench::name(static_cast<Tap>(tap)));
  for (const ParallelMistakeInfo& mistake : parallel_mistakes()) {
    ASSERT_FALSE(mistake.places.empty()) << mistake.name;
    for (std::string_view place : mistake.places) {
      constexpr std::string_view kDiffers = "parallel.differs ";
      if (place.starts_with(kDiffers)) place.remove_prefix(kDiffers.size());
      EXPECT_THAT(reachable, Contains(std::string(place))) << mistake.name;
    }
  }
}

TEST(ParallelScenes, AreLegalSplitsOfEveryArchitecture) {
  std::set<Architecture> split_by_stages, split_by_shards;
  std::set<std::string> names;
  for (const ParallelScene& scene : parallel_scenes()) {
    EXPECT_FALSE(fault_of(config_of(scene), scene.split)) << name(scene);
    EXPECT_TRUE(names.insert(name(scene)).second) << name(scene);
    EXPECT_GT(scene.split.workers() * (scene.disaggregated ? 2 : 1), 1) << name(scene);
    if (scene.split.tensor_parallel > 1) split_by_shards.insert(scene.architecture);
    if (scene.split.pipeline_parallel > 1) split_by_stages.insert(scene.architecture);
  }
  EXPECT_EQ(split_by_stages.size(), std::size(kArchitectures));
  EXPECT_EQ(split_by_shards.size(), std::size(kArchitectures) - 1) << "gpt_bigcode has no shards";
}

// Of a stage's rows the last ones are another micro-batch's, and layers on stages are unequal: else some mistakes
// would change nothing.
TEST(ParallelScenes, HaveUnequalStagesAndRowsForEveryMicroBatch) {
  for (const ParallelScene& scene : parallel_scenes()) {
    if (scene.split.pipeline_parallel == 1 || scene.disaggregated) continue;
    EXPECT_TRUE(has(scene, Needs::uneven_stages)) << name(scene);
    EXPECT_GE(plan_of(scene, 1).front().calls.front().rows(), scene.split.pipeline_parallel) << name(scene);
  }
}

TEST(ParallelMistakes, AreDocumentedAsListed) {
  std::ifstream file(std::string(MLBENCH_SOURCE_DIR) + "/docs/selftest.md");
  std::stringstream text;
  text << file.rdbuf();
  EXPECT_THAT(text.str(), HasSubstr(list_of_parallel_mistakes()))
      << "put the output of mlbench selftest --list in its place";
}

}  // namespace
}  // namespace mlbench::selftest
