// Models rounded to a storage type.
#include "models/rounded.h"

#include <cmath>
#include <cstring>
#include <memory>

#include <gmock/gmock.h>

#include "models/checkpoint.h"
#include "models/presets.h"
#include "models/synthetic.h"
#include "models/tensor_inventory.h"
#include "models/weights_digest.h"

namespace mlbench {
namespace {

constexpr DType kTypes[] = {DType::f64, DType::f32, DType::bf16, DType::f16};

std::vector<std::string> tensor_names(const ModelConfig& config) {
  std::vector<std::string> names;
  for (const TensorSpec& spec : global_tensors(config)) names.push_back(spec.name);
  for (Index layer = 0; layer < config.num_layers; ++layer) {
    for (const TensorSpec& spec : layer_tensors(config, layer)) names.push_back(spec.name);
  }
  return names;
}

ModelConfig one_layer(Architecture architecture, nlohmann::json overrides = nlohmann::json::object()) {
  overrides[architecture == Architecture::gpt_bigcode ? "n_layer" : "num_hidden_layers"] = 1;
  return preset_config(small_preset(architecture), overrides);
}

class RoundedModel : public ::testing::Test {
 protected:
  Workers workers_{2};
};

TEST(Exactness, IsThatOfTheTypesValueSets) {
  for (const DType from : kTypes) {
    EXPECT_TRUE(is_exact(from, from));
    EXPECT_TRUE(is_exact(from, DType::f64));
    EXPECT_EQ(is_exact(from, DType::f32), from != DType::f64);
    EXPECT_EQ(is_exact(from, DType::bf16), from == DType::bf16);
    EXPECT_EQ(is_exact(from, DType::f16), from == DType::f16);
  }
}

TEST_F(RoundedModel, SharesWhatIsExactAndRoundsTheRest) {
  for (const Architecture architecture : kArchitectures) {
    for (const DType from : kTypes) {
      const Model model = make_synthetic(one_layer(architecture), from, 1, workers_);
      for (const DType to : kTypes) {
        const Model rounded = rounded_to(model, to, workers_);
        for (const std::string& name : tensor_names(model.config)) {
          const WeightView& before = model.weights->get(name);
          const WeightView& after = rounded.weights->get(name);
          ASSERT_EQ(after.rows, before.rows);
          ASSERT_EQ(after.cols, before.cols);
          if (is_exact(from, to)) {
            ASSERT_EQ(after.data, before.data) << name;
            ASSERT_EQ(after.dtype, from) << name;
            continue;
          }
          ASSERT_NE(after.data, before.data) << name;
          ASSERT_EQ(after.dtype, to) << name;
          std::vector<std::byte> expected(static_cast<std::size_t>(before.size()) * size_bytes(to));
          narrow(to, before.widened(), expected.data());
          ASSERT_EQ(std::memcmp(after.data, expected.data(), expected.size()), 0) << name;
        }
      }
    }
  }
}

TEST_F(RoundedModel, KeepsATiedOutputLayerTheEmbedding) {
  const ModelConfig config = one_layer(Architecture::llama, {{"tie_word_embeddings", true}});
  const Model model = make_synthetic(config, DType::f32, 1, workers_);
  for (const DType to : {DType::f32, DType::bf16}) {
    const Model rounded = rounded_to(model, to, workers_);
    const Weights& weights = *rounded.weights;
    EXPECT_EQ(weights.get("lm_head.weight").data, weights.get("model.embed_tokens.weight").data) << name(to);
    EXPECT_EQ(weights.get("lm_head.weight").dtype, to);
  }
}

TEST_F(RoundedModel, OutlivesTheOneItCameFrom) {
  auto model = std::make_unique<Model>(make_synthetic(one_layer(Architecture::phi), DType::f32, 1, workers_));
  const std::vector<double> before = model->weights->get("model.embed_tokens.weight").widened();
  const Model shared = rounded_to(*model, DType::f64, workers_);
  model.reset();
  EXPECT_EQ(shared.weights->get("model.embed_tokens.weight").widened(), before);
}

TEST_F(RoundedModel, OfACheckpointSaysWhatWasRounded) {
  const Model model = load_checkpoint(MLBENCH_TEST_DATA "/schedules-olmo", {});
  ASSERT_TRUE(model.weights->source());
  EXPECT_FALSE(model.weights->source()->rounding);
  EXPECT_FALSE(rounded_to(model, DType::f32, workers_).weights->source()->rounding) << "it has float32";
  const Model rounded = rounded_to(model, DType::bf16, workers_);
  const std::optional<WeightsSource>& source = rounded.weights->source();
  ASSERT_TRUE(source && source->rounding);
  EXPECT_EQ(source->folder, model.weights->source()->folder);
  EXPECT_EQ(source->rounding->dtype, DType::bf16);
  EXPECT_EQ(source->rounding->sample_digest, weights_sample_digest(model));
  EXPECT_EQ(rounded_to(rounded, DType::f32, workers_).weights->source()->rounding->dtype, DType::bf16);
  EXPECT_FALSE(rounded_to(rounded, DType::f16, workers_).weights->source()) << "no one rounding makes these values";
}

TEST_F(RoundedModel, DoesNotDependOnTheThreads) {
  Workers one(1);
  const Model model = make_synthetic(one_layer(Architecture::olmo), DType::f32, 1, workers_);
  const Model a = rounded_to(model, DType::bf16, one), b = rounded_to(model, DType::bf16, workers_);
  for (const std::string& name : tensor_names(model.config)) {
    ASSERT_EQ(a.weights->get(name).widened(), b.weights->get(name).widened()) << name;
  }
}

// What f16 cannot hold becomes infinite, as storing it would: nothing is hidden.
TEST_F(RoundedModel, OverflowsWhereTheTypeDoes) {
  Model model = make_synthetic(one_layer(Architecture::llama), DType::f32, 1, workers_);
  const auto weights = std::make_shared<Weights>(*model.weights);
  const std::vector<float> values = {65504.0F, 65519.0F, 65520.0F, -1e9F, 1e-9F};
  weights->keep(model.weights);
  weights->put("model.norm.weight", {DType::f32, 1, 5, reinterpret_cast<const std::byte*>(values.data())});  // NOLINT
  model.weights = weights;
  const double inf = HUGE_VAL;
  EXPECT_THAT(rounded_to(model, DType::f16, workers_).weights->get("model.norm.weight").widened(),
              ::testing::ElementsAre(65504.0, 65504.0, inf, -inf, 0.0));
}

}  // namespace
}  // namespace mlbench
