// Predictions against counts by hand, and at the limits where they must be what is known otherwise.
#include "harness/measure/predict.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "harness/measure/cost.h"
#include "models/presets.h"
#include "models/tensor_inventory.h"

namespace mlbench::measure {
namespace {

// Two sums of fewer than 64 terms, all positive, in any order: each errs by no more than 64 u, relative.
constexpr double kTwoSums = 2 * 64 * 0x1p-53;

Cluster cluster_of(Index nodes = 1, Index devices_per_node = 4) {
  Cluster out;
  out.nodes = nodes;
  out.devices_per_node = devices_per_node;
  out.device.name = "some device";
  out.device.memory_bytes = 1ULL << 30U;
  out.within_node = Link{.latency_seconds = 1e-6, .bytes_per_second = 1e8};
  out.between_nodes = Link{.latency_seconds = 1e-4, .bytes_per_second = 1e7};
  return out;
}

ProbeResult rates_of(double bytes_per_second, double flops_per_second) {
  ProbeResult out;
  out.dtype = "f32";
  out.read_bytes_per_second = bytes_per_second;
  out.flops_per_second = flops_per_second;
  return out;
}

BenchPoint point_of(const Split& split, Index batch, Index prompt, Index gen) {
  BenchPoint out;
  out.model = "llama-small";
  out.dtype = "f32";
  out.batch = batch;
  out.prompt = prompt;
  out.gen = gen;
  out.page_size = 16;
  out.tensor_parallel = split.tensor_parallel;
  out.pipeline_parallel = split.pipeline_parallel;
  return out;
}

// Heads of 32, 6 and 2 of keys, an MLP of 520, 1031 words; stages of 3 and 2.
ModelConfig five_layers() { return preset_config("llama-small", {{"num_hidden_layers", 5}}); }

// ---- by hand ----

TEST(Predict, OfAStepByHand) {
  const Cluster cluster = cluster_of();
  const auto rows = predict(cluster, rates_of(1e9, 1e15), five_layers(), point_of({2, 2}, 2, 6, 1), 1);
  ASSERT_EQ(rows.size(), 2U);
  const PredictedRow& decode = rows[1];
  EXPECT_EQ(decode.method, "batch_decode");
  EXPECT_TRUE(decode.decode);
  EXPECT_EQ(decode.point.device, "some device");
  // Reading is what takes time: of half a layer, of the output layer, and of 6 entries of two sequences; one is
  // written.
  const double layer = 2 * 96 * 192 + 2 * 32 * 192 + 3 * 260 * 192 + 2 * 192;
  const double first = 4 * (3 * layer + 2 * 192 + 3 * (2 * 7) * (2 * 32)) / 1e9;
  const double last = 4 * (2 * layer + 192 + 1031 * 192 + 2 * (2 * 7) * (2 * 32)) / 1e9;
  // Two sums in each layer of two rows, to and from one neighbour at once.
  const double sum = 1e-6 + 4 * 2 * 192 / 1e8;
  const double forward = 1e-6 + 4 * 2 * 192 / 1e8, answer = 1e-6 + 4 * 2 * 1031 / 1e8;
  const double messages = 2 * (3 + 2) * sum + forward + answer;
  EXPECT_DOUBLE_EQ(decode.compute_seconds, (first + last) / 2);
  EXPECT_DOUBLE_EQ(decode.communication_seconds, messages / 2);
  EXPECT_DOUBLE_EQ(decode.seconds, first + last + messages) << "from stage to stage";
  EXPECT_DOUBLE_EQ(decode.bubble_seconds, decode.seconds / 2);
  EXPECT_DOUBLE_EQ(decode.tokens_per_second, 2 / decode.seconds);
}

// Two micro-batches through unequal stages: their sum, and the longer one again.
TEST(Predict, OfAPromptInTwoMicroBatchesByHand) {
  const Cluster cluster = cluster_of();
  const ModelConfig config = five_layers();
  const ProbeResult rates = rates_of(1e15, 1e9);
  const auto rows = predict(cluster, rates, config, point_of({1, 2}, 2, 16, 0), 2);
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(rows[0].method, "batch_prefill");
  EXPECT_FALSE(rows[0].decode);
  EXPECT_EQ(rows[0].micro_batches, 2);
  const double pairs = 16 * 17 / 2.0, matrices = 2 * 192 * 192 + 2 * 64 * 192 + 3 * 520 * 192;
  const double layer = 2 * (16 * matrices + pairs * 2 * 192) / 1e9;
  const double first = 3 * layer + 1e-6 + 4 * 16 * 192 / 1e8;
  const double last = 2 * layer + 2 * 1031 * 192 / 1e9 + 1e-6 + 4 * 1031 / 1e8;
  EXPECT_NEAR(rows[0].seconds, first + last + std::max(first, last), kTwoSums * rows[0].seconds);
}

TEST(Predict, AddsALatencyForEveryLayer) {
  Cluster cluster = cluster_of();
  const BenchPoint point = point_of({1, 2}, 1, 8, 3);
  const auto before = predict(cluster, rates_of(1e9, 1e9), five_layers(), point);
  cluster.device.layer_latency_seconds = 0.25;
  const auto after = predict(cluster, rates_of(1e9, 1e9), five_layers(), point);
  EXPECT_NEAR(after[0].seconds - before[0].seconds, 5 * 0.25, kTwoSums * after[0].seconds);
  EXPECT_NEAR(after[1].seconds - before[1].seconds, 3 * 5 * 0.25, kTwoSums * after[1].seconds)
      << "in each of three steps";
}

// Attention's and the MLP's summands of Phi are added before they are exchanged.
TEST(Predict, PhiExchangesSummandsOnceALayer) {
  const Cluster cluster = cluster_of();
  for (const auto& [preset, times] : {std::pair("phi-small", 1.0), std::pair("llama-small", 2.0)}) {
    const ModelConfig config = preset_config(preset);
    const auto rows = predict(cluster, rates_of(1e9, 1e9), config, point_of({2, 1}, 1, 0, 1));
    const double sum = 1e-6 + 4 * static_cast<double>(config.hidden_size) / 1e8;
    EXPECT_DOUBLE_EQ(rows[0].communication_seconds, times * 4 * sum) << preset;
  }
}

TEST(Predict, ExchangesSummandsInTheirType) {
  Cluster cluster = cluster_of();
  cluster.within_node->latency_seconds = 0.0;
  const BenchPoint point = point_of({2, 1}, 1, 8, 0);
  const double f32 = predict(cluster, rates_of(1e9, 1e9), five_layers(), point)[0].communication_seconds;
  cluster.exchange_dtype = DType::bf16;
  EXPECT_DOUBLE_EQ(predict(cluster, rates_of(1e9, 1e9), five_layers(), point)[0].communication_seconds, f32 / 2);
}

// ---- limits ----

TEST(Predict, OfOneDeviceIsTheRoofline) {
  for (const Architecture architecture : kArchitectures) {
    const ModelConfig config = preset_config(small_preset(architecture));
    for (const ProbeResult& rates : {rates_of(1e9, 1e9), rates_of(1e9, 1e13)}) {
      const auto rows = predict(cluster_of(1, 1), rates, config, point_of({}, 2, 8, 3));
      ASSERT_EQ(rows.size(), 2U);
      const auto expect = [&](const PredictedRow& row, const std::vector<CallShape>& calls) {
        double roofline = 0.0, floor = 0.0;
        for (const CallShape& call : calls) {
          roofline += roofline_seconds(cost_of(config, DType::f32, call), rates);
          floor += floor_seconds(cost_of(config, DType::f32, call), rates, 0);
        }
        EXPECT_EQ(row.seconds, roofline);
        EXPECT_EQ(row.compute_seconds, roofline);
        EXPECT_EQ(row.communication_seconds, 0.0);
        EXPECT_EQ(row.bubble_seconds, 0.0);
        EXPECT_EQ(row.micro_batches, 1);
        EXPECT_GE(row.seconds, floor);
      };
      expect(rows[0], {{.batch = 2, .rows = 8, .before = 0, .logit_rows = 2}});
      std::vector<CallShape> steps;
      for (Index step = 0; step < 3; ++step)
        steps.push_back({.batch = 2, .rows = 1, .before = 8 + step, .logit_rows = 2});
      expect(rows[1], steps);
    }
  }
}

// Where all that is computed is needed, and computing is what takes time, the floor allows the margin.
TEST(Predict, OfOneDeviceIsTheFloorAndItsMargin) {
  const ModelConfig config = five_layers();
  const ProbeResult rates = rates_of(1e15, 1e9);
  const auto rows = predict(cluster_of(1, 1), rates, config, point_of({}, 1, 0, 1));
  const CallCost cost = cost_of(config, DType::f32, {.batch = 1, .rows = 1, .before = 0, .logit_rows = 1});
  EXPECT_DOUBLE_EQ(rows[0].seconds, kProbeMargin * floor_seconds(cost, rates, 0));
}

TEST(Predict, WithoutStagesHasNoBubbleAndWithoutShardsNoSums) {
  Cluster cluster = cluster_of();
  const auto sharded = predict(cluster, rates_of(1e9, 1e9), five_layers(), point_of({2, 1}, 4, 8, 2));
  cluster.within_node = Link{.latency_seconds = 0.0, .bytes_per_second = 1e21};
  const auto staged = predict(cluster, rates_of(1e9, 1e9), five_layers(), point_of({1, 2}, 4, 8, 2));
  for (const PredictedRow& row : sharded) {
    EXPECT_EQ(row.bubble_seconds, 0.0);
    EXPECT_GT(row.communication_seconds, 0.0);
  }
  for (const PredictedRow& row : staged) {
    EXPECT_GT(row.bubble_seconds, 0.0);
    // Some 10^5 bytes at 10^21 in a second, beside some 10^7 operations at 10^9.
    EXPECT_LT(row.communication_seconds, kTwoSums * row.seconds);
  }
}

// Four equal stages, and links that take no time. The output layer, 4 * 4096 weights beside the 8 * 2 * 10^8 of a
// stage, makes one of them longer by less than 10^-4.
TEST(Predict, OfEqualStagesHasGpipesBubble) {
  constexpr double kOutputLayer = 1e-4;
  Cluster cluster = cluster_of();
  cluster.within_node = Link{.latency_seconds = 0.0, .bytes_per_second = 1e21};
  const ModelConfig config = preset_config("llama-2-7b", {{"vocab_size", 4}});
  for (const Index count : {1, 2, 8}) {
    const auto rows = predict(cluster, rates_of(1e21, 1e12), config, point_of({1, 4}, 8, 64, 0), count);
    const double expected = 3.0 / (static_cast<double>(count) + 3.0);
    EXPECT_NEAR(rows[0].bubble_seconds / rows[0].seconds, expected, kOutputLayer) << count;
  }
}

TEST(Predict, IsNeverSlowerOnFasterParts) {
  const BenchPoint point = point_of({2, 2}, 4, 16, 4);
  const auto total = [&](const Cluster& cluster, const ProbeResult& rates) {
    const auto rows = predict(cluster, rates, five_layers(), point);
    return std::pair(rows[0].seconds, rows[1].seconds);
  };
  const Cluster cluster = cluster_of(2, 2);
  const std::pair<double, double> before = total(cluster, rates_of(1e9, 1e10));
  const auto expect_no_slower = [&](const std::pair<double, double>& now) {
    EXPECT_LE(now.first, before.first);
    EXPECT_LE(now.second, before.second);
  };
  expect_no_slower(total(cluster, rates_of(4e9, 1e10)));
  expect_no_slower(total(cluster, rates_of(1e9, 4e10)));
  for (const double factor : {1.5, 10.0, 1e6}) {
    Cluster faster = cluster;
    faster.within_node->bytes_per_second *= factor;
    expect_no_slower(total(faster, rates_of(1e9, 1e10)));
    faster.between_nodes->bytes_per_second *= factor;
    expect_no_slower(total(faster, rates_of(1e9, 1e10)));
    faster.between_nodes->latency_seconds /= factor;
    expect_no_slower(total(faster, rates_of(1e9, 1e10)));
  }
}

// ---- micro-batches and replicas ----

TEST(Predict, TakesNoMoreMicroBatchesThanThereAreRows) {
  const auto rows = predict(cluster_of(), rates_of(1e9, 1e9), five_layers(), point_of({1, 2}, 3, 8, 2), 100);
  EXPECT_EQ(rows[0].micro_batches, 24);
  EXPECT_EQ(rows[1].micro_batches, 3) << "one for each sequence";
}

TEST(Predict, ChoosesTheQuickestNumberOfMicroBatches) {
  const Cluster cluster = cluster_of();
  const BenchPoint point = point_of({1, 4}, 8, 32, 4);
  for (const ProbeResult& rates : {rates_of(1e15, 1e9), rates_of(1e6, 1e15)}) {
    const auto chosen = predict(cluster, rates, preset_config("llama-small"), point);
    for (const Index count : {1, 2, 4, 8}) {
      const auto asked = predict(cluster, rates, preset_config("llama-small"), point, count);
      EXPECT_LE(chosen[0].seconds, asked[0].seconds) << count;
      EXPECT_LE(chosen[1].seconds, asked[1].seconds) << count;
    }
    // Each micro-batch reads all weights again.
    EXPECT_EQ(chosen[1].micro_batches == 1, rates.read_bytes_per_second < 1e9);
  }
}

TEST(Predict, ReplicasAddTheirThroughput) {
  const auto one = predict(cluster_of(), rates_of(1e9, 1e9), five_layers(), point_of({2, 1}, 2, 8, 2));
  BenchPoint twice = point_of({2, 1}, 2, 8, 2);
  twice.replicas = 2;
  const auto two = predict(cluster_of(), rates_of(1e9, 1e9), five_layers(), twice);
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(two[i].seconds, one[i].seconds);
    EXPECT_EQ(two[i].tokens_per_second, 2 * one[i].tokens_per_second);
    EXPECT_EQ(two[i].point.replicas, 2);
  }
}

TEST(Predict, NeedsTheDevices) {
  const Cluster cluster = cluster_of(2, 4);
  EXPECT_FALSE(why_not(cluster, {.tensor_parallel = 4, .pipeline_parallel = 2}, 1));
  EXPECT_FALSE(why_not(cluster, {.tensor_parallel = 2, .pipeline_parallel = 1}, 4));
  const auto error = why_not(cluster, {.tensor_parallel = 2, .pipeline_parallel = 2}, 3);
  ASSERT_TRUE(error);
  EXPECT_EQ(error->code(), "cluster.devices");
  EXPECT_EQ(error->message(), "--tp 2 --pp 2 --replicas 3: 12 devices are needed, the cluster has 8");
}

// ---- memory ----

TEST(PredictedMemory, ByHand) {
  // 20 tokens take two pages of 16.
  const auto rows = predict(cluster_of(), rates_of(1e9, 1e9), five_layers(), point_of({2, 2}, 3, 18, 2), 1);
  const std::uint64_t layer = 2 * 96 * 192 + 2 * 32 * 192 + 3 * 260 * 192 + 2 * 192;
  for (const PredictedRow& row : rows) {
    const PredictedMemory& memory = row.memory;
    EXPECT_EQ(memory.stage, 0) << "three layers, not two";
    EXPECT_EQ(memory.worker, 0);
    EXPECT_EQ(memory.weights_bytes, 4 * (3 * layer + 2 * 1031 * 192)) << "with the output layer, without the norm";
    EXPECT_EQ(memory.cache_bytes, 4U * 3 * 32 * (3 * 2 * 32));
    EXPECT_EQ(memory.scratch_bytes, 4U * (3 * 18) * (6 * 192 + 4 * 96 + 2 * 32 + 4 * 260));
    EXPECT_EQ(memory.total(), memory.weights_bytes + memory.cache_bytes + memory.scratch_bytes);
    EXPECT_TRUE(memory.fits());
  }
}

// Of equal stages the last one holds the final norm and makes the logits.
TEST(PredictedMemory, IsOfTheRankThatNeedsTheMost) {
  const ModelConfig config = preset_config("llama-small");
  const auto rows = predict(cluster_of(), rates_of(1e9, 1e9), config, point_of({2, 2}, 3, 18, 2), 1);
  EXPECT_EQ(rows[0].memory.stage, 1);
  EXPECT_EQ(rows[0].memory.worker, 2);
}

TEST(PredictedMemory, OfTheWholeModelIsThatOfItsParameters) {
  for (const char* preset : {"llama-2-70b", "phi-2", "starcoderbase-1b", "olmo-1b"}) {
    const ModelConfig config = preset_config(preset);
    const double parameters = weights_bytes(config, DType::f16, {}, 0) / 2;
    EXPECT_EQ(parameters, static_cast<double>(parameter_count(config))) << preset;
  }
}

TEST(PredictedMemory, ThatIsNotThereIsMarked) {
  Cluster cluster = cluster_of();
  const BenchPoint point = point_of({}, 1, 8, 2);
  const std::uint64_t needed = predict(cluster, rates_of(1e9, 1e9), five_layers(), point)[0].memory.total();
  cluster.device.memory_bytes = needed;
  EXPECT_TRUE(predict(cluster, rates_of(1e9, 1e9), five_layers(), point)[0].memory.fits());
  cluster.device.memory_bytes = needed - 1;
  EXPECT_FALSE(predict(cluster, rates_of(1e9, 1e9), five_layers(), point)[0].memory.fits());
}

}  // namespace
}  // namespace mlbench::measure
