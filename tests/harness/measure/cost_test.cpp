// Counts by hand, with numbers that a double holds exactly: they are compared as they are.
#include "harness/measure/cost.h"

#include <gtest/gtest.h>

#include "models/presets.h"
#include "tests/support/expect_error.h"

namespace mlbench::measure {
namespace {

using mlbench::test::code_of;

// Two sequences of 3 new tokens after 5: the rows of each see 6, 7 and 8 entries, 42 in all. The last row of each gets
// logits.
constexpr CallShape kCall = {.batch = 2, .rows = 3, .before = 5, .logit_rows = 2};
constexpr CallShape kHiddenCall = {.batch = 2, .rows = 3, .before = 5, .logit_rows = 0};

CallCost small_cost(Architecture architecture, DType stored = DType::f32, const CallShape& call = kCall) {
  return cost_of(preset_config(small_preset(architecture)), stored, call);
}

// What of a model stands in the counts below: four layers, each with so many numbers in matrices, of these so many in
// the ones that make keys and values, and in other tensors.
struct Hand {
  double matrices, keys_values, others;
  double q_width;
  double output;          // numbers of the output layer's matrix
  double globals;         // numbers read outside the layers, with logits
  double globals_hidden;  // and without
  double kv_values;       // of an entry, over all layers
};

void expect_counts(Architecture architecture, const Hand& hand) {
  const CallCost cost = small_cost(architecture);
  const double layer = 2 * (6 * hand.matrices + 42 * 2 * hand.q_width);
  // Of the last layer: keys and values of all 6 rows, the rest of 2 that see 6 entries at least.
  const double last = 2 * (6 * hand.keys_values + 2 * (hand.matrices - hand.keys_values) + 2 * 6 * 2 * hand.q_width);
  EXPECT_EQ(cost.flops, 4 * layer + 2 * 2 * hand.output);
  EXPECT_EQ(cost.least_flops, 3 * layer + last + 2 * 2 * hand.output);
  EXPECT_EQ(cost.weight_bytes, 4 * (4 * (hand.matrices + hand.others) + hand.globals));
  EXPECT_EQ(cost.cache_read_bytes, 4 * 2 * 5 * hand.kv_values);
  EXPECT_EQ(cost.cache_written_bytes, 4 * 2 * 3 * hand.kv_values);
  EXPECT_EQ(cost.bytes(), cost.weight_bytes + cost.cache_read_bytes + cost.cache_written_bytes);

  const CallCost hidden = small_cost(architecture, DType::f32, kHiddenCall);
  EXPECT_EQ(hidden.flops, 4 * layer);
  EXPECT_EQ(hidden.least_flops, 4 * layer);
  EXPECT_EQ(hidden.weight_bytes, 4 * (4 * (hand.matrices + hand.others) + hand.globals_hidden));
}

TEST(CostByHand, OfLlama) {  // 6 heads of 32, 2 of keys; two norms in a layer, one outside
  expect_counts(Architecture::llama, {.matrices = 2 * 192 * 192 + 2 * 64 * 192 + 3 * 520 * 192,
                                      .keys_values = 2 * 64 * 192,
                                      .others = 2 * 192,
                                      .q_width = 192,
                                      .output = 1031 * 192,
                                      .globals = 6 * 192 + 192 + 1031 * 192,
                                      .globals_hidden = 6 * 192 + 192,
                                      .kv_values = 2 * 4 * 64});
}

TEST(CostByHand, OfOrion) {  // norms have a bias
  expect_counts(Architecture::orion, {.matrices = 4 * 160 * 160 + 3 * 424 * 160,
                                      .keys_values = 2 * 160 * 160,
                                      .others = 4 * 160,
                                      .q_width = 160,
                                      .output = 1021 * 160,
                                      .globals = 6 * 160 + 2 * 160 + 1021 * 160,
                                      .globals_hidden = 6 * 160 + 2 * 160,
                                      .kv_values = 2 * 4 * 160});
}

TEST(CostByHand, OfOlmo) {  // norms have nothing
  expect_counts(Architecture::olmo, {.matrices = 4 * 192 * 192 + 3 * 512 * 192,
                                     .keys_values = 2 * 192 * 192,
                                     .others = 0,
                                     .q_width = 192,
                                     .output = 1033 * 192,
                                     .globals = 6 * 192 + 1033 * 192,
                                     .globals_hidden = 6 * 192,
                                     .kv_values = 2 * 4 * 192});
}

TEST(CostByHand, OfPhi) {  // biases everywhere, two matrices in the MLP, one norm in a layer
  expect_counts(Architecture::phi, {.matrices = 4 * 240 * 240 + 2 * 640 * 240,
                                    .keys_values = 2 * 240 * 240,
                                    .others = 2 * 240 + 4 * 240 + 640 + 240,
                                    .q_width = 240,
                                    .output = 1019 * 240,
                                    .globals = 6 * 240 + 2 * 240 + 1019 * 240 + 1019,
                                    .globals_hidden = 6 * 240 + 2 * 240,
                                    .kv_values = 2 * 4 * 240});
}

// One head of 25 for keys; three positions for both sequences; the embedding is the output layer and read once.
TEST(CostByHand, OfGptBigCode) {
  expect_counts(Architecture::gpt_bigcode, {.matrices = 250 * 200 + 200 * 200 + 2 * 800 * 200,
                                            .keys_values = 2 * 25 * 200,
                                            .others = 4 * 200 + 250 + 200 + 800 + 200,
                                            .q_width = 200,
                                            .output = 1039 * 200,
                                            .globals = 1039 * 200 + 3 * 200 + 2 * 200,
                                            .globals_hidden = 6 * 200 + 3 * 200 + 2 * 200,
                                            .kv_values = 2 * 4 * 25});
}

// A token's decoding multiplies with every parameter once, but for the embedding (where it is not the output layer),
// norms and biases, and reads them all, of embeddings a row.
struct Published {
  const char* preset;
  double parameters;    // as published, or computed from published sizes
  double embedding;     // numbers of it that a token leaves alone; 0 where it is tied
  double unmultiplied;  // numbers of norms, biases, and of position embeddings
  double positions;     // of these, those of position embeddings that a token leaves alone
  double row;           // numbers of the embedding that it reads beyond the output layer
  double attention;     // L * Hq * d
};

class CostOfPreset : public testing::TestWithParam<Published> {};

TEST_P(CostOfPreset, OfOneTokenFollowsFromItsParameters) {
  const Published& p = GetParam();
  const CallCost cost = cost_of(preset_config(p.preset), DType::bf16, {.logit_rows = 1});
  // The token sees itself: one score and one value.
  EXPECT_EQ(cost.flops, 2 * (p.parameters - p.embedding - p.unmultiplied) + 2 * 2 * p.attention);
  EXPECT_EQ(cost.least_flops, cost.flops);
  EXPECT_EQ(cost.weight_bytes, 2 * (p.parameters - p.embedding - p.positions + p.row));
  EXPECT_EQ(cost.cache_read_bytes, 0.0);
}

INSTANTIATE_TEST_SUITE_P(
    Published, CostOfPreset,
    testing::Values(Published{"llama-2-7b", 6'738'415'616, 32000.0 * 4096, 65 * 4096, 0, 4096, 32 * 4096},
                    Published{"llama-3.1-8b", 8'030'261'248, 128256.0 * 4096, 65 * 4096, 0, 4096, 32 * 4096},
                    Published{"llama-3.2-1b", 1'235'814'400, 0, 33 * 2048, 0, 0, 16 * 2048},
                    Published{"orion-14b", 14'498'703'360, 84608.0 * 5120, 162 * 5120, 0, 5120, 40 * 5120},
                    Published{"olmo-7b", 6'888'095'744, 50304.0 * 4096, 0, 0, 4096, 32 * 4096},
                    Published{"phi-2", 2'779'683'840, 51200.0 * 2560, 51200 + 32 * (7 * 2560 + 10240) + 2 * 2560, 0,
                              2560, 32 * 2560},
                    Published{"starcoderbase-1b", 1'137'207'296, 0,
                              8192 * 2048 + 24 * (4 * 2048 + (2048 + 256) + 2048 + 8192 + 2048) + 2 * 2048, 8191 * 2048,
                              0, 24 * 2048}),
    [](const auto& of) {
      std::string name = of.param.preset;
      for (char& c : name) c = c == '-' || c == '.' ? '_' : c;
      return name;
    });

TEST(Cost, InHalfTheBytesIsHalf) {
  const CallCost whole = small_cost(Architecture::llama, DType::f32),
                 half = small_cost(Architecture::llama, DType::f16);
  EXPECT_EQ(half.flops, whole.flops);
  EXPECT_EQ(2 * half.bytes(), whole.bytes());
}

// Beyond weights, which each call reads again.
TEST(Cost, OfAPromptInTwoCallsIsThatOfOne) {
  const ModelConfig config = preset_config(small_preset(Architecture::llama));
  const CallCost whole = cost_of(config, DType::f32, {.batch = 2, .rows = 40});
  CallCost chunks = cost_of(config, DType::f32, {.batch = 2, .rows = 24});
  chunks += cost_of(config, DType::f32, {.batch = 2, .rows = 16, .before = 24});
  EXPECT_EQ(chunks.flops, whole.flops);
  EXPECT_EQ(chunks.least_flops, whole.least_flops);
  EXPECT_EQ(chunks.cache_written_bytes, whole.cache_written_bytes);
  EXPECT_GT(chunks.weight_bytes, whole.weight_bytes);
}

TEST(Cost, OfSequencesIsTheirSumButForTheWeights) {
  const ModelConfig config = preset_config(small_preset(Architecture::phi));
  const CallCost one = cost_of(config, DType::f32, {.rows = 7, .before = 9, .logit_rows = 1});
  const CallCost four = cost_of(config, DType::f32, {.batch = 4, .rows = 7, .before = 9, .logit_rows = 4});
  EXPECT_EQ(four.flops, 4 * one.flops);
  EXPECT_EQ(four.least_flops, 4 * one.least_flops);
  EXPECT_EQ(four.cache_read_bytes, 4 * one.cache_read_bytes);
  EXPECT_EQ(four.weight_bytes, one.weight_bytes + 4.0 * 3 * 7 * 240);  // rows of the embedding
}

// A long prompt has no more rows of the embedding than there are.
TEST(Cost, ReadsNoMoreRowsThanTheEmbeddingHas) {
  const ModelConfig config = preset_config(small_preset(Architecture::llama));
  const CallCost all = cost_of(config, DType::f32, {.rows = 1031}), more = cost_of(config, DType::f32, {.rows = 2000});
  EXPECT_EQ(more.weight_bytes, all.weight_bytes);
}

TEST(Cost, RefusesCallsThatCannotBe) {
  const ModelConfig config = preset_config(small_preset(Architecture::llama));
  for (const CallShape& call : {CallShape{.batch = 0}, CallShape{.rows = 0}, CallShape{.before = -1},
                                CallShape{.logit_rows = -1}, CallShape{.batch = 2, .rows = 3, .logit_rows = 7}})
    EXPECT_EQ(code_of([&] { (void)cost_of(config, DType::f32, call); }), "input.shape");
}

// ---- parts ----

CallCost part_cost(const ModelConfig& config, const Split& split, Index stage, const CallShape& call = kCall) {
  return PartCost(config, DType::f32, split, stage).of(call);
}

// Five layers in stages of 3 and 2, each shard with 3 of 6 heads, 1 of 2 for keys, and 260 of 520 columns of the MLP.
TEST(PartCost, ByHandOfLlama) {
  const ModelConfig config = preset_config("llama-small", {{"num_hidden_layers", 5}});
  const Split split = {.tensor_parallel = 2, .pipeline_parallel = 2};
  const double matrices = 2 * 96 * 192 + 2 * 32 * 192 + 3 * 260 * 192, keys_values = 2 * 32 * 192, norms = 2 * 192;
  const double layer = 2 * (6 * matrices + 42 * 2 * 96), output = 1031 * 192;
  const CallCost first = part_cost(config, split, 0), last = part_cost(config, split, 1);
  EXPECT_EQ(first.flops, 3 * layer);
  EXPECT_EQ(first.least_flops, first.flops);
  EXPECT_EQ(last.flops, 2 * layer + 2 * 2 * output);
  EXPECT_EQ(last.least_flops,
            layer + 2 * (6 * keys_values + 2 * (matrices - keys_values) + 2 * 6 * 2 * 96) + 2 * 2 * output);
  EXPECT_EQ(first.weight_bytes, 4 * (3 * (matrices + norms) + 6 * 192));
  EXPECT_EQ(last.weight_bytes, 4 * (2 * (matrices + norms) + 192 + output));
  EXPECT_EQ(first.cache_read_bytes, 4 * 2 * 5 * (2 * 3 * 32));
  EXPECT_EQ(last.cache_written_bytes, 4 * 2 * 3 * (2 * 2 * 32));
}

// The embedding is the output layer: the first stage reads its tokens' rows, the last one all of it.
TEST(PartCost, OfTiedEmbeddingsIsOfBothEnds) {
  const ModelConfig config = preset_config(small_preset(Architecture::gpt_bigcode));
  const Split split = {.tensor_parallel = 1, .pipeline_parallel = 4};
  const double layer = 250 * 200 + 200 * 200 + 2 * 800 * 200 + 4 * 200 + 250 + 200 + 800 + 200;
  EXPECT_EQ(part_cost(config, split, 0).weight_bytes, 4 * (layer + 6 * 200 + 3 * 200));
  EXPECT_EQ(part_cost(config, split, 1).weight_bytes, 4 * layer);
  EXPECT_EQ(part_cost(config, split, 3).weight_bytes, 4 * (layer + 2 * 200 + 1039 * 200));
}

// But for what every shard does: the output layer.
TEST(PartCost, OfAllPartsIsTheWholes) {
  for (const Architecture architecture : {Architecture::llama, Architecture::olmo}) {
    const ModelConfig config = preset_config(small_preset(architecture));
    const double output = 2.0 * 2.0 * static_cast<double>(config.vocab_size * config.hidden_size);
    for (const Split& split : {Split{1, 2}, Split{1, 4}, Split{2, 1}, Split{2, 2}}) {
      CallCost sum;
      for (Index stage = 0; stage < split.pipeline_parallel; ++stage) {
        for (Index shard = 0; shard < split.tensor_parallel; ++shard) sum += part_cost(config, split, stage);
      }
      const CallCost whole = cost_of(config, DType::f32, kCall);
      EXPECT_EQ(sum.flops, whole.flops + static_cast<double>(split.tensor_parallel - 1) * output);
      EXPECT_EQ(sum.cache_read_bytes, whole.cache_read_bytes);
      EXPECT_EQ(sum.cache_written_bytes, whole.cache_written_bytes);
    }
  }
}

// ---- floors and shares ----

ProbeResult probe(double bytes_per_second, double flops_per_second) {
  ProbeResult out;
  out.read_bytes_per_second = bytes_per_second;
  out.flops_per_second = flops_per_second;
  return out;
}

constexpr CallCost kCost = {
    .flops = 6e9, .least_flops = 5e9, .weight_bytes = 8e9, .cache_read_bytes = 2e9, .cache_written_bytes = 1e9};

// Rates with the margin: 1.25 billion a second.
TEST(Floor, IsTheSlowerOfComputingAndReading) {
  EXPECT_DOUBLE_EQ(floor_seconds(kCost, probe(1e9, 1e9), 0), 8.0);  // 10e9 bytes
  EXPECT_DOUBLE_EQ(floor_seconds(kCost, probe(1e9, 1e8), 0), 40.0);
}

TEST(Floor, LeavesOutWhatCachesMayHaveKept) {
  EXPECT_DOUBLE_EQ(floor_seconds(kCost, probe(1e9, 1e9), 2'500'000'000), 6.0);
  EXPECT_DOUBLE_EQ(floor_seconds(kCost, probe(1e9, 1e9), 10'000'000'000), 4.0);  // the products'
  EXPECT_DOUBLE_EQ(floor_seconds(kCost, probe(1e9, 1e9), 20'000'000'000), 4.0);
}

TEST(Floor, IsNoneWhereNothingWasMeasured) {
  EXPECT_EQ(floor_seconds(kCost, {}, 0), 0.0);
  EXPECT_DOUBLE_EQ(floor_seconds(kCost, probe(0.0, 1e9), 0), 4.0);
  EXPECT_DOUBLE_EQ(floor_seconds(kCost, probe(1e9, 0.0), 0), 8.0);
}

TEST(Roofline, IsTheSlowerOfComputingAndOfAllReadingAndWriting) {
  EXPECT_DOUBLE_EQ(roofline_seconds(kCost, probe(1e9, 1e9)), 11.0);
  EXPECT_DOUBLE_EQ(roofline_seconds(kCost, probe(1e9, 1e8)), 60.0);
  EXPECT_EQ(roofline_seconds(kCost, {}), 0.0);
}

TEST(Roofline, IsNeverBelowTheFloor) {
  for (const double rate : {1e6, 1e9, 1e12})
    EXPECT_GE(roofline_seconds(kCost, probe(1e9, rate)), floor_seconds(kCost, probe(1e9, rate), 0));
}

TEST(Share, IsOfTheRatesWithoutAMargin) {
  EXPECT_DOUBLE_EQ(*flops_share(kCost, probe(0.0, 1e9), 10.0), 0.6);
  EXPECT_DOUBLE_EQ(*bytes_share(kCost, probe(2e9, 0.0), 10.0), 0.55);
}

TEST(Share, IsNoneWhereTheRateOrTheTimeIsNotKnown) {
  EXPECT_FALSE(flops_share(kCost, probe(1e9, 0.0), 1.0));
  EXPECT_FALSE(bytes_share(kCost, probe(0.0, 1e9), 1.0));
  EXPECT_FALSE(bytes_share(kCost, probe(1e9, 1e9), 0.0));
}

}  // namespace
}  // namespace mlbench::measure
