// The CPU backend over every legal split of the small models, its workers being threads: verified as any backend is,
// and against itself in one piece.
#include <algorithm>
#include <set>
#include <string>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "backends/cpu/cpu_backend.h"
#include "backends/parallel/parallel_backend.h"
#include "harness/verify_backend.h"
#include "models/parallel_rules.h"
#include "models/presets.h"
#include "models/synthetic.h"

namespace mlbench::harness {
namespace {

using parallel::make_parallel_backend;
using parallel::make_thread_holders;
using ::testing::Contains;

struct Tested {
  Architecture architecture;
  bool many_heads;  // that 2, 3 and 4 divide; else those of the preset
  Split split;
  DType dtype;
};

// Three layers, which two stages share unequally; biases wherever the architecture may have them.
ModelConfig config_of(Architecture architecture, bool many_heads) {
  if (architecture == Architecture::gpt_bigcode) return preset_config(small_preset(architecture), {{"n_layer", 3}});
  nlohmann::json fields = {{"num_hidden_layers", 3}};
  if (many_heads) {
    fields.update(
        {{"hidden_size", 192}, {"intermediate_size", 528}, {"num_attention_heads", 12}, {"num_key_value_heads", 12}});
    if (architecture == Architecture::llama)
      fields.update({{"attention_bias", true}, {"mlp_bias", true}, {"head_dim", 16}});
  }
  return preset_config(small_preset(architecture), fields);
}

constexpr Architecture kArchitectures[] = {Architecture::llama, Architecture::olmo, Architecture::orion,
                                           Architecture::phi, Architecture::gpt_bigcode};

std::vector<Tested> legal_splits() {
  std::vector<Tested> out;
  const auto add = [&](Architecture architecture, bool many_heads, std::initializer_list<Split> splits) {
    for (const Split& split : splits) {
      if (fault_of(config_of(architecture, many_heads), split)) continue;
      for (const DType dtype : {DType::f32, DType::bf16}) out.push_back({architecture, many_heads, split, dtype});
    }
  };
  for (const Architecture architecture : kArchitectures) {
    add(architecture, false, {{1, 2}, {1, 3}, {2, 1}, {2, 2}});
    if (architecture != Architecture::gpt_bigcode) add(architecture, true, {{2, 1}, {2, 2}, {3, 1}, {4, 1}});
  }
  return out;
}

class Splits : public testing::TestWithParam<Tested> {
 protected:
  BackendVerification verify(const Tested& tested, Extent extent) {
    const auto cpu = cpu::make_cpu_backend();
    const auto holders = make_thread_holders(*cpu);
    const auto backend = make_parallel_backend(*cpu, [&](const backends::RunConfig&) { return holders.get(); });
    const ModelConfig config = config_of(tested.architecture, tested.many_heads);
    BackendOptions options;
    options.run = {.dtype = tested.dtype,
                   .threads = 1,
                   .tensor_parallel = tested.split.tensor_parallel,
                   .pipeline_parallel = tested.split.pipeline_parallel};
    return verify_backend(make_synthetic(config, tested.dtype, 1, workers_), *backend, make_plan(config, extent, 1),
                          options, workers_);
  }

  Workers workers_{2};
};

TEST_P(Splits, PassVerification) {
  const Tested& tested = GetParam();
  const BackendVerification result = verify(tested, Extent::quick);
  EXPECT_EQ(result.error, "");
  EXPECT_TRUE(result.passed());
  if (const TapCheck* failure = result.first_failure()) ADD_FAILURE() << failure->tap << " in " << failure->call;
  std::set<std::string> kinds;
  for (const TapCheck& check : result.checks) kinds.insert(check.kind);
  const bool phi = tested.architecture == Architecture::phi;
  if (tested.split.tensor_parallel > 1) {
    EXPECT_THAT(kinds, Contains("attn.out.part"));
    EXPECT_THAT(kinds, Contains("mlp.out.part"));
    EXPECT_THAT(kinds, Contains(phi ? "block.sum.all_reduce" : "mlp.out.all_reduce"));
  }
  if (tested.split.pipeline_parallel > 1) {
    EXPECT_THAT(kinds, Contains("stage.in"));
  }
}

// ---- replicas ----

BackendVerification verify_run(const Model& model, backends::Backend& backend, const backends::RunConfig& run,
                               Workers& workers) {
  BackendOptions options;
  options.run = run;
  return verify_backend(model, backend, make_plan(model.config, Extent::quick, 1), options, workers);
}

TEST(Replicas, PassVerification) {
  const auto cpu = cpu::make_cpu_backend();
  const auto holders = make_thread_holders(*cpu);
  const auto backend = make_parallel_backend(*cpu, [&](const backends::RunConfig&) { return holders.get(); });
  Workers workers(2);
  const Model model = make_synthetic(config_of(Architecture::olmo, false), DType::f32, 1, workers);
  for (const Split& split : {Split{1, 1}, Split{2, 2}}) {
    for (const bool apart : {false, true}) {
      SCOPED_TRACE(fmt::format("{}x{}{}", split.tensor_parallel, split.pipeline_parallel, apart ? " apart" : ""));
      const BackendVerification result = verify_run(model, *backend,
                                                    {.threads = 1,
                                                     .tensor_parallel = split.tensor_parallel,
                                                     .pipeline_parallel = split.pipeline_parallel,
                                                     .disaggregated = apart,
                                                     .replicas = 2},
                                                    workers);
      EXPECT_EQ(result.error, "");
      EXPECT_TRUE(result.passed());
      EXPECT_GT(result.checks.size(), 0U);
    }
  }
}

// Two models of one split, the second of which is not quite the first.
class UnlikeReplicas final : public parallel::PartHolders {
 public:
  UnlikeReplicas(backends::Backend& backend, Model other) : backend_(backend), other_(std::move(other)) {}

  [[nodiscard]] std::string name(Index worker) const override { return fmt::format("worker {}", worker); }
  [[nodiscard]] parallel::LoadedParts load(const Model& model, const backends::RunConfig& run) override {
    parallel::LoadedParts out;
    for (const Model* each : {&model, static_cast<const Model*>(&other_)})
      out.sessions.push_back(backend_.load(*each, parallel::run_of_worker(run, model.config.num_layers, 0)));
    return out;
  }
  void leave() override {}

 private:
  backends::Backend& backend_;
  Model other_;
};

TEST(Replicas, ThatAreNotAlikeAreNamedWithTheFirstTapThatDiffers) {
  const auto cpu = cpu::make_cpu_backend();
  Workers workers(2);
  const ModelConfig config = config_of(Architecture::olmo, false);
  UnlikeReplicas holders(*cpu, make_synthetic(config, DType::f32, 2, workers));
  const auto backend = make_parallel_backend(*cpu, [&](const backends::RunConfig&) { return &holders; });
  const BackendVerification result =
      verify_run(make_synthetic(config, DType::f32, 1, workers), *backend, {.threads = 1, .replicas = 2}, workers);
  EXPECT_FALSE(result.passed());
  EXPECT_THAT(result.error, testing::AllOf(testing::HasSubstr("worker 0 and worker 1 differ in"),
                                           testing::HasSubstr("must be the same bits")));
}

INSTANTIATE_TEST_SUITE_P(Legal, Splits, testing::ValuesIn(legal_splits()), [](const auto& tested) {
  return fmt::format("{}{}_tp{}_pp{}_{}", name(tested.param.architecture), tested.param.many_heads ? "_12_heads" : "",
                     tested.param.split.tensor_parallel, tested.param.split.pipeline_parallel,
                     name(tested.param.dtype));
});

}  // namespace
}  // namespace mlbench::harness
