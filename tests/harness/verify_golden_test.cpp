// The run of a golden in process: what it computes once, in which order, and what it leaves out.
#include "harness/verify_golden.h"

#include <algorithm>
#include <filesystem>
#include <set>

#include <gmock/gmock.h>

#include "models/checkpoint.h"
#include "tests/support/expect_error.h"
#include "tests/support/hdf5_edit.h"
#include "tests/support/temp_dir.h"

namespace mlbench::harness {
namespace {

using test::TempDir;

std::string data(const std::string& name) { return std::string(MLBENCH_TEST_DATA) + "/schedules-" + name; }

std::string copy_of_golden(const TempDir& dir, const std::string& name) {
  std::string copy = dir / "golden.h5";
  std::filesystem::copy_file(data(name) + "/oracle.h5", copy);
  std::filesystem::permissions(copy, std::filesystem::perms::owner_write, std::filesystem::perm_options::add);
  return copy;
}

GoldenVerification verify(const std::string& name, const std::string& path, const GoldenOptions& options = {}) {
  golden::GoldenFile file(path);
  Workers workers(1);
  return verify_golden(load_checkpoint(data(name)), file, workers, options);
}

// Everything a report shows of a comparison, for equality.
std::string summary(const GoldenVerification& result) {
  std::string out;
  for (const TapResult& tap : result.taps)
    out += tap.step + " " + tap.dataset + " " + tap.tap + " " + std::to_string(tap.max_error * 1e18) + "\n";
  return out;
}

TEST(VerifyGolden, FollowsTheOrderOfComputation) {
  const GoldenVerification result = verify("llama", data("llama") + "/oracle.h5");
  std::vector<std::string> steps;
  for (const TapResult& tap : result.taps) {
    if (steps.empty() || steps.back() != tap.step) steps.push_back(tap.step);
  }
  EXPECT_THAT(steps,
              ::testing::ElementsAre("prefill", "decode/0", "decode/1", "batch_prefill", "batch_prefill_logits",
                                     "batch_decode/0", "batch_decode/1", "batch_decode/2", "tree", "after_commit/0",
                                     "after_commit/1", "chunked/0", "chunked/1", "chunked/2", "chunked/3", "rope"));
  EXPECT_TRUE(result.passed());
}

TEST(VerifyGolden, GivesTheSameBitsOnAnyNumberOfThreads) {
  const Model model = load_checkpoint(data("phi"));
  std::set<std::string> seen;
  for (const int threads : {1, 2, 5}) {
    golden::GoldenFile file(data("phi") + "/oracle.h5");
    Workers workers(threads);
    seen.insert(summary(verify_golden(model, file, workers)));
  }
  EXPECT_EQ(seen.size(), 1U);
}

TEST(VerifyGolden, ReportsProgressFromZeroToOne) {
  std::vector<double> done;
  GoldenOptions options;
  options.progress = [&](const std::string& doing, double share) {
    EXPECT_FALSE(doing.empty());
    done.push_back(share);
  };
  (void)verify("olmo", data("olmo") + "/oracle.h5", options);
  ASSERT_FALSE(done.empty());
  EXPECT_TRUE(std::is_sorted(done.begin(), done.end()));
  EXPECT_GT(done.front(), 0.0);
  EXPECT_EQ(done.back(), 1.0);
}

// The longest prompt is the third: its chunks are compared with its rows, not with the first ones.
TEST(VerifyGolden, ComparesChunksWithTheirRowsOfTheRaggedBatch) {
  const TempDir dir;
  const std::string path = copy_of_golden(dir, "llama");
  const Index row = 14 + 1 + 16 + 7 + 1 + 4;  // in the last chunk
  test::add_to_element(path, "/batch_prefill/model.layers.0", row * 72 + 9, 1e-3);
  const GoldenVerification result = verify("llama", path);
  std::vector<std::string> failed;
  for (const TapResult& tap : result.taps) {
    if (tap.passed) continue;
    failed.push_back(tap.step);
    EXPECT_EQ(tap.tap, "layers.0.out");
    EXPECT_EQ(tap.worst->position, row - 15);
    EXPECT_EQ(tap.worst->element, "[9]");
  }
  EXPECT_THAT(failed, ::testing::ElementsAre("batch_prefill", "chunked/3"));
}

// Frequencies that follow the length of a call: chunks are other calls than the whole, and promise nothing.
TEST(VerifyGolden, LeavesOutChunksWhereScalingFollowsTheLength) {
  Model model = load_checkpoint(data("llama"));
  model.config.rope.kind = RopeKind::dynamic;
  golden::GoldenFile file(data("llama") + "/oracle.h5");
  Workers workers(1);
  for (const TapResult& tap : verify_golden(model, file, workers).taps)
    EXPECT_EQ(tap.step.find("chunked"), std::string::npos);
}

// The values of links are read once; each name is compared all the same.
TEST(VerifyGolden, ComparesEveryNameOfLinkedValues) {
  const TempDir dir;
  const std::string path = copy_of_golden(dir, "orion");
  const std::string m = "/prefill/model.layers.0.";
  test::remove_dataset(path, m + "post_attention_layernorm");
  test::add_hard_link(path, m + "input_layernorm", m + "post_attention_layernorm");  // the same shape, not the same tap
  const GoldenVerification result = verify("orion", path);
  ASSERT_NE(result.first_failure(), nullptr);
  EXPECT_EQ(result.first_failure()->tap, "layers.0.mlp_norm");
}

// One after the other in the order of computation, but not of one size.
TEST(VerifyGolden, RefusesLinkedValuesWhereTapsHaveOtherShapes) {
  const TempDir dir;
  const std::string path = copy_of_golden(dir, "llama");
  const std::string m = "/prefill/model.layers.0.self_attn.";
  test::remove_dataset(path, m + "k_proj");
  test::add_hard_link(path, m + "q_proj", m + "k_proj");
  EXPECT_EQ(test::code_of([&] { (void)verify("llama", path); }), "golden.shape");
}

TEST(VerifyGolden, RefusesAGoldenOfAnotherArchitecture) {
  const Error error = test::error_of([] { (void)verify("phi", data("olmo") + "/oracle.h5"); });
  EXPECT_EQ(error.code(), "golden.model");
  EXPECT_EQ(error.kind(), ErrorKind::request);
}

TEST(EnoughCompared, IsNinetyFivePercentAndNotNothing) {
  GoldenVerification result;
  EXPECT_FALSE(result.enough_compared());
  result.result_datasets = 100;
  result.compared_datasets = 94;
  EXPECT_FALSE(result.enough_compared());
  result.compared_datasets = 95;
  EXPECT_TRUE(result.enough_compared());
  result.result_datasets = 20;
  result.compared_datasets = 19;
  EXPECT_TRUE(result.passed());
  result.taps.push_back({});
  EXPECT_FALSE(result.passed());  // a result is failed until it is said to have passed
}

}  // namespace
}  // namespace mlbench::harness
