// Synthetic weights: fixed bytes, independence of everything but seed, name and element, and their statistics.
#include "models/synthetic.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "models/presets.h"
#include "tests/models/config_support.h"
#include "tests/support/safetensors_writer.h"

namespace mlbench {
namespace {

using ::testing::HasSubstr;

std::vector<double> values(const TensorSpec& spec, const Spread& spread, std::uint64_t seed, Index first, Index count) {
  std::vector<double> out(static_cast<std::size_t>(count));
  synthetic_values(spec, spread, seed, first, out);
  return out;
}

TensorSpec named(const std::string& name) {
  return {name, {Index{1} << 20, Index{1} << 20}, TensorRole::mlp_gate, false};
}

// Written down from a computation that shares nothing with the program, in Python. After the known-answer vectors of
// Random123 for philox4x32-10 ({0}, {0} -> 6627e8d5 e169c58d bc57ac4c 9b00dbd8) had come out of
//   def philox(c, k):
//     for r in range(10):
//       p, q = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
//       c = [(q >> 32) ^ c[1] ^ k[0], q % 2**32, (p >> 32) ^ c[3] ^ k[1], p % 2**32]
//       k = [(k[0] + 0x9E3779B9) % 2**32, (k[1] + 0xBB67AE85) % 2**32]
//     return c
// element i of a tensor is, with h = fnv1a(name) ^ (seed * 0x9E3779B97F4A7C15 % 2**64),
//   b = philox([i // 2 % 2**32, i // 2 >> 32, 0, 0], [h % 2**32, h >> 32])[i % 2 * 2:][:2]
//   (sum of b's four 16-bit halves - 131070.0) * (1 / math.sqrt((2.0**32 - 1.0) / 3.0))
TEST(Synthetic, ValuesAreFixed) {
  const struct {
    const char* name;
    std::uint64_t seed;
    Index element;
    double value;
  } known[] = {
      {"model.layers.0.mlp.gate_proj.weight", 0, 0, -0x1.3e919cbea2d19p+0},
      {"model.layers.0.mlp.gate_proj.weight", 0, 1, 0x1.603a90a74865bp-1},
      {"model.layers.0.mlp.gate_proj.weight", 0, 2, 0x1.c099e591f5a5fp-4},
      {"model.layers.0.mlp.gate_proj.weight", 1, 0, 0x1.7ed65ce7773a4p-1},
      {"model.norm.bias", 42, 7, 0x1.86de4ea5b054fp+0},
      {"lm_head.weight", std::numeric_limits<std::uint64_t>::max(), (Index{1} << 33) + 1, 0x1.d740cd886b261p-2}};
  for (const auto& [name, seed, element, value] : known) {
    EXPECT_EQ(values(named(name), Spread{}, seed, element, 1).front(), value) << name << " " << seed << " " << element;
  }
}

TEST(Synthetic, StoredBytesAreFixed) {
  Workers workers(1);
  const Model model = make_synthetic(preset_config("llama-small"), DType::bf16, 7, workers);
  const WeightView& gate = model.weights->get("model.layers.3.mlp.gate_proj.weight");
  // The values above, times 1 / sqrt(192), rounded to bfloat16 (nearest, ties to even).
  const unsigned expected[] = {0x3ca5, 0x3d25, 0xbd04, 0xbc55, 0x3d9b, 0x3d30, 0x3c2f, 0xbd46};
  for (std::size_t i = 0; i < 8; ++i) {
    const auto low = std::to_integer<unsigned>(gate.data[2 * i]),
               high = std::to_integer<unsigned>(gate.data[2 * i + 1]);
    EXPECT_EQ(low | high << 8U, expected[i]) << i;
  }
}

TEST(Synthetic, APartIsThePartOfTheWhole) {
  TensorSpec spec{"some.weight", {37, 11}, TensorRole::mlp_up, false};
  Spread spread{.mean = 0.5, .std = 2.0};
  for (Index r = 0; r < 37; ++r) spread.row_scale.push_back(1.0 + static_cast<double>(r));
  for (Index c = 0; c < 11; ++c) spread.col_scale.push_back(1.0 / (1.0 + static_cast<double>(c)));
  const std::vector<double> whole = values(spec, spread, 3, 0, 37 * 11);
  for (Index first = 0; first < 30; ++first) {
    for (Index count = 0; count < 25; ++count) {
      EXPECT_EQ(values(spec, spread, 3, first, count),
                std::vector<double>(whole.begin() + first, whole.begin() + first + count));
    }
  }
}

TEST(Synthetic, ScalesApplyByRowAndColumn) {
  TensorSpec spec{"some.weight", {2, 3}, TensorRole::mlp_up, false};
  const std::vector<double> plain = values(spec, {.mean = 0.25, .std = 0.5}, 3, 0, 6);
  const std::vector<double> scaled =
      values(spec, {.mean = 0.25, .std = 0.5, .row_scale = {2.0, 8.0}, .col_scale = {1.0, 4.0, 0.5}}, 3, 0, 6);
  const double factors[] = {2.0, 8.0, 1.0, 8.0, 32.0, 4.0};
  for (std::size_t i = 0; i < 6; ++i) EXPECT_EQ(scaled[i], plain[i] * factors[i]);
}

TEST(Synthetic, SeedAndNameMatter) {
  const TensorSpec a = named("model.layers.0.mlp.up_proj.weight"), b = named("model.layers.1.mlp.up_proj.weight");
  EXPECT_NE(values(a, Spread{}, 0, 0, 64), values(a, Spread{}, 1, 0, 64));
  EXPECT_NE(values(a, Spread{}, 0, 0, 64), values(b, Spread{}, 0, 0, 64));
  std::set<double> first;
  for (std::uint64_t seed = 0; seed < 1000; ++seed) first.insert(values(a, Spread{}, seed, 0, 1).front());
  EXPECT_GT(first.size(), 950U);  // of some 200 000 values, a thousand draws repeat a few
}

TEST(Synthetic, ThreadsDoNotMatter) {
  for (const Architecture architecture : kArchitectures) {
    const ModelConfig config = preset_config(small_preset(architecture));
    Workers one(1), two(2), three(3);
    const auto first = test::tensors_of(make_synthetic(config, DType::f16, 9, one), DType::f16);
    for (Workers* workers : {&two, &three}) {
      const auto other = test::tensors_of(make_synthetic(config, DType::f16, 9, *workers), DType::f16);
      ASSERT_EQ(first.size(), other.size());
      for (std::size_t i = 0; i < first.size(); ++i) EXPECT_EQ(first[i].values, other[i].values) << first[i].name;
    }
  }
}

TEST(Synthetic, OtherLayersDoNotMatter) {
  Workers workers(1);
  const Model whole = make_synthetic(preset_config("llama-small"), DType::f64, 9, workers);
  for (const TensorSpec& spec : layer_tensors(whole.config, 2)) {
    const auto alone = values(spec, synthetic_spread(whole.config, spec), 9, 0, element_count(spec.shape));
    EXPECT_EQ(whole.weights->get(spec.name).widened(), alone) << spec.name;
  }
}

TEST(Synthetic, ATiedModelHasOneMatrix) {
  Workers workers(1);
  const Model model = make_synthetic(preset_config("gpt_bigcode-small"), DType::f32, 9, workers);
  EXPECT_EQ(model.weights->get("lm_head.weight").data, model.weights->get("transformer.wte.weight").data);
}

// n independent values z of mean 0, variance 1 and fourth moment 3 - 1.2 / 4 = 2.7 (four uniform terms): their mean
// has the standard deviation 1 / sqrt(n), their mean square sqrt((2.7 - 1) / n). Five of these are passed by chance
// once in a million, and the seed is fixed.
TEST(Synthetic, ValuesHaveMeanZeroAndVarianceOne) {
  constexpr Index n = 1 << 20;
  const std::vector<double> z = values(named("statistics"), Spread{}, 1, 0, n);
  double sum = 0.0, squares = 0.0, neighbours = 0.0, largest = 0.0;
  for (std::size_t i = 0; i < z.size(); ++i) {
    sum += z[i];
    squares += z[i] * z[i];
    if (i > 0) neighbours += z[i] * z[i - 1];
    largest = std::max(largest, std::fabs(z[i]));
  }
  const auto count = static_cast<double>(n);
  EXPECT_NEAR(sum / count, 0.0, 5.0 / std::sqrt(count));
  EXPECT_NEAR(squares / count, 1.0, 5.0 * std::sqrt(1.7 / count));
  EXPECT_NEAR(neighbours / count, 0.0, 5.0 / std::sqrt(count)) << "neighbours are independent";
  EXPECT_LT(largest, 3.465);  // 2 sqrt(3)
  EXPECT_GT(largest, 3.0);
}

TEST(Synthetic, BiasesAndNormWeightsAreNotTrivial) {
  Workers workers(1);
  for (const Architecture architecture : kArchitectures) {
    const Model model = make_synthetic(preset_config(small_preset(architecture)), DType::f64, 9, workers);
    std::vector<TensorSpec> specs = global_tensors(model.config);
    for (const TensorSpec& spec : layer_tensors(model.config, 0)) specs.push_back(spec);
    for (const TensorSpec& spec : specs) {
      if (!spec.bias && spec.role != TensorRole::norm) continue;
      const std::vector<double> stored = model.weights->get(spec.name).widened();
      const double usual = spec.bias ? 0.0 : 1.0;  // what a forgotten one would be
      double squares = 0.0;
      for (const double value : stored) squares += (value - usual) * (value - usual);
      const double away = std::sqrt(squares / static_cast<double>(stored.size()));
      EXPECT_GT(away, 0.05) << spec.name;
      EXPECT_LT(away, 0.5) << spec.name;
    }
  }
}

TEST(Synthetic, OlmosClippedModelsHaveLargeChannelsThatMeetSmallOnes) {
  const ModelConfig config = preset_config("olmo-small");
  ASSERT_EQ(config.clip_qkv, 8.0);
  Spread q, k, v, out;
  for (const TensorSpec& spec : layer_tensors(config, 0)) {
    if (spec.role == TensorRole::q_proj) q = synthetic_spread(config, spec);
    if (spec.role == TensorRole::k_proj) k = synthetic_spread(config, spec);
    if (spec.role == TensorRole::v_proj) v = synthetic_spread(config, spec);
    if (spec.role == TensorRole::attn_out) out = synthetic_spread(config, spec);
  }
  const auto width = static_cast<std::size_t>(config.q_width()), d = static_cast<std::size_t>(config.head_dim);
  ASSERT_EQ(q.row_scale.size(), width);
  ASSERT_EQ(out.col_scale.size(), width);
  EXPECT_GT(std::count(q.row_scale.begin(), q.row_scale.end(), 8.0), 0);
  EXPECT_GT(std::count(k.row_scale.begin(), k.row_scale.end(), 8.0), 0);
  EXPECT_GT(std::count(v.row_scale.begin(), v.row_scale.end(), 8.0), 0);
  for (std::size_t i = 0; i < width; ++i) {
    EXPECT_EQ(q.row_scale[i] * k.row_scale[i], 1.0) << i;
    EXPECT_EQ(v.row_scale[i] * out.col_scale[i], 1.0) << i;
    const std::size_t partner = i % d < d / 2 ? i + d / 2 : i - d / 2;  // rotated together
    EXPECT_EQ(q.row_scale[i], q.row_scale[partner]) << i;
  }
  const ModelConfig unclipped = preset_config("olmo-small", {{"clip_qkv", nullptr}});
  for (const TensorSpec& spec : layer_tensors(unclipped, 0)) {
    EXPECT_TRUE(synthetic_spread(unclipped, spec).row_scale.empty());
  }
}

TEST(Synthetic, AModelBeyondTheMachinesMemoryIsRefused) {
  Workers workers(1);
  const ModelConfig config = preset_config("llama-3.1-70b", {{"num_hidden_layers", 2000000}});
  const Error error = test::error_of([&] { (void)make_synthetic(config, DType::bf16, 0, workers); });
  EXPECT_EQ(error.code(), "memory.exceeded");
  EXPECT_EQ(error.kind(), ErrorKind::request);
  EXPECT_THAT(error.message(), HasSubstr("GiB"));
}

}  // namespace
}  // namespace mlbench
