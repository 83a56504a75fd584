// The reference over every legal split of the small models, against itself in one piece.
#include "reference/parallel_reference.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/reference/small_models.h"

namespace mlbench::ref {
namespace {

using test::Ids;
using test::small_model;
using test::some_tokens;

constexpr KvLimits kLimits{.max_batch_size = 4, .max_total_seq_len = 256, .prefill_chunk_size = 64, .page_size = 4};

// A prompt of each of two sequences, a step of both, a fork, and a chunk behind it: the hidden rows of every call.
template <class Begin, class Forward, class Each>
std::vector<Tensor> story(const Begin& begin, const Forward& forward, const Each& each_cache) {
  std::vector<Tensor> out;
  const auto call = [&](const std::vector<SeqId>& ids, const std::vector<Index>& lengths, std::uint32_t seed) {
    Index rows = 0;
    for (const Index length : lengths) rows += length;
    each_cache([&](PagedKvCache& cache) { begin(cache, ids, lengths); });
    out.push_back(forward(some_tokens(rows, seed)));
    each_cache([](PagedKvCache& cache) { cache.end_forward(); });
  };
  each_cache([](PagedKvCache& cache) {
    cache.add_sequence(1);
    cache.add_sequence(2);
  });
  call({1, 2}, {7, 10}, 1);
  call({1, 2}, {1, 1}, 2);
  each_cache([](PagedKvCache& cache) { cache.fork_sequence(2, 3, 6); });
  call({3, 1}, {5, 3}, 3);
  return out;
}

void begin_forward(PagedKvCache& cache, const std::vector<SeqId>& ids, const std::vector<Index>& lengths) {
  cache.begin_forward(ids, lengths);
}

struct Ran {
  std::vector<Tensor> hidden, logits;
  PagedKvCache::Entries entries;  // of sequence 3, all layers and heads
};

Ran run_whole(const Model& model) {
  Workers workers(1);
  const Reference reference(model, workers);
  PagedKvCache cache = reference.create_paged_kv_cache(kLimits);
  Ran ran;
  ran.hidden = story(
      begin_forward,
      [&](const Ids& ids) {
        const Tensor x = reference.embed(ids);
        ForwardPass pass = reference.pass(cache);
        Tensor rows = reference.enter(x, pass, nullptr);
        for (Index n = 0; n < model.config.num_layers; ++n) rows = reference.layer(n, rows, pass, nullptr);
        return reference.final_norm(rows, nullptr);
      },
      [&](const auto& change) { change(cache); });
  for (const Tensor& hidden : ran.hidden) ran.logits.push_back(reference.get_logits(hidden));
  ran.entries = cache.debug_get_kv(3, 0, cache.sequence_length(3));
  return ran;
}

// The entries of all workers, put together.
PagedKvCache::Entries joined_entries(const ModelConfig& config, const Split& split, std::vector<PagedKvCache>& caches) {
  const Index length = caches.front().sequence_length(3), heads = config.num_kv_heads / split.tensor_parallel;
  PagedKvCache::Entries whole;
  whole.keys = whole.values = Tensor({config.num_layers, length, config.num_kv_heads, config.head_dim});
  for (Index worker = 0; worker < split.workers(); ++worker) {
    const auto [first, count] =
        layers_of_stage(config.num_layers, split.pipeline_parallel, worker / split.tensor_parallel);
    const PagedKvCache::Entries part = caches[static_cast<std::size_t>(worker)].debug_get_kv(3, 0, length);
    for (Index row = 0; row < count * length * heads; ++row) {
      const Index layer = row / (length * heads), entry = row / heads % length, head = row % heads;
      const Index to =
          ((first + layer) * length + entry) * config.num_kv_heads + worker % split.tensor_parallel * heads + head;
      std::ranges::copy(part.keys.row(row), whole.keys.row(to).begin());
      std::ranges::copy(part.values.row(row), whole.values.row(to).begin());
    }
  }
  return whole;
}

Ran run_split(const Model& model, const Split& split) {
  const ParallelReference reference(model, split);
  std::vector<PagedKvCache> caches = reference.create_paged_kv_caches(kLimits);
  Ran ran;
  ran.hidden = story(
      begin_forward, [&](const Ids& ids) { return reference.forward(reference.embed(ids), caches); },
      [&](const auto& change) {
        for (PagedKvCache& cache : caches) change(cache);
      });
  for (const Tensor& hidden : ran.hidden) ran.logits.push_back(reference.get_logits(hidden));
  ran.entries = joined_entries(model.config, split, caches);
  return ran;
}

// The largest difference as a share of the largest value.
double distance(const Tensor& a, const Tensor& b) {
  EXPECT_EQ(a.shape(), b.shape());
  double difference = 0.0, size = 0.0;
  for (std::size_t i = 0; i < b.values().size(); ++i) {
    difference = std::max(difference, std::fabs(a.values()[i] - b.values()[i]));
    size = std::max(size, std::fabs(b.values()[i]));
  }
  return difference / size;
}

struct Tested {
  Architecture architecture;
  Split split;
};

class Splits : public testing::TestWithParam<Tested> {};

// Stages alone: no bit. Shards: sums of some hundred float64s in another order, in a few layers, which 1e-12 of the
// largest value covers many times (spec methods.md, section 8).
TEST_P(Splits, GiveTheResultsOfTheWholeModel) {
  const auto& [architecture, split] = GetParam();
  const Model model =
      small_model(architecture, {{architecture == Architecture::gpt_bigcode ? "n_layer" : "num_hidden_layers", 5}});
  const double allowed = split.tensor_parallel == 1 ? 0.0 : 1e-12;
  const Ran whole = run_whole(model), parts = run_split(model, split);
  for (std::size_t call = 0; call < whole.hidden.size(); ++call) {
    EXPECT_LE(distance(parts.hidden[call], whole.hidden[call]), allowed) << "call " << call;
    EXPECT_LE(distance(parts.logits[call], whole.logits[call]), allowed) << "call " << call;
  }
  EXPECT_LE(distance(parts.entries.keys, whole.entries.keys), allowed);
  EXPECT_LE(distance(parts.entries.values, whole.entries.values), allowed);
}

// All that parallel_rules.h allows of the small models with five layers, up to 4 shards; stages of 4 would leave one
// without a layer.
std::vector<Tested> legal_splits() {
  std::vector<Tested> out;
  for (const Architecture architecture :
       {Architecture::llama, Architecture::olmo, Architecture::orion, Architecture::phi, Architecture::gpt_bigcode}) {
    const ModelConfig config = small_model(architecture).config;
    for (const Index shards : {1, 2, 3, 4}) {
      const bool legal = shards == 1 || (architecture != Architecture::gpt_bigcode &&
                                         config.num_kv_heads % shards == 0 && config.intermediate_size % shards == 0);
      for (const Index stages : {1, 2, 3, 5}) {
        if (legal) out.push_back({architecture, {shards, stages}});
      }
    }
  }
  return out;
}

INSTANTIATE_TEST_SUITE_P(Legal, Splits, testing::ValuesIn(legal_splits()), [](const auto& tested) {
  return fmt::format("{}_tp{}_pp{}", name(tested.param.architecture), tested.param.split.tensor_parallel,
                     tested.param.split.pipeline_parallel);
});

TEST(Stages, TakeTheirLayersByTheCeiling) {
  EXPECT_EQ(layers_of_stage(5, 2, 0), (LayerRange{0, 3}));
  EXPECT_EQ(layers_of_stage(5, 2, 1), (LayerRange{3, 2}));
  EXPECT_EQ(layers_of_stage(32, 3, 2), (LayerRange{22, 10}));
}

TEST(Parts, HaveTheWholeBiasOfASplitSum) {
  const Model model = small_model(Architecture::phi);
  const Model part = part_of(model, {2, 1}, 1, 0);
  const std::string name = "model.layers.0.self_attn.dense.bias";
  EXPECT_EQ(part.weights->get(name).widened(), model.weights->get(name).widened()) << "divided where it is used";
  EXPECT_EQ(part.config.num_heads, model.config.num_heads / 2);
  EXPECT_EQ(part.weights->get("model.layers.0.self_attn.dense.weight").cols, model.config.q_width() / 2);
}

// A shard that fails does not leave the others waiting.
TEST(Shards, FailTogether) {
  class Failing final : public TapSink {
   public:
    [[nodiscard]] bool wants(TapId id) const override { return id.tap == Tap::mlp_norm && id.layer == 1; }
    void take(TapId, const Tensor&) override { throw request_error("test.failed", "as the test wants it"); }
  };
  const ParallelReference reference(small_model(Architecture::olmo), {2, 1});
  std::vector<PagedKvCache> caches = reference.create_paged_kv_caches(kLimits);
  for (PagedKvCache& cache : caches) {
    cache.add_sequence(1);
    cache.begin_forward(std::vector<SeqId>{1}, std::vector<Index>{3});
  }
  Failing failing;
  const std::vector<TapSink*> taps = {nullptr, &failing};
  try {
    (void)reference.forward(reference.embed(some_tokens(3)), caches, taps);
    FAIL() << "it went on";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), "test.failed") << "the failure itself, not what followed from it";
  }
}

}  // namespace
}  // namespace mlbench::ref
