// The same weights under other names: MLC's fused projections, phi-msft, mixformer-sequential.
#include "tests/models/checkpoint_support.h"

namespace mlbench {
namespace {

using nlohmann::json;
using test::changed;
using test::Checkpoint;
using test::expect_same_weights;
using test::minimal;
using test::minimal_msft;
using test::small_model;
using test::StoredTensor;
using test::taken;
using test::Tensors;
using test::tensors_of;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// The rows of `parts`, one under the other, as `name`; the parts are taken away.
void fuse(Tensors& tensors, const std::string& name, const std::vector<std::string>& parts) {
  StoredTensor fused = taken(tensors, parts.front());
  for (std::size_t i = 1; i < parts.size(); ++i) {
    const StoredTensor part = taken(tensors, parts[i]);
    fused.values.insert(fused.values.end(), part.values.begin(), part.values.end());
    fused.shape[0] += part.shape[0];
  }
  fused.name = name;
  tensors.push_back(std::move(fused));
}

void rename(Tensors& tensors, const std::string& from, const std::string& to) {
  StoredTensor tensor = taken(tensors, from);
  tensor.name = to;
  tensors.push_back(std::move(tensor));
}

Tensors with_mlc_names(Tensors tensors, const json& config) {
  for (int layer = 0; layer < 2; ++layer) {
    const std::string stem = "model.layers." + std::to_string(layer) + ".";
    for (const char* kind : {".weight", ".bias"}) {
      const bool bias = std::string(kind) == ".bias";
      if (bias && !config.contains("attention_bias")) continue;
      fuse(tensors, stem + "self_attn.qkv_proj" + kind,
           {stem + "self_attn.q_proj" + kind, stem + "self_attn.k_proj" + kind, stem + "self_attn.v_proj" + kind});
      if (bias && !config.contains("mlp_bias")) continue;
      fuse(tensors, stem + "mlp.gate_up_proj" + kind, {stem + "mlp.gate_proj" + kind, stem + "mlp.up_proj" + kind});
    }
  }
  return tensors;
}

TEST(StoredNames, MlcsFusedProjectionsAreRowsQThenKThenVAndGateThenUp) {
  const json configs[] = {
      changed(minimal(Architecture::llama), {{"num_key_value_heads", 2}, {"head_dim", 24}}),
      changed(minimal(Architecture::llama), {{"num_key_value_heads", 1}, {"attention_bias", true}, {"mlp_bias", true}}),
      changed(minimal(Architecture::orion), {{"num_key_value_heads", 2}}),
      changed(minimal(Architecture::olmo), {{"num_key_value_heads", 2}, {"clip_qkv", 8.0}}),
  };
  for (const json& config : configs) {
    const Model written = small_model(config);
    const Model model = Checkpoint(config, with_mlc_names(tensors_of(written, DType::f32), config)).load(true);
    expect_same_weights(model, written);
    EXPECT_THAT(model.warnings, IsEmpty());
  }
}

// Under phi-msft's names, `embedding` being one of the two that occur.
Tensors with_msft_names(Tensors tensors, const std::string& embedding) {
  rename(tensors, "model.embed_tokens.weight", embedding);
  for (const char* kind : {".weight", ".bias"}) {
    for (int layer = 0; layer < 2; ++layer) {
      const std::string hf = "model.layers." + std::to_string(layer) + ".",
                        msft = "transformer.h." + std::to_string(layer) + ".";
      fuse(tensors, msft + "mixer.Wqkv" + kind,
           {hf + "self_attn.q_proj" + kind, hf + "self_attn.k_proj" + kind, hf + "self_attn.v_proj" + kind});
      rename(tensors, hf + "input_layernorm" + kind, msft + "ln" + kind);
      rename(tensors, hf + "self_attn.dense" + kind, msft + "mixer.out_proj" + kind);
      rename(tensors, hf + "mlp.fc1" + kind, msft + "mlp.fc1" + kind);
      rename(tensors, hf + "mlp.fc2" + kind, msft + "mlp.fc2" + kind);
    }
    rename(tensors, std::string("model.final_layernorm") + kind, std::string("lm_head.ln") + kind);
    rename(tensors, std::string("lm_head") + kind, std::string("lm_head.linear") + kind);
  }
  return tensors;
}

Tensors with_mixformer_names(const Tensors& hf) {
  Tensors tensors = with_msft_names(hf, "layers.0.wte.weight");
  for (StoredTensor& tensor : tensors) {
    const auto replace = [&](const std::string& from, const std::string& to) {
      if (tensor.name.starts_with(from)) tensor.name = to + tensor.name.substr(from.size());
    };
    replace("transformer.h.1.", "layers.2.");
    replace("transformer.h.0.", "layers.1.");
    replace("lm_head.", "layers.3.");
  }
  return tensors;
}

TEST(StoredNames, OfPhiMsftAndMlcGiveTheSameWeights) {
  for (const int kv_heads : {4, 2}) {
    const json config = changed(minimal_msft(), {{"n_head_kv", kv_heads}});
    const Model written = small_model(config);
    const Tensors hf = tensors_of(written, DType::f32);
    for (const char* embedding : {"transformer.embd.wte.weight", "transformer.embd.weight"}) {
      const Model model = Checkpoint(config, with_msft_names(hf, embedding)).load(true);
      expect_same_weights(model, written);
      EXPECT_THAT(model.warnings, IsEmpty());
    }
  }
}

TEST(StoredNames, OfMixformerSequentialGiveTheSameWeights) {
  const json config = changed(minimal_msft(), {{"model_type", "mixformer-sequential"}, {"n_head_kv", 2}});
  const Model written = small_model(config);
  const Model model = Checkpoint(config, with_mixformer_names(tensors_of(written, DType::f32))).load(true);
  expect_same_weights(model, written);
  EXPECT_THAT(model.warnings, IsEmpty());
}

TEST(StoredNames, HuggingFacesNamesGoWithPhiMsftsFields) {
  const Model written = small_model(minimal_msft());
  expect_same_weights(Checkpoint(minimal_msft(), tensors_of(written, DType::f32)).load(true), written);
}

TEST(StoredNames, AFusedTensorOfTheWrongHeightIsRefused) {
  const json config = changed(minimal(Architecture::llama), {{"num_key_value_heads", 2}});
  const Tensors tensors = with_mlc_names(tensors_of(small_model(config), DType::f32), config);
  const Error error = Checkpoint(changed(config, {{"num_key_value_heads", 4}}), tensors).refused();
  EXPECT_EQ(error.code(), "weights.shape");
  EXPECT_THAT(error.message(), HasSubstr("qkv_proj"));
}

TEST(StoredNames, GptBigCodeHasOnlyItsOwn) {
  const json config = minimal(Architecture::gpt_bigcode);
  Tensors tensors = tensors_of(small_model(config), DType::f32);
  rename(tensors, "transformer.wte.weight", "model.embed_tokens.weight");
  EXPECT_EQ(Checkpoint(config, tensors).refused().code(), "weights.missing");
}

}  // namespace
}  // namespace mlbench
