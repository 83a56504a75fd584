// The number that tells whether two machines hold the same weights.
#include "models/weights_digest.h"

#include <algorithm>
#include <memory>

#include <gmock/gmock.h>

#include "models/presets.h"
#include "models/synthetic.h"
#include "models/tensor_inventory.h"

namespace mlbench {
namespace {

ModelConfig one_layer(Architecture architecture, nlohmann::json overrides = nlohmann::json::object()) {
  overrides[architecture == Architecture::gpt_bigcode ? "n_layer" : "num_hidden_layers"] = 1;
  return preset_config(small_preset(architecture), overrides);
}

// The model with one bit of a tensor changed.
Model with_bit_flipped(const Model& model, const std::string& tensor, std::size_t byte, unsigned bit) {
  const WeightView from = model.weights->get(tensor);
  const auto bytes = std::make_shared<std::vector<std::byte>>(
      from.data, from.data + static_cast<std::size_t>(from.size()) * size_bytes(from.dtype));
  (*bytes)[byte] ^= static_cast<std::byte>(1U << bit);
  const auto weights = std::make_shared<Weights>(*model.weights);
  weights->keep(model.weights);
  weights->keep(bytes);
  weights->put(tensor, {.dtype = from.dtype, .rows = from.rows, .cols = from.cols, .data = bytes->data()});
  Model out = model;
  out.weights = weights;
  return out;
}

class WeightsDigest : public ::testing::Test {
 protected:
  std::string digest(const Model& model) { return weights_digest(model, workers_); }
  Model model_of(Architecture architecture, DType dtype = DType::bf16, std::uint64_t seed = 1) {
    return make_synthetic(one_layer(architecture), dtype, seed, workers_);
  }
  Workers workers_{2};
};

TEST_F(WeightsDigest, IsSixteenHexadecimalDigits) {
  EXPECT_THAT(digest(model_of(Architecture::llama)), ::testing::MatchesRegex("[0-9a-f]{16}"));
}

TEST_F(WeightsDigest, IsTheSameForTheSameWeights) {
  for (const Architecture architecture : kArchitectures) {
    EXPECT_EQ(digest(model_of(architecture)), digest(model_of(architecture))) << name(architecture);
  }
}

TEST_F(WeightsDigest, DiffersByArchitectureTypeAndSeed) {
  std::vector<std::string> digests;
  for (const Architecture architecture : kArchitectures) digests.push_back(digest(model_of(architecture)));
  digests.push_back(digest(model_of(Architecture::llama, DType::f16)));
  digests.push_back(digest(model_of(Architecture::llama, DType::f32)));
  digests.push_back(digest(model_of(Architecture::llama, DType::bf16, 2)));
  std::ranges::sort(digests);
  EXPECT_EQ(std::ranges::adjacent_find(digests), digests.end());
}

TEST_F(WeightsDigest, DiffersForOneBitInTheFirstOrLastByteOfAnyTensor) {
  const Model model = model_of(Architecture::phi);
  const std::string right = digest(model);
  std::vector<TensorSpec> specs = global_tensors(model.config);
  for (const TensorSpec& spec : layer_tensors(model.config, 0)) specs.push_back(spec);
  for (const TensorSpec& spec : specs) {
    const auto bytes = static_cast<std::size_t>(element_count(spec.shape)) * 2;
    for (const std::size_t byte : {std::size_t{0}, bytes / 2, bytes - 1}) {
      EXPECT_NE(digest(with_bit_flipped(model, spec.name, byte, byte % 8)), right) << spec.name << " " << byte;
    }
  }
}

// Tensors are hashed in pieces of 4 MiB, on any thread: of this one there are three, the last one short.
TEST_F(WeightsDigest, DependsOnEveryPieceAndNotOnTheThreads) {
  const Model model = make_synthetic(one_layer(Architecture::llama, {{"vocab_size", 12000}}), DType::f32, 1, workers_);
  const std::string tensor = "model.embed_tokens.weight", right = digest(model);
  Workers one(1), four(4);
  EXPECT_EQ(weights_digest(model, one), right);
  EXPECT_EQ(weights_digest(model, four), right);
  constexpr std::size_t kPiece = std::size_t{1} << 22U;
  for (const std::size_t byte : {kPiece - 1, kPiece, 2 * kPiece - 1, 2 * kPiece}) {
    EXPECT_NE(digest(with_bit_flipped(model, tensor, byte, 3)), right) << byte;
  }
}

TEST_F(WeightsDigest, DiffersWhereTwoPiecesOrTensorsAreSwapped) {
  const Model model = model_of(Architecture::llama);
  const auto weights = std::make_shared<Weights>(*model.weights);
  const std::string k = "model.layers.0.self_attn.k_proj.weight", v = "model.layers.0.self_attn.v_proj.weight";
  weights->keep(model.weights);
  weights->put(k, model.weights->get(v));
  weights->put(v, model.weights->get(k));
  Model swapped = model;
  swapped.weights = weights;
  EXPECT_NE(digest(swapped), digest(model));
}

}  // namespace
}  // namespace mlbench
