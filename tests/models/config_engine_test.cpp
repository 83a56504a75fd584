// MLC's fields and the rules of parallel execution.
#include "tests/models/config_support.h"

namespace mlbench {
namespace {

using nlohmann::json;
using test::changed;
using test::expect_refused;
using test::minimal;
using test::minimal_msft;
using test::read;

const Architecture kHfFields[] = {Architecture::llama, Architecture::orion, Architecture::olmo, Architecture::phi};

TEST(ContextWindow, FallsBackToTheLengthsOfTheModelInOrder) {
  for (const Architecture architecture : kHfFields) {
    const json config = minimal(architecture);
    const auto window = [&](const json& changes) { return read(changed(config, changes)).context_window_size; };
    EXPECT_EQ(window({}), 128);
    EXPECT_EQ(window({{"context_window_size", 0}}), 128);
    EXPECT_EQ(window({{"context_window_size", nullptr}}), 128);
    EXPECT_EQ(window({{"context_window_size", 4096}}), 4096);
    EXPECT_EQ(window({{"max_sequence_length", 64}}), 128) << "max_position_embeddings comes first";
    EXPECT_EQ(window({{"max_position_embeddings", "-"}, {"max_sequence_length", 64}}), 64);
    EXPECT_EQ(window({{"max_position_embeddings", nullptr}, {"max_sequence_length", 64}}), 64);
    EXPECT_EQ(window({{"max_position_embeddings", "-"}, {"context_window_size", 32}}), 32);
  }
}

TEST(ContextWindow, IsMissedWhereNothingGivesIt) {
  for (const Architecture architecture : kHfFields) {
    for (const json& absent : {json("-"), json(nullptr)}) {
      expect_refused(minimal(architecture),
                     {{{"max_position_embeddings", absent}}, "config.missing", "context_window_size"});
    }
    expect_refused(
        minimal(architecture),
        {{{"max_position_embeddings", "-"}, {"context_window_size", 0}}, "config.missing", "context_window_size"});
  }
}

TEST(ContextWindow, OfPhiMsftAndGptBigCodeFallsBackToNPositions) {
  EXPECT_EQ(read(minimal_msft()).context_window_size, 128);
  EXPECT_EQ(read(changed(minimal_msft(), {{"context_window_size", 64}})).context_window_size, 64);
  const json bigcode = minimal(Architecture::gpt_bigcode);
  EXPECT_EQ(read(changed(bigcode, {{"context_window_size", 0}})).context_window_size, 128);
  EXPECT_EQ(read(changed(bigcode, {{"context_window_size", 64}})).context_window_size, 64);
  EXPECT_EQ(read(changed(bigcode, {{"context_window_size", 64}})).num_positions, 128);
  EXPECT_EQ(read(changed(bigcode, {{"max_position_embeddings", 32}, {"max_sequence_length", 16}})).context_window_size,
            128);
  for (const int wrong : {0, -1}) {
    expect_refused(bigcode, {{{"n_positions", wrong}}, "config.value", "n_positions = "});
    expect_refused(minimal_msft(), {{{"n_positions", wrong}}, "config.value", "n_positions = "});
  }
}

TEST(ContextWindow, WrongLengthsAreNamed) {
  for (const Architecture architecture : kHfFields) {
    const json config = minimal(architecture);
    expect_refused(config, {{{"context_window_size", -1}}, "config.value", "context_window_size = -1"});
    expect_refused(config, {{{"context_window_size", "4k"}}, "config.type", "context_window_size = \"4k\""});
    expect_refused(config, {{{"context_window_size", 2048.0}}, "config.type", "context_window_size = 2048.0"});
    expect_refused(config, {{{"max_position_embeddings", -1}}, "config.value", "max_position_embeddings = -1"});
    const json without = changed(config, {{"max_position_embeddings", "-"}});
    expect_refused(without, {{{"context_window_size", -1}}, "config.value", "context_window_size = -1"});
    expect_refused(without, {{{"max_sequence_length", -1}}, "config.value", "max_sequence_length = -1"});
  }
}

TEST(PrefillChunk, IsTheWindowUpTo8192) {
  for (const auto& [family, config] : test::minimal_configs()) {
    if (family == "phi-msft") continue;
    SCOPED_TRACE(family);
    const auto chunk = [&config = config](const json& changes) {
      return read(changed(config, changes)).prefill_chunk_size;
    };
    EXPECT_EQ(chunk({}), 128);
    EXPECT_EQ(chunk({{"prefill_chunk_size", 0}}), 128);
    EXPECT_EQ(chunk({{"prefill_chunk_size", nullptr}}), 128);
    EXPECT_EQ(chunk({{"prefill_chunk_size", 64}}), 64);
    EXPECT_EQ(chunk({{"prefill_chunk_size", 128}}), 128);
    EXPECT_EQ(chunk({{"prefill_chunk_size", 129}}), 128);
    EXPECT_EQ(chunk({{"context_window_size", 100000}}), 8192);
    EXPECT_EQ(chunk({{"context_window_size", 100000}, {"prefill_chunk_size", 200000}}), 8192);
    EXPECT_EQ(chunk({{"context_window_size", 100000}, {"prefill_chunk_size", 50000}}), 50000)
        << "asked for and possible";
  }
}

TEST(PrefillChunk, OfPhiMsftIsTheWindowWithoutThatLimit) {
  const auto chunk = [](const json& changes) { return read(changed(minimal_msft(), changes)).prefill_chunk_size; };
  EXPECT_EQ(chunk({}), 128);
  EXPECT_EQ(chunk({{"context_window_size", 100000}}), 100000);
  EXPECT_EQ(chunk({{"context_window_size", 100000}, {"prefill_chunk_size", 200000}}), 100000);
  EXPECT_EQ(chunk({{"context_window_size", 100000}, {"prefill_chunk_size", 64}}), 64);
}

TEST(EngineFields, AreReadAndChecked) {
  for (const auto& [family, config] : test::minimal_configs()) {
    SCOPED_TRACE(family);
    EXPECT_EQ(read(changed(config, {{"max_batch_size", 80}})).max_batch_size, 80);
    EXPECT_EQ(read(changed(config, {{"max_batch_size", nullptr}})).max_batch_size, 1);
    EXPECT_TRUE(read(changed(config, {{"disaggregation", true}})).disaggregation);
    const test::Refusal cases[] = {
        {{{"max_batch_size", 0}}, "config.value", "max_batch_size = 0"},
        {{{"max_batch_size", -3}}, "config.value", "max_batch_size = -3"},
        {{{"max_batch_size", "1"}}, "config.type", "max_batch_size = \"1\""},
        {{{"disaggregation", 1}}, "config.type", "disaggregation = 1"},
        {{{"prefill_chunk_size", -1}}, "config.value", "prefill_chunk_size = -1"},
        {{{"prefill_chunk_size", 1.5}}, "config.type", "prefill_chunk_size = 1.5"},
        {{{"tensor_parallel_shards", 0}}, "config.value", "tensor_parallel_shards = 0"},
        {{{"tensor_parallel_shards", -2}}, "config.value", "tensor_parallel_shards = -2"},
        {{{"tensor_parallel_shards", 2.0}}, "config.type", "tensor_parallel_shards = 2.0"},
        {{{"pipeline_parallel_stages", 0}}, "config.value", "pipeline_parallel_stages = 0"},
        {{{"pipeline_parallel_stages", 3}}, "config.value", "pipeline_parallel_stages = 3"},  // of 2 layers
        {{{"pipeline_parallel_stages", "2"}}, "config.type", "pipeline_parallel_stages = \"2\""},
    };
    for (const test::Refusal& refusal : cases) expect_refused(config, refusal);
  }
}

TEST(TensorParallel, ShardsMustDivideMlpAndHeads) {
  for (const Architecture architecture : kHfFields) {
    const json config = changed(minimal(architecture), {{"num_key_value_heads", 2}});  // Hq 4, I 96
    EXPECT_EQ(read(changed(config, {{"tensor_parallel_shards", 2}})).tensor_parallel_shards, 2);
    for (const int shards : {3, 4, 8}) {  // 3: divides I alone; 4: divides I and Hq; 8: exceeds the heads
      expect_refused(config, {{{"tensor_parallel_shards", shards}},
                              "parallel.indivisible",
                              "tensor_parallel_shards = " + std::to_string(shards)});
    }
    expect_refused(config, {{{"tensor_parallel_shards", 2}, {"intermediate_size", 97}},
                            "parallel.indivisible",
                            "tensor_parallel_shards = 2"});
  }
  const json msft = changed(minimal_msft(), {{"n_head_kv", 2}});
  EXPECT_EQ(read(changed(msft, {{"tensor_parallel_shards", 2}})).tensor_parallel_shards, 2);
  expect_refused(msft, {{{"tensor_parallel_shards", 4}}, "parallel.indivisible", "tensor_parallel_shards = 4"});
}

TEST(TensorParallel, GptBigCodeCannotBeSharded) {
  for (const bool multi_query : {true, false}) {
    expect_refused(minimal(Architecture::gpt_bigcode), {{{"tensor_parallel_shards", 2}, {"multi_query", multi_query}},
                                                        "parallel.unsupported",
                                                        "tensor_parallel_shards = 2"});
  }
}

TEST(PipelineParallel, NoStageMayBeEmpty) {
  // Every pair up to 12 against the rule (P - 1) * ceil(L / P) < L.
  for (const auto& [family, config] : test::minimal_configs()) {
    const char* layers_field = config.contains("n_layer") ? "n_layer" : "num_hidden_layers";
    for (int layers = 1; layers <= 12; ++layers) {
      for (int stages = 1; stages <= 12; ++stages) {
        const int per_stage = layers / stages + (layers % stages == 0 ? 0 : 1);
        const bool legal = stages <= layers && (stages - 1) * per_stage < layers;
        const json changes = {{layers_field, layers}, {"pipeline_parallel_stages", stages}};
        if (legal) {
          EXPECT_EQ(read(changed(config, changes)).pipeline_parallel_stages, stages) << family << changes;
        } else {
          expect_refused(config, {changes, "config.value", "pipeline_parallel_stages = "});
        }
      }
    }
  }
}

}  // namespace
}  // namespace mlbench
