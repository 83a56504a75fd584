// What synthetic weights do to a model as deep as the deepest published one of its family.
#include <cmath>
#include <map>

#include "models/synthetic.h"
#include "reference/reference.h"
#include "tests/models/config_support.h"

namespace mlbench {
namespace {

using nlohmann::json;
using test::changed;
using test::minimal;

constexpr Index kTokens = 32;

// Sums over all layers of what the tests ask for.
class Statistics : public ref::TapSink {
 public:
  explicit Statistics(double clip) : clip_(clip) {}

  [[nodiscard]] bool wants(TapId id) const override {
    return id.tap == Tap::layer_out || id.tap == Tap::probs || id.tap == Tap::q_proj || id.tap == Tap::k_proj ||
           id.tap == Tap::v_proj || id.tap == Tap::logits;
  }
  void take(TapId id, const ref::Tensor& value) override {
    if (id.tap == Tap::layer_out) rms.push_back(root_mean_square(value));
    if (id.tap == Tap::logits) logits_rms = root_mean_square(value);
    if (id.tap == Tap::probs) entropy.push_back(relative_entropy(value));
    if (id.tap == Tap::q_proj || id.tap == Tap::k_proj || id.tap == Tap::v_proj) count_clipped(id.tap, value);
  }
  [[nodiscard]] double clipped_share(Tap tap) const { return clipped_.at(tap) / seen_.at(tap); }

  std::vector<double> rms;      // by layer
  std::vector<double> entropy;  // by layer
  double logits_rms = 0.0;

 private:
  static double root_mean_square(const ref::Tensor& value) {
    double sum = 0.0;
    for (const double x : value.values()) sum += x * x;
    return std::sqrt(sum / static_cast<double>(value.size()));
  }
  // Mean over heads and rows with at least 8 visible keys of the entropy over its maximum, log(visible).
  static double relative_entropy(const ref::Tensor& probs) {
    double sum = 0.0;
    Index rows = 0;
    for (Index r = 0; r < probs.rows(); ++r) {
      const Index visible = r % kTokens + 1;
      if (visible < 8) continue;
      double entropy = 0.0;
      for (const double p : probs.row(r)) entropy -= p > 0.0 ? p * std::log(p) : 0.0;
      sum += entropy / std::log(static_cast<double>(visible));
      ++rows;
    }
    return sum / static_cast<double>(rows);
  }
  void count_clipped(Tap tap, const ref::Tensor& value) {
    for (const double x : value.values()) clipped_[tap] += std::fabs(x) > clip_ ? 1.0 : 0.0;
    seen_[tap] += static_cast<double>(value.size());
  }

