// GPU backends over splits of models, on the host executor, their workers being threads.
#include <algorithm>
#include <set>
#include <string>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "backends/gpu/gpu_backend.h"
#include "backends/parallel/parallel_backend.h"
#include "backends/parallel/part_holders.h"
#include "harness/verify_backend.h"
#include "models/parts.h"
#include "models/presets.h"
#include "models/synthetic.h"
#include "tests/backends/alone.h"
#include "tests/reference/small_models.h"
#include "tests/support/expect_error.h"

namespace mlbench::gpu {
namespace {

using backends::Method;
using ref::test::small_model;
using ref::test::some_tokens;
using ::testing::Contains;
using ::testing::HasSubstr;

std::unique_ptr<backends::Backend> on_host() { return make_gpu_backend(make_host_platform("cuda", "a test", 32)); }

struct Tested {
  Architecture architecture;
  Split split;
  DType dtype;
};

std::vector<Tested> all_tested() {
  std::vector<Tested> out;
  for (const Architecture architecture : {Architecture::llama, Architecture::phi}) {
    for (const Split& split : {Split{2, 1}, Split{1, 2}, Split{2, 2}}) {
      for (const DType dtype : {DType::f32, DType::bf16}) out.push_back({architecture, split, dtype});
    }
  }
  return out;
}

// Two layers, one for each of two stages; biases wherever the architecture may have them.
ModelConfig config_of(Architecture architecture) {
  nlohmann::json fields = {{"num_hidden_layers", 2},   {"vocab_size", 300},        {"hidden_size", 128},
                           {"num_attention_heads", 4}, {"num_key_value_heads", 4}, {"intermediate_size", 176}};
  if (architecture == Architecture::llama) fields.update({{"attention_bias", true}, {"mlp_bias", true}});
  return preset_config(small_preset(architecture), fields);
}

class SplitModels : public testing::TestWithParam<Tested> {};

TEST_P(SplitModels, PassVerification) {
  const Tested& tested = GetParam();
  const auto gpu = on_host();
  const auto holders = parallel::make_thread_holders(*gpu);
  const auto backend = parallel::make_parallel_backend(*gpu, [&](const backends::RunConfig&) { return holders.get(); });
  const ModelConfig config = config_of(tested.architecture);
  harness::BackendOptions options;
  options.run = {.dtype = tested.dtype,
                 .device = "host",
                 .threads = 1,
                 .tensor_parallel = tested.split.tensor_parallel,
                 .pipeline_parallel = tested.split.pipeline_parallel};
  options.chained = false;
  Workers workers(2);
  const BackendVerification result =
      harness::verify_backend(make_synthetic(config, tested.dtype, 1, workers), *backend,
                              harness::make_plan(config, harness::Extent::quick, 1, {5, 18}), options, workers);
  EXPECT_EQ(result.error, "");
  EXPECT_TRUE(result.passed());
  if (const TapCheck* failure = result.first_failure()) ADD_FAILURE() << failure->tap << " in " << failure->call;
  std::set<std::string> kinds;
  for (const TapCheck& check : result.checks) kinds.insert(check.kind);
  if (tested.split.tensor_parallel > 1) {
    EXPECT_THAT(kinds, Contains("attn.out.part"));
    EXPECT_THAT(kinds,
                Contains(tested.architecture == Architecture::phi ? "block.sum.all_reduce" : "mlp.out.all_reduce"));
  }
}

INSTANTIATE_TEST_SUITE_P(OnTheHost, SplitModels, testing::ValuesIn(all_tested()), [](const auto& tested) {
  return fmt::format("{}_tp{}_pp{}_{}", name(tested.param.architecture), tested.param.split.tensor_parallel,
                     tested.param.split.pipeline_parallel, name(tested.param.dtype));
});

// Hidden rows of a prompt and of some steps, the later ones of which are replayed, without taps.
std::vector<std::vector<std::byte>> run_of(backends::Session& session, const ModelConfig& config) {
  const auto cache = session.create_paged_kv_cache(
      {.max_batch_size = 1, .max_total_seq_len = 64, .prefill_chunk_size = 16, .page_size = 16});
  cache->add_sequence(0);
  std::vector<std::vector<std::byte>> out;
  for (const Index rows : {7, 1, 1, 1, 1}) {
    HostTensor x(DType::f32, {rows, config.hidden_size});
    session.embed(some_tokens(rows), x.view());
    const Shape shape = rows > 1 ? Shape{1, rows, config.hidden_size} : Shape{1, 1, config.hidden_size};
    x = std::move(x).reshaped(shape);
    HostTensor hidden(DType::f32, shape);
    cache->begin_forward(std::vector<SeqId>{0}, std::vector<Index>{rows}, std::nullopt);
    const Method method = rows > 1 ? Method::prefill_to_last_hidden_states : Method::decode_to_last_hidden_states;
    session.forward(method, x.view(), {}, *cache, hidden.view(), nullptr);
    cache->end_forward();
    out.emplace_back(hidden.bytes().begin(), hidden.bytes().end());
  }
  return out;
}

TEST(SplitModels, StagesGiveTheBitsOfOnePiece) {
  const Model model = small_model(Architecture::llama);
  const auto gpu = on_host();
  const backends::RunConfig run{.dtype = DType::f32, .device = "host"};
  const auto whole = run_of(*gpu->load(model, run), model.config);
  const auto holders = parallel::make_thread_holders(*gpu);
  const auto stages = parallel::make_parallel_backend(*gpu, [&](const backends::RunConfig&) { return holders.get(); });
  backends::RunConfig of_two = run;
  of_two.pipeline_parallel = 2;
  of_two.micro_batches = 1;
  const auto split = run_of(*stages->load(model, of_two), model.config);
  for (std::size_t call = 0; call < whole.size(); ++call) EXPECT_TRUE(split[call] == whole[call]) << "call " << call;
}

TEST(SplitModels, ShardsNeedLessMemoryThanOnePiece) {
  const ModelConfig config = config_of(Architecture::llama);
  const KvLimits limits{.max_batch_size = 1, .max_total_seq_len = 64, .prefill_chunk_size = 16, .page_size = 16};
  const auto gpu = on_host();
  const auto whole = gpu->memory(config, {.device = "host"}, limits);
  const auto shard = gpu->memory(config, {.device = "host", .tensor_parallel = 2}, limits);
  EXPECT_EQ(2 * shard.cache_bytes, whole.cache_bytes);
  EXPECT_LT(shard.weights_bytes, whole.weights_bytes);
  EXPECT_LT(shard.scratch_bytes, whole.scratch_bytes);
}

TEST(SplitModels, AGroupThatFailsFailsTheCall) {
  const Model model = small_model(Architecture::llama);
  const auto gpu = on_host();
  for (const Split& split : {Split{2, 1}, Split{1, 2}}) {
    const Model part = part_of(model, split, 0, 0);
    const auto session = gpu->load(part, {.device = "host",
                                          .tensor_parallel = split.tensor_parallel,
                                          .pipeline_parallel = split.pipeline_parallel,
                                          .group = std::make_shared<test::Alone>()});
    const Error error = test::error_of([&] { (void)run_of(*session, model.config); });
    EXPECT_EQ(error.code(), "parallel.stopped");
    EXPECT_THAT(error.message(), HasSubstr("nobody came"));
  }
}

}  // namespace
}  // namespace mlbench::gpu
