// Embedding and output layer: every row of the specification's table (architectures.md, section 3).
#include "models/tensor_inventory.h"
#include "tests/models/checkpoint_support.h"

namespace mlbench {
namespace {

using nlohmann::json;
using test::changed;
using test::Checkpoint;
using test::find;
using test::minimal;
using test::small_model;
using test::taken;
using test::Tensors;
using test::tensors_of;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr const char* kHead = "lm_head.weight";

class Ties : public ::testing::TestWithParam<Architecture> {
 protected:
  Ties() {
    config_ = changed(minimal(GetParam()), {{"tie_word_embeddings", true}});
    tensors_ = tensors_of(small_model(config_), DType::f32);
    embedding_ = embedding_name(test::read(config_));
    head_ = find(tensors_, embedding_);
    head_.name = kHead;
  }
  static std::vector<double> values(const Model& model, const std::string& name) {
    return model.weights->get(name).widened();
  }

  json config_;
  Tensors tensors_;  // with the embedding and without a head
  std::string embedding_;
  test::StoredTensor head_;  // equal to the embedding
};

TEST_P(Ties, TiedWithTheEmbeddingAlone) {
  const Model model = Checkpoint(config_, tensors_).load(true);
  EXPECT_EQ(values(model, kHead), head_.values);
  EXPECT_EQ(model.weights->get(kHead).data, model.weights->get(embedding_).data) << "one copy";
  EXPECT_TRUE(model.config.tie_word_embeddings);
  EXPECT_THAT(model.warnings, IsEmpty());
}

TEST_P(Ties, TiedWithBothEqual) {
  tensors_.push_back(head_);
  const Model model = Checkpoint(config_, tensors_).load(true);
  EXPECT_EQ(values(model, kHead), head_.values);
  EXPECT_TRUE(model.config.tie_word_embeddings);
  EXPECT_THAT(model.warnings, IsEmpty());
}

TEST_P(Ties, TiedWithTheHeadAlone) {
  (void)taken(tensors_, embedding_);
  tensors_.push_back(head_);
  const Model model = Checkpoint(config_, tensors_).load(true);
  EXPECT_EQ(values(model, kHead), head_.values);
  EXPECT_EQ(values(model, embedding_), head_.values);
  EXPECT_TRUE(model.config.tie_word_embeddings);
  EXPECT_THAT(model.warnings, IsEmpty());
}

TEST_P(Ties, TiedWithBothDifferentIsUntiedWithAWarning) {
  test::damage(head_);
  tensors_.push_back(head_);
  const Model model = Checkpoint(config_, tensors_).load(true);
  EXPECT_EQ(values(model, kHead), head_.values);
  EXPECT_EQ(values(model, embedding_), find(tensors_, embedding_).values);
  EXPECT_FALSE(model.config.tie_word_embeddings);
  EXPECT_THAT(model.warnings, ElementsAre(HasSubstr("weights.conflict")));
}

TEST_P(Ties, TiedWithNeitherIsMissing) {
  (void)taken(tensors_, embedding_);
  const Error error = Checkpoint(config_, tensors_).refused();
  EXPECT_EQ(error.code(), "weights.missing");
  EXPECT_THAT(error.message(), HasSubstr(embedding_));
}

TEST_P(Ties, UntiedUsesItsOwnHeadEvenWhereItEqualsTheEmbedding) {
  config_["tie_word_embeddings"] = false;
  for (const bool different : {false, true}) {
    if (different) test::damage(head_);
    Tensors tensors = tensors_;
    tensors.push_back(head_);
    const Model model = Checkpoint(config_, tensors).load(true);
    EXPECT_EQ(values(model, kHead), head_.values);
    EXPECT_NE(model.weights->get(kHead).data, model.weights->get(embedding_).data);
    EXPECT_FALSE(model.config.tie_word_embeddings);
    EXPECT_THAT(model.warnings, IsEmpty());
  }
}

TEST_P(Ties, UntiedWithoutAHeadIsMissing) {
  config_["tie_word_embeddings"] = false;
  const Error error = Checkpoint(config_, tensors_).refused();
  EXPECT_EQ(error.code(), "weights.missing");
  EXPECT_THAT(error.message(), HasSubstr(kHead));
}

TEST_P(Ties, TheDefaultIsTheFamilys) {
  config_.erase("tie_word_embeddings");
  const Checkpoint checkpoint(config_, tensors_);
  if (GetParam() == Architecture::gpt_bigcode) {
    EXPECT_TRUE(checkpoint.load(true).config.tie_word_embeddings);
  } else {
    EXPECT_EQ(checkpoint.refused().code(), "weights.missing");
  }
}

INSTANTIATE_TEST_SUITE_P(Families, Ties, ::testing::ValuesIn(kArchitectures),
                         [](const auto& family) { return std::string(name(family.param)); });

TEST(PhiTies, TheHeadsBiasStaysSeparate) {
  const json config = changed(minimal(Architecture::phi), {{"tie_word_embeddings", true}});
  Tensors tensors = tensors_of(small_model(config), DType::f32);
  const std::vector<double> bias = find(tensors, "lm_head.bias").values;
  EXPECT_EQ(Checkpoint(config, tensors).load(true).weights->get("lm_head.bias").widened(), bias);
  (void)taken(tensors, "lm_head.bias");
  EXPECT_EQ(Checkpoint(config, tensors).refused().code(), "weights.missing");
}

}  // namespace
}  // namespace mlbench
