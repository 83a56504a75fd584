// One wrong number in a golden: the report names exactly that element, and both values. Datasets that are gone or
// unknown: what is left decides, and too few compared ones fail.
#include <algorithm>
#include <cctype>
#include <cmath>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "tests/cli/case_copy.h"
#include "tests/support/hdf5_edit.h"

namespace mlbench::test {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

constexpr double kDelta = 1e-3;

struct Edit {
  const char* model;
  const char* dataset;
  std::vector<Index> index;
  Place place;
  Index straying = 1;
};

// Index and place are independent: each row says where the element stands in the golden, and where in the model.
// schedules-llama: 2 prompts of 9; ragged prompts of 14, 1, 41, 20; 3 steps; a tree on 17 tokens, of which the path
// 0 2 5 8 10 is accepted. schedules-gptbigcode: 12, 40, 1, 21; 3 steps; a tree on 15, path 0 1 2 5 7 9.
const Edit kEdits[] = {
    {"llama", "/prefill/model.embed_tokens", {1, 0, 71}, {"prefill", "prefill", "embed", -1, 1, 0, "[71]"}},
    {"llama",
     "/prefill/model.layers.1.mlp.up_proj",
     {1, 4, 17},
     {"prefill", "prefill", "layers.1.mlp.up", 1, 1, 4, "[17]"}},
    {"llama", "/prefill/model.layers.0", {0, 8, 0}, {"prefill", "prefill", "layers.0.out", 0, 0, 8, "[0]"}},
    {"llama",
     "/prefill/model.layers.0.self_attn.q_rope",
     {1, 2, 4, 5},
     {"prefill", "prefill", "layers.0.attn.q", 0, 1, 4, "head 2 [5]"}},
    {"llama",
     "/prefill/model.layers.1.self_attn.k_rope",
     {0, 1, 8, 11},
     {"prefill", "prefill", "layers.1.attn.k", 1, 0, 8, "head 1 [11]"}},
    {"llama",
     "/prefill/model.layers.0.self_attn.attn_probs",
     {0, 3, 7, 2},
     {"prefill", "prefill", "layers.0.attn.probs", 0, 0, 7, "head 3 key 2"}},
    // A key that lies in the future: the golden holds a 0 there.
    {"llama",
     "/prefill/model.layers.0.self_attn.attn_probs",
     {1, 0, 3, 4},
     {"prefill", "prefill", "layers.0.attn.probs", 0, 1, 3, "head 0 key 4"}},
    // Stated once for both prompts, compared with each.
    {"llama", "/prefill/model.rotary_emb.sin", {0, 11}, {"prefill", "prefill", "rope.sin", -1, 0, 0, "[11]"}, 2},
    {"llama",
     "/decode/1/model.layers.1.self_attn.attn_probs",
     {1, 5, 0, 10},
     {"decode", "decode/1", "layers.1.attn.probs", 1, 1, 10, "head 5 key 10"}},
    {"llama", "/decode/1/lm_head", {0, 0, 120}, {"decode", "decode/1", "logits", -1, 0, 10, "[120]"}},
    {"llama", "/decode/0/model.rotary_emb.cos", {0, 3}, {"decode", "decode/0", "rope.cos", -1, 0, 9, "[3]"}, 2},
    {"llama",
     "/batch_prefill/model.layers.0",
     {14 + 1 + 30, 5},
     {"batch_prefill", "batch_prefill", "layers.0.out", 0, 2, 30, "[5]"}},
    {"llama",
     "/batch_prefill/model.layers.1.self_attn.k_proj",
     {14, 23},
     {"batch_prefill", "batch_prefill", "layers.1.attn.k_proj", 1, 1, 0, "[23]"}},
    {"llama", "/batch_prefill_logits", {2, 7}, {"batch_prefill", "batch_prefill_logits", "logits", -1, 2, 40, "[7]"}},
    {"llama", "/batch_decode/1/model.norm", {3, 8}, {"batch_decode", "batch_decode/1", "final_norm", -1, 3, 21, "[8]"}},
    {"llama",
     "/tree/model.layers.1.self_attn.v_proj",
     {10, 1},  // depth 4
     {"batch_verify", "tree", "layers.1.attn.v_proj", 1, 0, 17 + 4, "[1]"}},
    {"llama", "/tree/model.layers.0.mlp", {2, 70}, {"batch_verify", "tree", "layers.0.mlp.out", 0, 0, 17 + 1, "[70]"}},
    {"llama", "/after_commit/0/logits", {0, 3}, {"decode", "after_commit/0", "logits", -1, 0, 17 + 5, "[3]"}},
    {"llama",
     "/after_commit/1/model.layers.0.self_attn.attn_out",
     {0, 0},
     {"decode", "after_commit/1", "layers.0.attn.context", 0, 0, 17 + 6, "[0]"}},
    {"gptbigcode", "/prefill/transformer.wte", {1, 8, 47}, {"prefill", "prefill", "embed.token", -1, 1, 8, "[47]"}},
    {"gptbigcode", "/prefill/transformer.wpe", {0, 3, 7}, {"prefill", "prefill", "embed.position", -1, 0, 3, "[7]"}, 2},
    {"gptbigcode",
     "/prefill/transformer.h.1.attn.v",
     {1, 0, 2, 11},
     {"prefill", "prefill", "layers.1.attn.v", 1, 1, 2, "head 0 [11]"}},
    {"gptbigcode",
     "/batch_decode/0/transformer.drop",
     {2, 4},
     {"batch_decode", "batch_decode/0", "embed", -1, 2, 1, "[4]"}},
    {"gptbigcode",
     "/after_commit/0/transformer.h.0.attn.c_attn",
     {0, 71},
     {"decode", "after_commit/0", "layers.0.attn.qkv_proj", 0, 0, 15 + 6, "[71]"}},
    {"phi", "/rope/inv_freq", {2}, {"none", "rope", "rope.inv_freq", -1, 0, 0, "[2]"}},
    {"llama", "/rope/attention_scaling", {}, {"none", "rope", "rope.attention_scaling", -1, 0, 0, "[0]"}},
    {"phi", "/prefill/model.layers.0.mlp.fc1", {0, 1, 2}, {"prefill", "prefill", "layers.0.mlp.up", 0, 0, 1, "[2]"}},
    {"olmo",
     "/prefill/model.layers.1.self_attn.v",
     {1, 4, 0, 3},
     {"prefill", "prefill", "layers.1.attn.v", 1, 1, 0, "head 4 [3]"}},
    {"orion",
     "/decode/0/model.layers.1.mlp.act_fn",
     {1, 0, 9},
     {"decode", "decode/0", "layers.1.mlp.act", 1, 1, 8, "[9]"}},
};

void PrintTo(const Edit& edit, std::ostream* out) { *out << edit.model << edit.dataset; }

// The flat index of a multi-dimensional one.
Index flat(const CaseCopy& model, const Edit& edit) {
  golden::GoldenFile file(model.golden());
  const golden::DatasetInfo* dataset = file.find(edit.dataset);
  if (dataset == nullptr || dataset->shape.size() != edit.index.size()) throw std::runtime_error(edit.dataset);
  Index element = 0;
  for (std::size_t axis = 0; axis < edit.index.size(); ++axis) {
    if (edit.index[axis] >= dataset->shape[axis]) throw std::runtime_error(edit.dataset);
    element = element * dataset->shape[axis] + edit.index[axis];
  }
  return element;
}

double value_of(const CaseCopy& model, const Edit& edit) {
  golden::GoldenFile file(model.golden());
  return file.read(*file.find(edit.dataset)).values()[static_cast<std::size_t>(flat(model, edit))];
}

class EditedElement : public ::testing::TestWithParam<Edit> {};
INSTANTIATE_TEST_SUITE_P(, EditedElement, ::testing::ValuesIn(kEdits), [](const auto& test) {
  std::string name = test.param.model + std::string(test.param.dataset);
  for (const Index index : test.param.index) name += fmt::format("_{}", index);
  std::ranges::replace_if(
      name, [](char c) { return std::isalnum(static_cast<unsigned char>(c)) == 0; }, '_');
  return name;
});

TEST_P(EditedElement, IsNamedWithBothValues) {
  const Edit& edit = GetParam();
  SCOPED_TRACE(edit.dataset);
  const CaseCopy model(edit.model);
  const double before = value_of(model, edit);
  add_to_element(model.golden(), edit.dataset, flat(model, edit), kDelta);
  const Verified run = verify(model);
  expect_first_failure(run, edit.place);
  const json& first = run.report["first_failure"];
  EXPECT_EQ(first["straying"], edit.straying);
  EXPECT_EQ(first["worst"]["golden"], before + kDelta);
  EXPECT_NEAR(first["worst"]["computed"].get<double>(), before, first["limit"].get<double>());
  EXPECT_NEAR(first["max_error"].get<double>(), kDelta, first["limit"].get<double>());
  EXPECT_THAT(last_line(run.text), HasSubstr(fmt::format("golden {:.17g}, computed {:.17g}; error 1.00e-03 > limit ",
                                                         before + kDelta, first["worst"]["computed"].get<double>())));
}

TEST(EditedValue, ThatIsNotANumberFailsWhereItStands) {
  for (const double value : {std::nan(""), HUGE_VAL, -HUGE_VAL}) {
    const CaseCopy model("llama");
    set_element(model.golden(), "/decode/0/model.layers.0.mlp.down_proj", 72 + 3, value);
    const Verified run = verify(model);
    expect_first_failure(run, {"decode", "decode/0", "layers.0.mlp.out", 0, 1, 9, "[3]"});
    EXPECT_EQ(run.report["first_failure"]["max_error"], json());
    EXPECT_EQ(run.report["first_failure"]["worst"]["golden"], json());
    EXPECT_EQ(run.report["first_failure"]["straying"], 1);
  }
}

// Between the golden's 1e-12 and the computation's 1e-15 nothing is lost: ten limits are found, a tenth is not.
TEST(EditedValue, IsFoundAboveTheLimitAndNotBelow) {
  for (const double limits : {0.1, 10.0}) {
    const CaseCopy model("orion");
    double largest = 0.0;
    {
      golden::GoldenFile file(model.golden());
      const Tensor<double> values = file.read(*file.find("/tree/lm_head"));
      for (const double value : values.values()) largest = std::max(largest, std::fabs(value));
    }
    add_to_element(model.golden(), "/tree/lm_head", 5, limits * 1e-12 * largest);
    EXPECT_EQ(verify(model).exit_code, limits > 1.0 ? 1 : 0) << limits;
  }
}

// The order of computation decides, not that of names, layers or sizes of errors.
TEST(EditedElements, AreReportedFromTheFirstOn) {
  const struct {
    std::vector<const char*> datasets;
    const char *step, *tap;
  } runs[] = {
      {{"/after_commit/0/lm_head", "/batch_decode/0/lm_head", "/decode/1/lm_head"}, "decode/1", "logits"},
      {{"/after_commit/0/lm_head", "/tree/lm_head", "/batch_prefill_logits"}, "batch_prefill_logits", "logits"},
      {{"/batch_prefill_logits", "/batch_prefill/lm_head"}, "batch_prefill", "logits"},
      {{"/prefill/lm_head", "/prefill/model.layers.0", "/prefill/model.layers.0.mlp"}, "prefill", "layers.0.mlp.out"},
      {{"/prefill/model.layers.0.self_attn.attn_out", "/prefill/model.layers.0.self_attn.attn_probs",
        "/prefill/model.layers.0.self_attn.o_proj"},
       "prefill",
       "layers.0.attn.probs"},
      {{"/prefill/model.layers.1.input_layernorm", "/prefill/model.layers.0.mlp.act_fn"},
       "prefill",
       "layers.0.mlp.act"},
      {{"/prefill/model.layers.0.input_layernorm", "/prefill/model.rotary_emb.sin"}, "prefill", "rope.sin"},
  };
  for (const auto& run : runs) {
    const CaseCopy model("llama");
    for (const char* dataset : run.datasets) add_to_element(model.golden(), dataset, 0, kDelta);
    const Verified verified = verify(model);
    EXPECT_EQ(verified.exit_code, 1);
    EXPECT_EQ(verified.report["first_failure"]["step"], run.step);
    EXPECT_EQ(verified.report["first_failure"]["tap"], run.tap);
  }
}

// ---- fewer and more datasets ----

void remove_all(const CaseCopy& model, const std::vector<std::string>& names) {
  for (const std::string& name : names) remove_dataset(model.golden(), name);
}

TEST(RemovedDatasets, LeaveTheRestToPass) {
  const std::vector<std::string> removals[] = {
      {"/prefill"},
      {"/decode"},
      {"/decode/0"},
      {"/prefill", "/batch_prefill", "/tree"},
      {"/batch_prefill_logits"},
      {"/batch_decode"},
      {"/tree"},
      {"/after_commit"},
      {"/prefill/lm_head", "/prefill/model.embed_tokens", "/prefill/model.layers.0.self_attn.q_rope"},
      {"/rope", "/inputs/chunks"},
      {"/prefill", "/decode", "/inputs/prompt_ids", "/inputs/decode_ids"},
  };
  for (const auto& names : removals) {
    SCOPED_TRACE(names.front());
    const CaseCopy model("llama");
    remove_all(model, names);
    const Verified run = verify(model);
    EXPECT_EQ(run.exit_code, 0) << run.err << last_line(run.text);
    EXPECT_EQ(run.report["datasets"]["uncompared"], 0);
    EXPECT_LE(run.report["datasets"]["compared"], 275);
  }
}

// Inputs that no result needs are not asked for, whatever they hold.
TEST(RemovedDatasets, MakeTheirInputsIrrelevant) {
  const std::vector<std::string> story = {"/batch_prefill", "/batch_decode", "/tree", "/after_commit",
                                          "/batch_prefill_logits"};
  for (const char* gone : {"/inputs/ragged_ids", "/inputs/ragged_lengths", "/inputs/batch_decode_ids",
                           "/inputs/tree_parents", "/inputs/after_commit_ids", "/inputs/chunks"}) {
    SCOPED_TRACE(gone);
    const CaseCopy model("llama");
    remove_all(model, story);
    remove_dataset(model.golden(), gone);
    const Verified run = verify(model);
    EXPECT_EQ(run.exit_code, 0) << run.err;
    EXPECT_EQ(run.report["verdict"], "passed");
  }
}

TEST(RemovedDatasets, DownToOneStillComparesIt) {
  const CaseCopy model("gptbigcode");
  remove_all(model, {"/batch_prefill", "/batch_decode", "/tree", "/after_commit", "/batch_prefill_logits", "/decode",
                     "/prefill"});
  write_dataset(model.golden(), "/prefill/somewhere", {1}, std::vector<double>{1.0});
  EXPECT_EQ(verify(model).exit_code, 1);  // nothing compared is no pass
  remove_dataset(model.golden(), "/prefill/somewhere");
  const CaseCopy whole("gptbigcode");
  golden::GoldenFile file(whole.golden());
  const Tensor<double> logits = file.read(*file.find("/prefill/lm_head"));
  write_dataset(model.golden(), "/prefill/logits", logits.shape(),
                std::vector<double>(logits.values().begin(), logits.values().end()));
  const Verified run = verify(model);
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(run.report["datasets"]["compared"], 1);
}

// 275 known ones: 14 unknown ones leave 95.2% compared, 15 leave 94.8%.
TEST(UnknownDatasets, FailBeyondFivePercentAndAreListed) {
  const CaseCopy model("llama");
  for (int i = 0; i < 15; ++i) {
    const std::string name = fmt::format("/prefill/model.layers.0.self_attn.secret_{:02}", i);
    write_dataset(model.golden(), name, {2}, std::vector<double>{0.0, 1.0});
    const Verified run = verify(model);
    EXPECT_EQ(run.exit_code, i < 14 ? 0 : 1);
    EXPECT_EQ(run.report["datasets"]["uncompared"], i + 1);
    EXPECT_EQ(run.report["datasets"]["compared"], 275);
    EXPECT_EQ(run.report["uncompared"].size(), static_cast<std::size_t>(i + 1));
    EXPECT_EQ(run.report["uncompared"].back()["dataset"], name);
    EXPECT_THAT(run.text, HasSubstr("not compared: \"" + name + "\": "));
    EXPECT_EQ(last_line(run.text),
              i < 14 ? "passed" : "fewer than 95% of the golden's result datasets could be compared");
    EXPECT_EQ(run.report["first_failure"], json());
  }
}

TEST(UnknownDatasets, OfEveryKindAreListedWithTheirReason) {
  const CaseCopy model("llama");
  const std::string h5 = model.golden();
  write_dataset(h5, "/later_group/lm_head", {1}, std::vector<double>{0.0});
  write_dataset(h5, "/prefill/model.layers.7.mlp", {2, 9, 72}, std::vector<double>(2 * 9 * 72));
  write_dataset(h5, "/prefill/transformer.wpe", {1, 9, 72}, std::vector<double>(9 * 72));
  write_dataset(h5, "/prefill/model.layers.1.self_attn.q_layernorm", {1}, std::vector<std::int64_t>{3});
  write_dataset(h5, "/lm_head", {1}, std::vector<double>{0.0});
  const Verified run = verify(model);
  EXPECT_EQ(run.exit_code, 0) << run.err;
  std::map<std::string, std::string> reasons;
  for (const json& entry : run.report["uncompared"]) reasons[entry["dataset"]] = entry["reason"];
  EXPECT_EQ(reasons, (std::map<std::string, std::string>{
                         {"/later_group/lm_head", "its group is not known"},
                         {"/lm_head", "its group is not known"},
                         {"/prefill/model.layers.7.mlp", "the model has no tap layers.7.mlp.out"},
                         {"/prefill/transformer.wpe", "the model has no tap embed.position"},
                         {"/prefill/model.layers.1.self_attn.q_layernorm", "it holds no floating-point numbers"}}));
}

}  // namespace
}  // namespace mlbench::test
