// Names of Hugging Face's modules against taps.
#include "golden/hf_layout.h"

#include <gmock/gmock.h>

#include "tests/support/expect_error.h"

namespace mlbench::golden {
namespace {

std::string tap_text(std::string_view module) {
  const auto tap = tap_of_module(module);
  return tap ? to_string(*tap) : "";
}

// Every name that the layout has, and the tap that its value is (the specification's table of taps).
TEST(TapOfModule, KnowsEveryNameOfTheLayout) {
  const std::pair<const char*, const char*> names[] = {
      {"model.embed_tokens", "embed"},
      {"transformer.wte", "embed.token"},
      {"transformer.wpe", "embed.position"},
      {"transformer.drop", "embed"},
      {"model.rotary_emb.cos", "rope.cos"},
      {"model.rotary_emb.sin", "rope.sin"},
      {"model.layers.0.input_layernorm", "layers.0.attn_norm"},
      {"model.layers.0.post_attention_layernorm", "layers.0.mlp_norm"},
      {"transformer.h.0.ln_1", "layers.0.attn_norm"},
      {"transformer.h.0.ln_2", "layers.0.mlp_norm"},
      {"model.norm", "final_norm"},
      {"model.final_layernorm", "final_norm"},
      {"transformer.ln_f", "final_norm"},
      {"model.layers.1.self_attn.q_proj", "layers.1.attn.q_proj"},
      {"model.layers.1.self_attn.k_proj", "layers.1.attn.k_proj"},
      {"model.layers.1.self_attn.v_proj", "layers.1.attn.v_proj"},
      {"transformer.h.1.attn.c_attn", "layers.1.attn.qkv_proj"},
      {"model.layers.2.self_attn.q_layernorm", "layers.2.attn.q_norm"},
      {"model.layers.2.self_attn.k_layernorm", "layers.2.attn.k_norm"},
      {"model.layers.2.self_attn.q_rope", "layers.2.attn.q"},
      {"model.layers.2.self_attn.k_rope", "layers.2.attn.k"},
      {"model.layers.2.self_attn.v", "layers.2.attn.v"},
      {"transformer.h.2.attn.q", "layers.2.attn.q"},
      {"transformer.h.2.attn.k", "layers.2.attn.k"},
      {"transformer.h.2.attn.v", "layers.2.attn.v"},
      {"model.layers.3.self_attn.attn_probs", "layers.3.attn.probs"},
      {"transformer.h.3.attn.attn_probs", "layers.3.attn.probs"},
      {"model.layers.3.self_attn.attn_out", "layers.3.attn.context"},
      {"transformer.h.3.attn.attn_out", "layers.3.attn.context"},
      {"model.layers.3.self_attn.o_proj", "layers.3.attn.out"},
      {"model.layers.3.self_attn.dense", "layers.3.attn.out"},
      {"transformer.h.3.attn.c_proj", "layers.3.attn.out"},
      {"model.layers.3.self_attn", "layers.3.attn.out"},
      {"transformer.h.3.attn", "layers.3.attn.out"},
      {"model.layers.10.mlp.gate_proj", "layers.10.mlp.gate"},
      {"model.layers.10.mlp.up_proj", "layers.10.mlp.up"},
      {"model.layers.10.mlp.fc1", "layers.10.mlp.up"},
      {"transformer.h.10.mlp.c_fc", "layers.10.mlp.up"},
      {"model.layers.10.mlp.act_fn", "layers.10.mlp.act"},
      {"model.layers.10.mlp.activation_fn", "layers.10.mlp.act"},
      {"transformer.h.10.mlp.act", "layers.10.mlp.act"},
      {"model.layers.10.mlp.down_proj", "layers.10.mlp.out"},
      {"model.layers.10.mlp.fc2", "layers.10.mlp.out"},
      {"transformer.h.10.mlp.c_proj", "layers.10.mlp.out"},
      {"model.layers.10.mlp", "layers.10.mlp.out"},
      {"transformer.h.10.mlp", "layers.10.mlp.out"},
      {"model.layers.123", "layers.123.out"},
      {"transformer.h.0", "layers.0.out"},
      {"lm_head", "logits"},
      {"logits", "logits"},
  };
  for (const auto& [module, tap] : names) EXPECT_EQ(tap_text(module), tap) << module;
}

TEST(TapOfModule, KnowsNothingElse) {
  for (const char* module : {"",
                             ".",
                             "model",
                             "model.layers",
                             "model.layers.",
                             "model.layers.x",
                             "model.layers.-1",
                             "model.layers.+1",
                             "model.layers. 1",
                             "model.layers.0x1",
                             "model.layers.99999999999999999999",
                             "model.layers.9223372036854775807",
                             "model.layers.0.self_attn.",
                             "model.layers.0.self_attn.q_proj.weight",
                             "model.layers.0.self_attn.rotary_emb",
                             "model.layers.0mlp",
                             "model.layers..mlp",
                             "model.layers.0..mlp",
                             "transformer.h",
                             "transformer.h.mlp",
                             "model.norm.",
                             " model.norm",
                             "model.norm ",
                             "Model.norm",
                             "embed_tokens",
                             "lm_head.0",
                             "lm_heads",
                             "layers.0.mlp",
                             "transformer.model.layers.0"}) {
    EXPECT_EQ(tap_text(module), "") << module;
  }
}

TEST(ModulesOfTap, AreTheNamesThatLeadBackToIt) {
  for (const Architecture architecture : kArchitectures) {
    ModelConfig config;
    config.architecture = architecture;
    for (const TapSpec& spec : tap_specs(config)) {
      for (std::string module : modules_of_tap(spec.tap)) {
        const bool whole_layer = module.ends_with(".N");
        if (whole_layer) module.replace(module.size() - 1, 1, "4");
        if (per_layer(spec.tap) && !whole_layer) module.insert(0, "model.layers.4.");
        EXPECT_EQ(tap_text(module), to_string({spec.tap, per_layer(spec.tap) ? 4 : -1}));
      }
    }
  }
}

TEST(StepId, ReadsLikeTheGroupInTheFile) {
  EXPECT_EQ(to_string(StepId{Group::prefill, -1}), "prefill");
  EXPECT_EQ(to_string(StepId{Group::decode, 12}), "decode/12");
  EXPECT_EQ(to_string(StepId{Group::batch_prefill, -1}), "batch_prefill");
  EXPECT_EQ(to_string(StepId{Group::batch_decode, 0}), "batch_decode/0");
  EXPECT_EQ(to_string(StepId{Group::tree, -1}), "tree");
  EXPECT_EQ(to_string(StepId{Group::after_commit, 1}), "after_commit/1");
}

// ---- to_tap_layout ----

// Values that tell where they stood: 0, 1, 2, ...
Tensor<double> counted(const Shape& shape) {
  Tensor<double> values(shape);
  for (Index i = 0; i < values.size(); ++i) values.values()[static_cast<std::size_t>(i)] = static_cast<double>(i);
  return values;
}

const DatasetInfo kDataset{"/prefill/x", {}, ValueKind::real, 1};

Tensor<double> laid_out(const Shape& from, const Shape& expected, TapLayout layout, Index batch) {
  return to_tap_layout(counted(from), kDataset, expected, layout, batch, "golden.h5");
}

TEST(ToTapLayout, PutsSequencesOneAfterTheOther) {
  const Tensor<double> rows = laid_out({2, 3, 4}, {6, 4}, TapLayout::rows, 2);
  EXPECT_EQ(rows, counted({6, 4}));
  EXPECT_EQ(laid_out({6, 4}, {6, 4}, TapLayout::rows, 1), rows);     // a ragged batch
  EXPECT_EQ(laid_out({1, 6, 4}, {6, 4}, TapLayout::rows, 1), rows);  // one sequence
}

TEST(ToTapLayout, RepeatsWhatIsStatedOnceForAllSequences) {
  for (const Shape& once : {Shape{3, 4}, Shape{1, 3, 4}}) {
    const Tensor<double> rows = laid_out(once, {6, 4}, TapLayout::rows, 2);
    for (Index t = 0; t < 6; ++t) EXPECT_EQ(rows.row(t)[1], static_cast<double>(4 * (t % 3) + 1));
  }
}

TEST(ToTapLayout, MovesHeadsOutermost) {
  for (const TapLayout layout : {TapLayout::heads, TapLayout::probs}) {
    const Tensor<double> golden = counted({2, 3, 4, 5});  // [batch, heads, seq, width]
    const Tensor<double> tap = laid_out({2, 3, 4, 5}, {3, 8, 5}, layout, 2);
    for (Index b = 0; b < 2; ++b) {
      for (Index h = 0; h < 3; ++h) {
        for (Index t = 0; t < 4; ++t) {
          EXPECT_EQ(tap.row(h * 8 + b * 4 + t)[2], golden.row((b * 3 + h) * 4 + t)[2]);
        }
      }
    }
  }
}

TEST(ToTapLayout, RefusesOtherShapesAndNamesThem) {
  const struct {
    Shape from, expected;
    TapLayout layout;
    Index batch;
  } cases[] = {
      {{2, 3, 5}, {6, 4}, TapLayout::rows, 2},
      {{3, 2, 4}, {6, 4}, TapLayout::rows, 2},
      {{4, 6}, {6, 4}, TapLayout::rows, 2},
      {{24}, {6, 4}, TapLayout::rows, 2},
      {{}, {6, 4}, TapLayout::rows, 2},
      {{0}, {6, 4}, TapLayout::rows, 2},
      {{1, 2, 3, 4}, {6, 4}, TapLayout::rows, 2},
      {{2, 4}, {6, 4}, TapLayout::rows, 2},
      {{2, 4, 3, 5}, {3, 8, 5}, TapLayout::heads, 2},
      {{3, 8, 5}, {3, 8, 5}, TapLayout::heads, 2},
      {{1, 3, 4, 5}, {3, 8, 5}, TapLayout::heads, 2},
      {{2, 3, 4, 6}, {3, 8, 5}, TapLayout::probs, 2},
  };
  for (const auto& c : cases) {
    const Error error = test::error_of([&] { (void)laid_out(c.from, c.expected, c.layout, c.batch); });
    EXPECT_EQ(error.code(), "golden.shape");
    EXPECT_THAT(error.message(), ::testing::HasSubstr("golden.h5"));
    EXPECT_THAT(error.message(), ::testing::HasSubstr("/prefill/x"));
    EXPECT_THAT(error.message(), ::testing::HasSubstr(to_string(c.from)));
    EXPECT_THAT(error.message(), ::testing::HasSubstr(to_string(c.expected)));
  }
}

}  // namespace
}  // namespace mlbench::golden
