// Parts by mistake: which of them are none, and so cannot be told from the right ones.
#include "harness/selftest/parallel_parts.h"

#include <algorithm>
#include <string>

#include <gmock/gmock.h>

#include "harness/selftest/parallel_group.h"
#include "models/presets.h"
#include "models/synthetic.h"
#include "models/tensor_inventory.h"

namespace mlbench::selftest {
namespace {

Model model_with(Architecture architecture, const nlohmann::json& fields) {
  Workers alone(1);
  return make_synthetic(preset_config(small_preset(architecture), fields), DType::f32, 1, alone);
}

Model with_heads(Index heads) {
  return model_with(Architecture::llama, {{"hidden_size", 24},
                                          {"intermediate_size", 30},
                                          {"num_hidden_layers", 3},
                                          {"num_attention_heads", heads},
                                          {"num_key_value_heads", 2},
                                          {"head_dim", 4}});
}

// Names of the tensors that are not those of the right part.
std::vector<std::string> changed(const Model& model, const ParallelPlanted& planted, const Split& split, Index shard,
                                 Index stage) {
  const Model right = part_of(model, split, shard, stage), wrong = wrong_part_of(model, planted, split, shard, stage);
  std::vector<std::string> out;
  const auto compare = [&](const std::vector<TensorSpec>& specs) {
    for (const TensorSpec& spec : specs) {
      const WeightView &own = right.weights->get(spec.name), &other = wrong.weights->get(spec.name);
      EXPECT_EQ(own.rows, other.rows) << spec.name;
      EXPECT_EQ(own.cols, other.cols) << spec.name;
      if (own.widened() != other.widened()) out.push_back(spec.name);
    }
  };
  compare(global_tensors(right.config));
  for (Index layer = 0; layer < right.config.num_layers; ++layer) compare(layer_tensors(right.config, layer));
  return out;
}

using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST(WrongParts, WithoutAMistakeAreTheRightOnes) {
  const Model model = with_heads(4);
  for (Index worker = 0; worker < 4; ++worker)
    EXPECT_THAT(changed(model, ParallelPlanted(), {2, 2}, worker % 2, worker / 2), IsEmpty());
}

TEST(WrongParts, ChangeWhatTheirMistakeSaysAndNothingElse) {
  const Model model = with_heads(4);
  const auto of = [&](ParallelMistake mistake) { return changed(model, ParallelPlanted(mistake), {2, 1}, 0, 0); };
  EXPECT_THAT(of(ParallelMistake::k_of_other), AllOf(SizeIs(3), Each(HasSubstr("k_proj.weight"))));
  EXPECT_THAT(of(ParallelMistake::out_of_other), AllOf(SizeIs(3), Each(HasSubstr("o_proj.weight"))));
  EXPECT_THAT(of(ParallelMistake::down_cut_by_rows), AllOf(SizeIs(3), Each(HasSubstr("down_proj.weight"))));
  // Of queries, keys and values in one piece the first shard's queries are right.
  EXPECT_THAT(of(ParallelMistake::qkv_in_one_piece), AllOf(SizeIs(6), Each(::testing::Not(HasSubstr("q_proj")))));
  EXPECT_THAT(of(ParallelMistake::sum_doubled), IsEmpty()) << "made by the group";
}

TEST(WrongParts, TakeOtherLayersOfTheModel) {
  const Model model = with_heads(4);
  EXPECT_THAT(changed(model, ParallelPlanted(ParallelMistake::layers_one_early), {1, 2}, 0, 0), IsEmpty());
  const ParallelPlanted planted(ParallelMistake::layers_one_early);
  const Model part = wrong_part_of(model, planted, {1, 2}, 0, 1);
  const auto own = layer_tensors(part.config, 0), before = layer_tensors(model.config, 1);
  for (std::size_t i = 0; i < own.size(); ++i)
    EXPECT_EQ(part.weights->get(own[i].name).widened(), model.weights->get(before[i].name).widened()) << own[i].name;
}

// ---- mistakes that are none: no verification could tell them from the right way ----

TEST(NoMistakes, OneHeadForEachShardIsTheSameInTurnAndInRuns) {
  const ParallelPlanted planted(ParallelMistake::q_round_robin);
  for (Index shard = 0; shard < 2; ++shard) {
    EXPECT_THAT(changed(with_heads(2), planted, {2, 1}, shard, 0), IsEmpty());
    EXPECT_THAT(changed(with_heads(4), planted, {2, 1}, shard, 0), SizeIs(3)) << "and two heads are not";
  }
}

TEST(NoMistakes, LayersThatStagesShareEquallyStandByFloorWhereTheyRun) {
  const Model model = model_with(Architecture::gpt_bigcode, {{"n_layer", 4}});
  const ParallelPlanted planted(ParallelMistake::layers_by_floor);
  for (Index stage = 0; stage < 2; ++stage) EXPECT_THAT(changed(model, planted, {1, 2}, 0, stage), IsEmpty());
  EXPECT_FALSE(changed(with_heads(4), planted, {1, 2}, 0, 1).empty()) << "and three layers on two stages do not";
}

TEST(NoMistakes, BiasesThatAreNotThereCannotBeDivided) {
  const Model model = with_heads(4);
  for (const auto mistake : {ParallelMistake::attention_bias_undivided, ParallelMistake::mlp_bias_dropped}) {
    const ParallelPlanted planted(mistake);
    EXPECT_THAT(changed(model, planted, {2, 1}, 1, 0), IsEmpty());
    EXPECT_EQ(planted.hits(), 0U);
  }
}

}  // namespace
}  // namespace mlbench::selftest
