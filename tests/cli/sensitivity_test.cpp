// One wrong number in a model is found, and the first tap that it reaches is named. The tables say which tap that must
// be, from the order of computation; where it lies follows from the golden's own values: the error of row t is the
// change times what the weight is multiplied with, and the report names the row where that is largest.
#include <algorithm>
#include <cctype>
#include <cmath>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "tests/cli/case_copy.h"

namespace mlbench::test {
namespace {

using ::testing::SizeIs;

struct WeightChange {
  std::string model;
  std::string tensor;
  Index element;
  std::string tap;
  Index layer;
  std::string shown;                 // the element of the tap
  std::vector<std::string> factors;  // datasets of /prefill whose product the weight is multiplied with
  Index column = 0;                  // of these
  std::string offset;                // a bias that is part of the first factor, but not multiplied
};

// A row of x: the sequence and the position.
struct Row {
  Index batch_row, position;
};

Row largest_row(const CaseCopy& model, const WeightChange& change) {
  golden::GoldenFile file(model.golden());
  Tensor<double> product;
  for (const std::string& factor : change.factors) {
    const golden::DatasetInfo* dataset = file.find("/prefill/" + factor);
    if (dataset == nullptr) throw std::runtime_error("no dataset " + factor);
    Tensor<double> x = file.read(*dataset);  // [batch, prompt, width]
    if (product.size() == 0) {
      if (!change.offset.empty()) {
        for (Index t = 0; t < x.rows(); ++t)
          x.row(t)[static_cast<std::size_t>(change.column)] -=
              static_cast<double>(model.weight(change.offset, change.column));
      }
      product = std::move(x);
    } else {
      std::ranges::transform(product.values(), x.values(), product.values().begin(), std::multiplies<>());
    }
  }
  Index best = 0;
  const auto magnitude = [&](Index t) { return std::fabs(product.row(t)[static_cast<std::size_t>(change.column)]); };
  for (Index t = 1; t < product.rows(); ++t) {
    if (magnitude(t) > magnitude(best)) best = t;
  }
  return {best / product.dim(1), best % product.dim(1)};
}

std::string tap_name(Index layer, const std::string& name) {
  return layer < 0 ? name : "layers." + std::to_string(layer) + "." + name;
}

std::string brackets(Index element) { return fmt::format("[{}]", element); }

// weight [row, column] of a linear layer whose input is the product of `inputs`.
WeightChange linear(const std::string& model, const std::string& module, Index width, Index row, Index column,
                    Index layer, const std::string& tap, const std::vector<std::string>& inputs) {
  return {model, module + ".weight", row * width + column, tap_name(layer, tap), layer, brackets(row), inputs, column,
          ""};
}

// A norm's weight is multiplied with the normalized row: the norm's output, less its bias.
WeightChange norm(const std::string& model, const std::string& module, Index column, Index layer,
                  const std::string& tap, bool bias) {
  return {model,  module + ".weight",          column, tap_name(layer, tap), layer, brackets(column), {module},
          column, bias ? module + ".bias" : ""};
}

std::vector<WeightChange> gated_layer(const std::string& model, Index layer, Index h, Index context, Index mlp) {
  const std::string m = "model.layers." + std::to_string(layer) + ".";
  const std::string input = m + "input_layernorm";
  const std::string middle = m + "post_attention_layernorm";
  return {
      linear(model, m + "self_attn.q_proj", h, 3, 5, layer, "attn.q_proj", {input}),
      linear(model, m + "self_attn.k_proj", h, 7, 11, layer, "attn.k_proj", {input}),
      linear(model, m + "self_attn.v_proj", h, 0, 0, layer, "attn.v_proj", {input}),
      linear(model, m + "self_attn.o_proj", context, h - 1, context - 1, layer, "attn.out", {m + "self_attn.attn_out"}),
      linear(model, m + "mlp.gate_proj", h, mlp - 1, 2, layer, "mlp.gate", {middle}),
      linear(model, m + "mlp.up_proj", h, 9, h - 1, layer, "mlp.up", {middle}),
      linear(model, m + "mlp.down_proj", mlp, 4, 6, layer, "mlp.out", {m + "mlp.act_fn", m + "mlp.up_proj"})};
}

void append(std::vector<WeightChange>& to, const std::vector<WeightChange>& more) {
  to.insert(to.end(), more.begin(), more.end());
}

std::vector<WeightChange> weight_changes() {
  std::vector<WeightChange> all;
  append(all, gated_layer("llama", 0, 72, 72, 130));
  append(all, gated_layer("llama", 1, 72, 72, 130));
  append(all, {norm("llama", "model.layers.0.input_layernorm", 8, 0, "attn_norm", false),
               norm("llama", "model.layers.1.input_layernorm", 0, 1, "attn_norm", false),
               norm("llama", "model.layers.0.post_attention_layernorm", 71, 0, "mlp_norm", false),
               norm("llama", "model.norm", 13, -1, "final_norm", false),
               linear("llama", "lm_head", 72, 120, 0, -1, "logits", {"model.norm"})});
  append(all, gated_layer("orion", 1, 64, 64, 124));
  append(all, {norm("orion", "model.layers.0.input_layernorm", 8, 0, "attn_norm", true),
               norm("orion", "model.layers.1.post_attention_layernorm", 63, 1, "mlp_norm", true),
               norm("orion", "model.norm", 13, -1, "final_norm", true),
               linear("orion", "lm_head", 64, 0, 63, -1, "logits", {"model.norm"})});
  append(all, gated_layer("olmo", 0, 60, 60, 140));
  append(all, {linear("olmo", "lm_head", 60, 108, 59, -1, "logits", {"model.norm"})});
  const std::string p0 = "model.layers.0.", p1 = "model.layers.1.";
  append(all, {norm("phi", p0 + "input_layernorm", 20, 0, "attn_norm", true),
               linear("phi", p0 + "self_attn.q_proj", 64, 1, 2, 0, "attn.q_proj", {p0 + "input_layernorm"}),
               linear("phi", p0 + "self_attn.k_proj", 64, 63, 63, 0, "attn.k_proj", {p0 + "input_layernorm"}),
               linear("phi", p1 + "self_attn.v_proj", 64, 5, 6, 1, "attn.v_proj", {p1 + "input_layernorm"}),
               linear("phi", p1 + "self_attn.dense", 64, 7, 8, 1, "attn.out", {p1 + "self_attn.attn_out"}),
               linear("phi", p0 + "mlp.fc1", 64, 151, 3, 0, "mlp.up", {p0 + "input_layernorm"}),
               linear("phi", p0 + "mlp.fc2", 152, 9, 151, 0, "mlp.out", {p0 + "mlp.activation_fn"}),
               norm("phi", "model.final_layernorm", 33, -1, "final_norm", true),
               linear("phi", "lm_head", 64, 130, 1, -1, "logits", {"model.final_layernorm"})});
  const std::string h0 = "transformer.h.0.", h1 = "transformer.h.1.";
  append(all, {norm("gptbigcode", h0 + "ln_1", 47, 0, "attn_norm", true),
               norm("gptbigcode", h1 + "ln_2", 3, 1, "mlp_norm", true),
               norm("gptbigcode", "transformer.ln_f", 5, -1, "final_norm", true),
               linear("gptbigcode", h0 + "attn.c_attn", 48, 71, 4, 0, "attn.qkv_proj", {h0 + "ln_1"}),
               linear("gptbigcode", h1 + "attn.c_proj", 48, 6, 7, 1, "attn.out", {h1 + "attn.attn_out"}),
               linear("gptbigcode", h0 + "mlp.c_fc", 48, 191, 47, 0, "mlp.up", {h0 + "ln_2"}),
               linear("gptbigcode", h1 + "mlp.c_proj", 192, 10, 191, 1, "mlp.out", {h1 + "mlp.act"})});
  return all;
}

std::string test_name(const std::string& text) {
  std::string name = text;
  std::ranges::replace_if(
      name, [](char c) { return std::isalnum(static_cast<unsigned char>(c)) == 0; }, '_');
  return name;
}

void PrintTo(const WeightChange& change, std::ostream* out) { *out << change.model << " " << change.tensor; }

class ChangedWeight : public ::testing::TestWithParam<WeightChange> {};
INSTANTIATE_TEST_SUITE_P(, ChangedWeight, ::testing::ValuesIn(weight_changes()),
                         [](const auto& test) { return test_name(test.param.model + "_" + test.param.tensor); });

TEST_P(ChangedWeight, IsFoundInTheTapThatItEntersFirst) {
  const WeightChange& change = GetParam();
  CaseCopy model(change.model);
  const Row row = largest_row(model, change);
  model.change_sixth_digit(change.tensor, change.element);
  expect_first_failure(verify(model),
                       {"prefill", "prefill", change.tap, change.layer, row.batch_row, row.position, change.shown});
}

// A bias is added to every row alike: all of them stray, in its element alone.
struct BiasChange {
  std::string model, tensor;
  Index element;
  std::string tap;
  Index layer;
};

const BiasChange kBiasChanges[] = {
    {"orion", "model.layers.0.input_layernorm.bias", 8, "attn_norm", 0},
    {"orion", "model.layers.1.post_attention_layernorm.bias", 0, "mlp_norm", 1},
    {"orion", "model.norm.bias", 63, "final_norm", -1},
    {"phi", "model.layers.1.input_layernorm.bias", 1, "attn_norm", 1},
    {"phi", "model.layers.0.self_attn.q_proj.bias", 2, "attn.q_proj", 0},
    {"phi", "model.layers.0.self_attn.k_proj.bias", 3, "attn.k_proj", 0},
    {"phi", "model.layers.0.self_attn.v_proj.bias", 4, "attn.v_proj", 0},
    {"phi", "model.layers.1.self_attn.dense.bias", 5, "attn.out", 1},
    {"phi", "model.layers.0.mlp.fc1.bias", 151, "mlp.up", 0},
    {"phi", "model.layers.1.mlp.fc2.bias", 7, "mlp.out", 1},
    {"phi", "model.final_layernorm.bias", 8, "final_norm", -1},
    {"phi", "lm_head.bias", 130, "logits", -1},
    {"gptbigcode", "transformer.h.0.ln_1.bias", 1, "attn_norm", 0},
    {"gptbigcode", "transformer.h.0.attn.c_attn.bias", 71, "attn.qkv_proj", 0},
    {"gptbigcode", "transformer.h.1.attn.c_proj.bias", 2, "attn.out", 1},
    {"gptbigcode", "transformer.h.1.ln_2.bias", 3, "mlp_norm", 1},
    {"gptbigcode", "transformer.h.0.mlp.c_fc.bias", 191, "mlp.up", 0},
    {"gptbigcode", "transformer.h.1.mlp.c_proj.bias", 4, "mlp.out", 1},
    {"gptbigcode", "transformer.ln_f.bias", 5, "final_norm", -1},
};

void PrintTo(const BiasChange& change, std::ostream* out) { *out << change.model << " " << change.tensor; }

class ChangedBias : public ::testing::TestWithParam<BiasChange> {};
INSTANTIATE_TEST_SUITE_P(, ChangedBias, ::testing::ValuesIn(kBiasChanges),
                         [](const auto& test) { return test_name(test.param.model + "_" + test.param.tensor); });

TEST_P(ChangedBias, StraysInItsElementOfEveryRow) {
  const BiasChange& change = GetParam();
  CaseCopy model(change.model);
  model.change_sixth_digit(change.tensor, change.element);
  const Verified run = verify(model);
  ASSERT_EQ(run.exit_code, 1) << run.err;
  const nlohmann::json& first = run.report["first_failure"];
  EXPECT_EQ(first["step"], "prefill");
  EXPECT_EQ(first["tap"], tap_name(change.layer, change.tap));
  EXPECT_EQ(first["worst"]["element"], brackets(change.element));
  golden::GoldenFile file(model.golden());
  EXPECT_EQ(first["straying"], element_count(file.find("/inputs/prompt_ids")->shape));
}

// ---- embeddings: a row is found where its token or position is first used ----

Tensor<std::int64_t> ids(const CaseCopy& model, const std::string& name) {
  golden::GoldenFile file(model.golden());
  return file.read_integers(*file.find("/inputs/" + name));
}

bool occurs(const Tensor<std::int64_t>& in, std::int64_t token) {
  return std::ranges::find(in.values(), token) != in.values().end();
}

const char* embedding_of(const std::string& model) {
  return model == "gptbigcode" ? "transformer.wte.weight" : "model.embed_tokens.weight";
}
const char* embedding_tap(const std::string& model) { return model == "gptbigcode" ? "embed.token" : "embed"; }

class ChangedEmbedding : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(, ChangedEmbedding, ::testing::ValuesIn(kCases), [](const auto& test) { return test.param; });

TEST_P(ChangedEmbedding, IsFoundAtTheTokensFirstUse) {
  CaseCopy model(GetParam());
  const Tensor<std::int64_t> prompts = ids(model, "prompt_ids");
  const std::int64_t token = prompts.row(1)[4];
  const auto first = std::ranges::find(prompts.values(), token) - prompts.values().begin();
  const Index width = model.weight_shape(embedding_of(GetParam()))[1];
  model.change_sixth_digit(embedding_of(GetParam()), token * width + 9);
  expect_first_failure(verify(model), {"prefill", "prefill", embedding_tap(GetParam()), -1, first / prompts.dim(1),
                                       first % prompts.dim(1), "[9]"});
}

// Untied: a token that is first fed in while decoding is not seen before.
TEST(ChangedEmbeddingRow, OfADecodedTokenIsFoundInItsStep) {
  int found = 0;
  for (const std::string name : {"llama", "orion", "olmo", "phi"}) {
    CaseCopy model(name);
    const Tensor<std::int64_t> prompts = ids(model, "prompt_ids");
    const Tensor<std::int64_t> fed = ids(model, "decode_ids");  // [batch, steps]
    for (Index k = 0; k < fed.dim(1) && found < 2; ++k) {
      const std::int64_t token = fed.row(0)[static_cast<std::size_t>(k)];
      if (occurs(prompts, token) || std::ranges::count(fed.values(), token) > 1) continue;
      ++found;
      const Index width = model.weight_shape(embedding_of(name))[1];
      model.change_sixth_digit(embedding_of(name), token * width);
      expect_first_failure(verify(model),
                           {"decode", "decode/" + std::to_string(k), "embed", -1, 0, prompts.dim(1) + k, "[0]"});
      break;
    }
  }
  EXPECT_EQ(found, 2);
}

TEST(ChangedEmbeddingRow, OfAPositionIsFoundAtThatPosition) {
  CaseCopy model("gptbigcode");
  model.change_sixth_digit("transformer.wpe.weight", 5 * 48 + 3);
  expect_first_failure(verify(model), {"prefill", "prefill", "embed.position", -1, 0, 5, "[3]"});
}

// Only the ragged prompt of 40 tokens reaches position 30; its group keeps the sum of both embeddings.
TEST(ChangedEmbeddingRow, OfALatePositionIsFoundInTheLongestPrompt) {
  CaseCopy model("gptbigcode");
  ASSERT_EQ(ids(model, "ragged_lengths"), Tensor<std::int64_t>({4}, {12, 40, 1, 21}));
  model.change_sixth_digit("transformer.wpe.weight", 30 * 48 + 47);
  expect_first_failure(verify(model), {"batch_prefill", "batch_prefill", "embed", -1, 1, 30, "[47]"});
}

// Tied: the row of a token that no prompt holds is still a row of the output layer.
TEST(ChangedEmbeddingRow, WhereTiedIsFoundInTheLogitsOfUnusedTokens) {
  CaseCopy model("gptbigcode");
  const Tensor<std::int64_t> prompts = ids(model, "prompt_ids");
  std::int64_t token = 1;
  while (occurs(prompts, token)) ++token;
  const WeightChange change{"gptbigcode",
                            "transformer.wte.weight",
                            token * 48 + 11,
                            "logits",
                            -1,
                            brackets(token),
                            {"transformer.ln_f"},
                            11,
                            ""};
  const Row row = largest_row(model, change);
  model.change_sixth_digit(change.tensor, change.element);
  expect_first_failure(verify(model), {"prefill", "prefill", "logits", -1, row.batch_row, row.position, change.shown});
}

// ---- the configuration ----

struct ConfigChange {
  const char* model;
  const char* field;
  double factor;
  const char* tap;
};

const ConfigChange kConfigChanges[] = {
    {"llama", "/rms_norm_eps", 1.001, "layers.0.attn_norm"},
    {"orion", "/rms_norm_eps", 1.001, "layers.0.attn_norm"},
    {"phi", "/layer_norm_eps", 1.001, "layers.0.attn_norm"},
    {"gptbigcode", "/layer_norm_epsilon", 1.001, "layers.0.attn_norm"},
    {"llama", "/rope_theta", 1.000001, "rope.cos"},
    {"llama", "/rope_scaling/factor", 1.000001, "rope.cos"},
    {"llama", "/rope_scaling/low_freq_factor", 1.000001, "rope.cos"},
    {"llama", "/rope_scaling/high_freq_factor", 1.000001, "rope.cos"},
    {"olmo", "/clip_qkv", 1.000001, "layers.0.attn.q"},  // the projection is recorded before clipping
};

TEST(ChangedConfig, IsFoundInTheTapThatItEntersFirst) {
  for (const ConfigChange& change : kConfigChanges) {
    SCOPED_TRACE(std::string(change.model) + change.field);
    CaseCopy model(change.model);
    model.set_config(change.field, model.config(change.field).get<double>() * change.factor);
    const Verified run = verify(model);
    EXPECT_EQ(run.exit_code, 1) << run.err;
    EXPECT_EQ(run.report["first_failure"]["step"], "prefill");
    EXPECT_EQ(run.report["first_failure"]["tap"], change.tap);
    EXPECT_THAT(last_line(run.text), ::testing::HasSubstr(std::string(" tap ") + change.tap + ", element "));
  }
}

TEST(ChangedConfig, ActivationIsFoundBehindItsInput) {
  const struct {
    const char *model, *field, *value, *tap;
  } changes[] = {{"llama", "/hidden_act", "gelu", "layers.0.mlp.act"},
                 {"olmo", "/hidden_act", "relu", "layers.0.mlp.act"},
                 {"phi", "/hidden_act", "gelu", "layers.0.mlp.act"},  // erf in the place of tanh
                 {"gptbigcode", "/activation_function", "gelu", "layers.0.mlp.act"}};
  for (const auto& change : changes) {
    SCOPED_TRACE(std::string(change.model) + " " + change.value);
    CaseCopy model(change.model);
    model.set_config(change.field, change.value);
    const Verified run = verify(model);
    EXPECT_EQ(run.exit_code, 1) << run.err;
    EXPECT_EQ(run.report["first_failure"]["tap"], change.tap);
  }
}

// Without scaling the frequencies are theta^(-2i/D): where cos(p * frequency) moves most can be computed here.
TEST(ChangedConfig, ThetaIsFoundWhereItMovesTheCosineMost) {
  const struct {
    const char* model;
    Index rotary;
  } plain[] = {{"orion", 16}, {"olmo", 12}, {"phi", 6}};
  for (const auto& [name, rotary] : plain) {
    SCOPED_TRACE(name);
    CaseCopy model(name);
    const double theta = model.config("/rope_theta");
    const double changed = theta * 1.000001;
    const Index prompt = ids(model, "prompt_ids").dim(1);
    double largest = 0.0;
    Place place{"prefill", "prefill", "rope.cos", -1, 0, 0, ""};
    for (Index p = 0; p < prompt; ++p) {
      for (Index i = 0; i < rotary / 2; ++i) {
        const double power = -2.0 * static_cast<double>(i) / static_cast<double>(rotary);
        const double moved = std::fabs(std::cos(static_cast<double>(p) * std::pow(theta, power)) -
                                       std::cos(static_cast<double>(p) * std::pow(changed, power)));
        if (moved <= largest) continue;
        largest = moved;
        place.position = p;
        place.element = brackets(i);
      }
    }
    model.set_config("/rope_theta", changed);
    const Verified run = verify(model);
    expect_first_failure(run, place);
    EXPECT_THAT(run.report["notes"], SizeIs(1));
    EXPECT_THAT(run.report["notes"][0], ::testing::HasSubstr("/rope/inv_freq [1]"));
  }
}

}  // namespace
}  // namespace mlbench::test
