// Goldens whose inputs contradict each other, or ask for what the model cannot do.
#include <functional>

#include <gmock/gmock.h>

#include "tests/cli/case_copy.h"
#include "tests/support/hdf5_edit.h"

namespace mlbench::test {
namespace {

using Integers = std::vector<std::int64_t>;
using ::testing::HasSubstr;

// schedules-llama: vocabulary 121; prompts [2, 9], 2 steps; ragged 14, 1, 41, 20, 3 steps; a tree of 12 nodes.
struct BadInput {
  const char* name;
  const char* input;
  std::function<void(const std::string& file, const std::string& dataset)> change;
  const char* said = "";  // besides the file
};

auto replaced(const Shape& shape, const Integers& values) {
  return [=](const std::string& file, const std::string& dataset) {
    remove_dataset(file, dataset);
    write_dataset(file, dataset, shape, values);
  };
}

auto with_element(std::size_t element, std::int64_t value) {
  return [=](const std::string& path, const std::string& dataset) {
    Tensor<std::int64_t> values;
    {
      golden::GoldenFile file(path);
      values = file.read_integers(*file.find(dataset));
    }
    values.values()[element] = value;
    replaced(values.shape(), Integers(values.values().begin(), values.values().end()))(path, dataset);
  };
}

const auto kGone = [](const std::string& file, const std::string& dataset) { remove_dataset(file, dataset); };

Integers many(std::size_t count, std::int64_t value) { return Integers(count, value); }

const BadInput kBadInputs[] = {
    {"PromptTokenIsTheVocabularysSize", "prompt_ids", with_element(3, 121), "121"},
    {"PromptTokenIsNegative", "prompt_ids", with_element(3, -1), "-1"},
    {"PromptTokenIsFarOut", "prompt_ids", with_element(0, std::int64_t{1} << 40U), "1099511627776"},
    {"PromptTokenIsTheSmallest", "prompt_ids", with_element(0, std::numeric_limits<std::int64_t>::min())},
    {"PromptsAreMissing", "prompt_ids", kGone, "prompt_ids"},
    {"PromptsAreEmpty", "prompt_ids", replaced({2, 0}, {}), "prompt_ids"},
    {"PromptsAreNone", "prompt_ids", replaced({0, 9}, {}), "prompt_ids"},
    {"PromptsHaveOneDimension", "prompt_ids", replaced({18}, many(18, 1)), "prompt_ids"},
    {"PromptsAreLongerThanTheResults", "prompt_ids", replaced({2, 10}, many(20, 1))},
    {"PromptsAreMoreThanTheResults", "prompt_ids", replaced({3, 9}, many(27, 1))},
    {"DecodedTokensAreMissing", "decode_ids", kGone, "decode_ids"},
    {"DecodedTokensAreTooFew", "decode_ids", replaced({2, 1}, many(2, 1)), "decode_ids"},
    {"DecodedTokensAreOfAnotherBatch", "decode_ids", replaced({1, 2}, many(2, 1)), "decode_ids"},
    {"DecodedTokenIsOutOfTheVocabulary", "decode_ids", with_element(1, 500), "500"},
    {"RaggedTokensAreMissing", "ragged_ids", kGone, "ragged_ids"},
    {"RaggedTokenIsOutOfTheVocabulary", "ragged_ids", with_element(75, 121), "121"},
    {"RaggedLengthsAreMissing", "ragged_lengths", kGone, "ragged_lengths"},
    {"RaggedLengthsDoNotAddUp", "ragged_lengths", with_element(0, 15), "ragged_lengths"},
    {"RaggedLengthIsZero", "ragged_lengths", replaced({4}, {14, 0, 42, 20}), "ragged_lengths"},
    {"RaggedLengthIsNegative", "ragged_lengths", replaced({4}, {14, -1, 43, 20}), "ragged_lengths"},
    {"RaggedLengthsAreAnotherSplit", "ragged_lengths", replaced({3}, {15, 41, 20})},
    {"LogitPositionsAreMissing", "logit_positions", kGone, "logit_positions"},
    {"LogitPositionIsNegative", "logit_positions", with_element(1, -1), "-1"},
    {"LogitPositionIsBehindTheLastRow", "logit_positions", with_element(3, 76), "76"},
    {"LogitPositionsAreTooFew", "logit_positions", replaced({3}, {13, 14, 55})},
    {"BatchDecodedTokensAreMissing", "batch_decode_ids", kGone, "batch_decode_ids"},
    {"BatchDecodedTokensAreTooFewSteps", "batch_decode_ids", replaced({2, 4}, many(8, 1)), "batch_decode_ids"},
    {"BatchDecodedTokensAreOfAnotherBatch", "batch_decode_ids", replaced({3, 3}, many(9, 1)), "batch_decode_ids"},
    {"BatchDecodedTokenIsOutOfTheVocabulary", "batch_decode_ids", with_element(11, 121), "121"},
    {"TreeTokensAreMissing", "tree_ids", kGone, "tree_ids"},
    {"TreeTokenIsOutOfTheVocabulary", "tree_ids", with_element(0, 121), "121"},
    {"TreeParentsAreMissing", "tree_parents", kGone, "tree_parents"},
    {"TreeParentsAreTooFew", "tree_parents", replaced({11}, many(11, -1)), "tree_parents"},
    {"TreeParentIsTheNodeItself", "tree_parents", with_element(3, 3)},
    {"TreeParentIsALaterNode", "tree_parents", with_element(3, 4)},
    {"TreeParentIsTooNegative", "tree_parents", with_element(3, -2), "-2"},
    {"TreeLeafIsMissing", "tree_leaf", kGone, "tree_leaf"},
    {"TreeLeafIsBehindTheLastNode", "tree_leaf", replaced({}, {12}), "11"},
    {"TreeLeafIsNotScalar", "tree_leaf", replaced({1}, {10}), "tree_leaf"},
    {"TreeLeafIsTooNegative", "tree_leaf", replaced({}, {-2}), "-2"},
    {"AfterCommitTokensAreMissing", "after_commit_ids", kGone, "after_commit_ids"},
    {"AfterCommitTokensAreTooFew", "after_commit_ids", replaced({1}, {1}), "after_commit_ids"},
    {"AfterCommitTokenIsOutOfTheVocabulary", "after_commit_ids", with_element(1, 121), "121"},
    {"ChunksDoNotAddUp", "chunks", with_element(0, 15), "chunks"},
    {"ChunkIsZero", "chunks", replaced({3}, {41, 0, 0}), "chunks"},
    {"ChunkIsNegative", "chunks", replaced({3}, {42, -1, 0}), "chunks"},
    {"IdsAreNotIntegers", "prompt_ids",
     [](const std::string& file, const std::string& dataset) {
       remove_dataset(file, dataset);
       write_dataset(file, dataset, {2, 9}, std::vector<double>(18, 1.0));
     },
     "integers"},
};

void PrintTo(const BadInput& bad, std::ostream* out) { *out << bad.name; }

class BadInputs : public ::testing::TestWithParam<BadInput> {};
INSTANTIATE_TEST_SUITE_P(, BadInputs, ::testing::ValuesIn(kBadInputs),
                         [](const auto& test) { return test.param.name; });

TEST_P(BadInputs, AreRefusedInOneLineThatNamesTheFile) {
  const CaseCopy model("llama");
  GetParam().change(model.golden(), std::string("/inputs/") + GetParam().input);
  const Outcome run = run_program(verify_arguments(model.folder(), model.golden()));
  expect_refused(run, model.golden());
  EXPECT_THAT(run.err, HasSubstr(GetParam().said));
}

TEST(BadInput, ResultsOfAStepBeyondAllNumbersAreNotCompared) {
  const CaseCopy model("llama");
  std::vector<std::string> names;
  for (const char* group : {"after_commit", "batch_decode", "decode"}) {
    names.push_back(std::string("/") + group + "/9223372036854775807/lm_head");
    add_hard_link(model.golden(), std::string("/") + group + "/0/lm_head", names.back());
  }
  const Verified run = verify(model);
  EXPECT_EQ(run.exit_code, 0) << run.err;
  std::vector<std::string> listed;
  for (const auto& entry : run.report["uncompared"]) listed.push_back(entry["dataset"]);
  EXPECT_EQ(listed, names);
}

// The position embedding of schedules-gptbigcode has 64 rows.
TEST(BadInput, BeyondTheLastPositionOfAPositionEmbedding) {
  for (const Index length : {64, 65}) {
    const CaseCopy model("gptbigcode");
    const std::string h5 = model.golden();
    for (const char* group : {"/prefill", "/decode", "/batch_prefill", "/batch_decode", "/tree", "/after_commit"})
      remove_dataset(h5, group);
    remove_dataset(h5, "/inputs/prompt_ids");
    remove_dataset(h5, "/batch_prefill_logits");
    write_dataset(h5, "/inputs/prompt_ids", {1, length}, many(static_cast<std::size_t>(length), 1));
    write_dataset(h5, "/prefill/transformer.wte", {1, length, 48},
                  std::vector<double>(static_cast<std::size_t>(length * 48), 1.0));
    const Outcome run = run_program(verify_arguments(model.folder(), h5));
    if (length <= 64) {
      EXPECT_EQ(run.exit_code, 1) << run.err;
    } else {
      expect_refused(run, h5);
      EXPECT_THAT(run.err, HasSubstr("position"));
    }
  }
}

}  // namespace
}  // namespace mlbench::test
