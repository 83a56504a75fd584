// Sorting a file's datasets into inputs, results and the rest.
#include <gmock/gmock.h>

#include "golden/hf_layout.h"
#include "tests/support/expect_error.h"
#include "tests/support/hdf5_edit.h"
#include "tests/support/temp_dir.h"

namespace mlbench::golden {
namespace {

using test::TempDir;
using test::write_dataset;
using Integers = std::vector<std::int64_t>;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

void write_prompt(const std::string& file) { write_dataset(file, "/inputs/prompt_ids", {1, 2}, Integers{3, 4}); }

TEST(ReadHfLayout, SortsADataCase) {
  GoldenFile file(std::string(MLBENCH_TEST_DATA) + "/schedules-phi/oracle.h5");
  const HfGolden golden = read_hf_layout(file);
  EXPECT_TRUE(golden.unmapped.empty());
  ASSERT_NE(golden.batch_prefill_logits, nullptr);
  EXPECT_EQ(golden.num_results, static_cast<Index>(golden.results.size()) + 1);
  EXPECT_EQ(golden.inputs.prompt_ids.shape(), (Shape{2, 9}));
  EXPECT_EQ(golden.inputs.decode_ids.shape(), (Shape{2, 2}));
  EXPECT_THAT(golden.inputs.ragged_lengths.values(), ElementsAre(33, 1, 23));
  EXPECT_EQ(golden.inputs.ragged_ids.size(), 57);
  EXPECT_THAT(golden.inputs.logit_positions.values(), ElementsAre(32, 33, 56));
  EXPECT_EQ(golden.inputs.batch_decode_ids.shape(), (Shape{2, 3}));
  EXPECT_EQ(golden.inputs.tree_ids.size(), 10);
  EXPECT_EQ(golden.inputs.tree_parents.size(), 10);
  EXPECT_EQ(golden.inputs.tree_leaf, 4);
  EXPECT_EQ(golden.inputs.after_commit_ids.size(), 2);
  EXPECT_THAT(golden.inputs.chunks.values(), ElementsAre(31, 2));
}

TEST(ReadHfLayout, MapsEveryResultOfEveryDataCase) {
  for (const char* name : {"llama", "orion", "olmo", "phi", "gptbigcode"}) {
    GoldenFile file(std::string(MLBENCH_TEST_DATA) + "/schedules-" + name + "/oracle.h5");
    EXPECT_TRUE(read_hf_layout(file).unmapped.empty()) << name;
  }
}

TEST(ReadHfLayout, CountsInputsAndFrequenciesAsNoResults) {
  const TempDir dir;
  const std::string path = dir / "golden.h5";
  write_prompt(path);
  write_dataset(path, "/rope/inv_freq", {2}, std::vector<double>{1.0, 0.5});
  write_dataset(path, "/prefill/lm_head", {1, 2, 3}, std::vector<double>(6));
  GoldenFile file(path);
  const HfGolden golden = read_hf_layout(file);
  EXPECT_EQ(golden.num_results, 1);
  ASSERT_EQ(golden.results.size(), 1U);
  EXPECT_EQ(golden.results[0].step, (StepId{Group::prefill, -1}));
  EXPECT_EQ(golden.results[0].tap, (TapId{Tap::logits, -1}));
  EXPECT_EQ(golden.results[0].dataset->path, "/prefill/lm_head");
}

// A path is a group, a step where the group has steps, and a module; nothing less and nothing more.
TEST(ReadHfLayout, KeepsAsideWhatItDoesNotKnow) {
  const TempDir dir;
  const std::string path = dir / "golden.h5";
  write_prompt(path);
  const std::vector<double> one{1.0};
  for (const char* dataset :
       {"/lm_head", "/prefills/lm_head", "/prefill/0/lm_head", "/decode/x/lm_head", "/decode/lm_head",
        "/decode/-1/lm_head", "/decode/0", "/tree/0/lm_head", "/prefill/model.norm/lm_head",
        "/decode/4294967296/lm_head", "/rope_more/inv_freq", "/inputs_more"})
    write_dataset(path, dataset, {1}, one);
  write_dataset(path, "/prefill/lm_head", {1}, Integers{1});
  write_dataset(path, "/prefill/logits", {1, 2, 1}, std::vector<double>(2));
  GoldenFile file(path);
  const HfGolden golden = read_hf_layout(file);
  EXPECT_EQ(golden.num_results, 14);
  EXPECT_EQ(golden.results.size(), 1U);
  std::vector<std::string> unmapped;
  for (const Unmapped& entry : golden.unmapped) unmapped.push_back(entry.dataset);
  EXPECT_THAT(unmapped, UnorderedElementsAre("/lm_head", "/prefills/lm_head", "/prefill/0/lm_head", "/decode/x/lm_head",
                                             "/decode/lm_head", "/decode/-1/lm_head", "/decode/0", "/tree/0/lm_head",
                                             "/prefill/model.norm/lm_head", "/decode/4294967296/lm_head",
                                             "/rope_more/inv_freq", "/inputs_more", "/prefill/lm_head"));
}

TEST(ReadHfLayout, NeedsInputsOnlyForResults) {
  const TempDir dir;
  const std::string path = dir / "golden.h5";
  write_dataset(path, "/elsewhere/x", {1}, std::vector<double>{1.0});
  {
    GoldenFile file(path);
    EXPECT_EQ(read_hf_layout(file).inputs.prompt_ids.size(), 0);
  }
  write_dataset(path, "/prefill/lm_head", {1, 2, 3}, std::vector<double>(6));
  GoldenFile file(path);
  const Error error = test::error_of([&] { (void)read_hf_layout(file); });
  EXPECT_EQ(error.code(), "golden.format");
  EXPECT_THAT(error.message(), HasSubstr(path));
  EXPECT_THAT(error.message(), HasSubstr("/inputs/prompt_ids"));
}

TEST(ReadHfLayout, RefusesAFileWithoutResults) {
  const TempDir dir;
  const std::string path = dir / "golden.h5";
  write_prompt(path);
  GoldenFile file(path);
  EXPECT_EQ(test::code_of([&] { (void)read_hf_layout(file); }), "golden.format");
}

// Sums and conversions cannot overflow: every input is an id, a position or a length.
TEST(ReadHfLayout, RefusesInputsThatNoIdOrLengthCanBe) {
  for (const std::int64_t value : {std::int64_t{-2}, std::int64_t{1} << 31U, std::numeric_limits<std::int64_t>::max(),
                                   std::numeric_limits<std::int64_t>::min()}) {
    const TempDir dir;
    const std::string path = dir / "golden.h5";
    write_prompt(path);
    write_dataset(path, "/prefill/lm_head", {1, 2, 3}, std::vector<double>(6));
    write_dataset(path, "/inputs/ragged_lengths", {2}, Integers{1, value});
    GoldenFile file(path);
    const Error error = test::error_of([&] { (void)read_hf_layout(file); });
    EXPECT_EQ(error.code(), "golden.format");
    EXPECT_THAT(error.message(), HasSubstr(std::to_string(value)));
  }
}

}  // namespace
}  // namespace mlbench::golden
