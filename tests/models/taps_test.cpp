// The tap inventory against the specification's table (taps.md).
#include "models/taps.h"

#include "models/presets.h"

#include <gmock/gmock.h>

namespace mlbench {
namespace {

using ::testing::ElementsAreArray;

std::vector<std::string> names(const ModelConfig& config) {
  std::vector<std::string> out;
  for (const TapSpec& spec : tap_specs(config)) {
    out.push_back(to_string({spec.tap, per_layer(spec.tap) ? Index{3} : Index{-1}}));
  }
  return out;
}

const std::vector<std::string> kLlamaTaps{"embed",
                                          "rope.cos",
                                          "rope.sin",
                                          "layers.3.attn_norm",
                                          "layers.3.attn.q_proj",
                                          "layers.3.attn.k_proj",
                                          "layers.3.attn.v_proj",
                                          "layers.3.attn.q",
                                          "layers.3.attn.k",
                                          "layers.3.attn.v",
                                          "layers.3.attn.probs",
                                          "layers.3.attn.context",
                                          "layers.3.attn.out",
                                          "layers.3.attn_residual",
                                          "layers.3.mlp_norm",
                                          "layers.3.mlp.gate",
                                          "layers.3.mlp.up",
                                          "layers.3.mlp.act",
                                          "layers.3.mlp.hidden",
                                          "layers.3.mlp.out",
                                          "layers.3.out",
                                          "final_norm",
                                          "logits"};

TEST(Taps, OfLlamaOrionAndOlmo) {
  for (const char* preset : {"llama-3-8b", "orion-14b", "olmo-1b-0724"}) {
    EXPECT_THAT(names(preset_config(preset)), ElementsAreArray(kLlamaTaps)) << preset;
  }
}

TEST(Taps, OfPhiHaveOneNormAndNoGate) {
  const std::vector<std::string> expected{"embed",
                                          "rope.cos",
                                          "rope.sin",
                                          "layers.3.attn_norm",
                                          "layers.3.attn.q_proj",
                                          "layers.3.attn.k_proj",
                                          "layers.3.attn.v_proj",
                                          "layers.3.attn.q",
                                          "layers.3.attn.k",
                                          "layers.3.attn.v",
                                          "layers.3.attn.probs",
                                          "layers.3.attn.context",
                                          "layers.3.attn.out",
                                          "layers.3.mlp.up",
                                          "layers.3.mlp.act",
                                          "layers.3.mlp.out",
                                          "layers.3.out",
                                          "final_norm",
                                          "logits"};
  EXPECT_THAT(names(preset_config("phi-2")), ElementsAreArray(expected));

  std::vector<std::string> with_norms = expected;
  with_norms.insert(with_norms.begin() + 7, {"layers.3.attn.q_norm", "layers.3.attn.k_norm"});
  EXPECT_THAT(names(preset_config("phi-2", {{"qk_layernorm", true}})), ElementsAreArray(with_norms));
}

TEST(Taps, OfGptBigCodeHaveTwoEmbeddingsAndOneProjection) {
  const std::vector<std::string> expected{"embed.token",
                                          "embed.position",
                                          "embed",
                                          "layers.3.attn_norm",
                                          "layers.3.attn.qkv_proj",
                                          "layers.3.attn.q",
                                          "layers.3.attn.k",
                                          "layers.3.attn.v",
                                          "layers.3.attn.probs",
                                          "layers.3.attn.context",
                                          "layers.3.attn.out",
                                          "layers.3.attn_residual",
                                          "layers.3.mlp_norm",
                                          "layers.3.mlp.up",
                                          "layers.3.mlp.act",
                                          "layers.3.mlp.out",
                                          "layers.3.out",
                                          "final_norm",
                                          "logits"};
  EXPECT_THAT(names(preset_config("starcoder")), ElementsAreArray(expected));
}

TEST(Taps, HaveTheShapesOfTheTable) {
  const auto spec_of = [](const ModelConfig& config, Tap tap) {
    for (const TapSpec& spec : tap_specs(config)) {
      if (spec.tap == tap) return spec;
    }
    ADD_FAILURE() << "no tap " << name(tap);
    return TapSpec{};
  };
  const auto expect = [&](const ModelConfig& config, Tap tap, TapLayout layout, Index heads, Index width) {
    const TapSpec spec = spec_of(config, tap);
    EXPECT_EQ(spec.layout, layout) << name(tap);
    EXPECT_EQ(spec.heads, heads) << name(tap);
    EXPECT_EQ(spec.width, width) << name(tap);
    EXPECT_FALSE(spec.shape.empty() || spec.meaning.empty()) << name(tap);
  };
  const ModelConfig llama = preset_config("llama-3.2-3b");  // h 3072, I 8192, Hq 24, Hkv 8, d 128, V 128256
  for (const Tap tap : {Tap::embed, Tap::attn_norm, Tap::attn_out, Tap::attn_residual, Tap::mlp_norm, Tap::mlp_out,
                        Tap::layer_out, Tap::final_norm}) {
    expect(llama, tap, TapLayout::rows, 0, 3072);
  }
  for (const Tap tap : {Tap::gate, Tap::up, Tap::act, Tap::mlp_hidden}) expect(llama, tap, TapLayout::rows, 0, 8192);
  for (const Tap tap : {Tap::rope_cos, Tap::rope_sin}) expect(llama, tap, TapLayout::rows, 0, 128);
  expect(llama, Tap::q_proj, TapLayout::rows, 0, 24 * 128);
  expect(llama, Tap::context, TapLayout::rows, 0, 24 * 128);
  expect(llama, Tap::k_proj, TapLayout::rows, 0, 8 * 128);
  expect(llama, Tap::v_proj, TapLayout::rows, 0, 8 * 128);
  expect(llama, Tap::q, TapLayout::heads, 24, 128);
  expect(llama, Tap::k, TapLayout::heads, 8, 128);
  expect(llama, Tap::v, TapLayout::heads, 8, 128);
  EXPECT_EQ(spec_of(llama, Tap::probs).layout, TapLayout::probs);
  EXPECT_EQ(spec_of(llama, Tap::probs).heads, 24);
  expect(llama, Tap::logits, TapLayout::rows, 0, 128256);

  const ModelConfig phi = preset_config("phi-2", {{"qk_layernorm", true}});
  expect(phi, Tap::rope_cos, TapLayout::rows, 0, 32);  // of 80
  expect(phi, Tap::q_norm, TapLayout::heads, 32, 80);
  expect(phi, Tap::k_norm, TapLayout::heads, 32, 80);

  const ModelConfig bigcode = preset_config("starcoderbase-1b");  // h 2048, d 128, one key-value head
  expect(bigcode, Tap::qkv_proj, TapLayout::rows, 0, 2048 + 2 * 128);
  expect(bigcode, Tap::embed_token, TapLayout::rows, 0, 2048);
  expect(bigcode, Tap::embed_position, TapLayout::rows, 0, 2048);
  expect(bigcode, Tap::k, TapLayout::heads, 1, 128);
}

}  // namespace
}  // namespace mlbench