  double clip_;
  std::map<Tap, double> clipped_, seen_;
};

struct Case {
  std::string label;
  json config;
};

Statistics evaluate(const json& config) {
  Workers workers(2);
  const ModelConfig parsed = test::read(config);
  const ref::Reference reference(make_synthetic(parsed, DType::f32, 1, workers), workers);
  ref::PagedKvCache cache = reference.create_paged_kv_cache({.max_batch_size = 1,
                                                             .max_total_seq_len = kTokens,
                                                             .prefill_chunk_size = kTokens,
                                                             .page_size = 16,
                                                             .support_sliding_window = false});
  cache.add_sequence(0);
  std::vector<std::int32_t> ids;
  for (Index i = 0; i < kTokens; ++i) ids.push_back(static_cast<std::int32_t>(i * 37 % parsed.vocab_size));
  const SeqId sequence[] = {0};
  const Index length[] = {kTokens};
  cache.begin_forward(sequence, length);
  Statistics statistics(parsed.clip_qkv.value_or(8.0));
  (void)reference.prefill(reference.embed(ids).reshaped({1, kTokens, parsed.hidden_size}), cache, &statistics);
  cache.end_forward();
  return statistics;
}

// Narrow, but as deep as llama-2-70b, orion-14b, olmo-7b, phi-2 and granite-34b-code.
std::vector<Case> cases() {
  const auto deep = [](Architecture architecture, int layers, const json& more = json::object()) {
    json config = changed(minimal(architecture), {{"num_hidden_layers", layers}, {"intermediate_size", 192}});
    return changed(config, more);
  };
  json bigcode = changed(minimal(Architecture::gpt_bigcode), {{"n_layer", 88}, {"n_inner", 256}});
  return {{"llama", deep(Architecture::llama, 80, {{"num_key_value_heads", 2}})},
          {"llama_tied", deep(Architecture::llama, 32, {{"tie_word_embeddings", true}})},
          {"llama_biases", deep(Architecture::llama, 80, {{"attention_bias", true}, {"mlp_bias", true}})},
          {"orion", deep(Architecture::orion, 40)},
          {"olmo", deep(Architecture::olmo, 32)},
          {"olmo_clipped", deep(Architecture::olmo, 32, {{"clip_qkv", 8.0}})},
          {"phi", deep(Architecture::phi, 32, {{"intermediate_size", 256}})},
          {"phi_qk_layernorm", deep(Architecture::phi, 32, {{"qk_layernorm", true}})},
          {"gpt_bigcode", bigcode},
          {"gpt_bigcode_unscaled", changed(bigcode, {{"scale_attn_weights", false}, {"multi_query", false}})}};
}

class SyntheticDepth : public ::testing::TestWithParam<Case> {};

// The stream starts with the embedding: variance 1.06, or 0.13 where it is tied. Over all layers the MLPs add 0.5; what
// attention adds is multiplied by 4 and averaged over keys, so between 0 and 2; norm weights and biases add some 5%.
// Its root mean square thus lies between 0.36 and 1.95; the limits leave a quarter for the chance of 64 channels.
TEST_P(SyntheticDepth, TheResidualStreamStaysOfOrderOne) {
  const Statistics statistics = evaluate(GetParam().config);
  for (std::size_t layer = 0; layer < statistics.rms.size(); ++layer) {
    EXPECT_GT(statistics.rms[layer], 0.3) << "layer " << layer;
    EXPECT_LT(statistics.rms[layer], 2.5) << "layer " << layer;
  }
  // The layers matter: at least what the MLPs add, less a tenth for chance.
  const double first = statistics.rms.front(), last = statistics.rms.back();
  EXPECT_GT(last * last - first * first, 0.45);
  EXPECT_GT(statistics.logits_rms, 0.5);
  EXPECT_LT(statistics.logits_rms, 5.0);
}

// Uniform weights would hide a wrong score, one-hot weights a wrong value.
TEST_P(SyntheticDepth, AttentionIsNeitherUniformNorOneHot) {
  const Statistics statistics = evaluate(GetParam().config);
  for (std::size_t layer = 0; layer < statistics.entropy.size(); ++layer) {
    EXPECT_GT(statistics.entropy[layer], 0.5) << "layer " << layer;
    EXPECT_LT(statistics.entropy[layer], 0.97) << "layer " << layer;
  }
}

// One channel in eight is as large as the limit: of these, |z| > 1 / gain in 32% (v) to 41% (q, k), so 4% to 5% of all.
TEST(SyntheticClip, ActsOnSomeValuesOfEachProjection) {
  for (const Case& c : cases()) {
    if (c.label != "olmo_clipped") continue;
    const Statistics statistics = evaluate(c.config);
    for (const Tap tap : {Tap::q_proj, Tap::k_proj, Tap::v_proj}) {
      EXPECT_GT(statistics.clipped_share(tap), 0.01) << name(tap);
      EXPECT_LT(statistics.clipped_share(tap), 0.4) << name(tap);
    }
    return;
  }
  FAIL() << "no clipped model among the cases";
}

INSTANTIATE_TEST_SUITE_P(Models, SyntheticDepth, ::testing::ValuesIn(cases()),
                         [](const auto& c) { return c.param.label; });

}  // namespace
}  // namespace mlbench
