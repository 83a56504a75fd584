// Parts of models through the door: where their workers meet, which layers are theirs, and what they hand each other.
#include <cstddef>
#include <set>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "backends/cpu/cpu_backend.h"
#include "backends/parallel/parallel_backend.h"
#include "backends/parallel/part_holders.h"
#include "backends/plugin/c_group.h"
#include "backends/plugin/convert.h"
#include "models/parts.h"
#include "tests/backends/alone.h"
#include "tests/backends/plugin/plugins.h"

namespace mlbench::plugin::test {
namespace {

using backends::Method;
using backends::Part;
using backends::RunConfig;
using testing::HasSubstr;
using testing::StartsWith;
using Transcript = std::vector<std::pair<std::string, std::string>>;

std::string text_of(const ConstTensorView& view) {
  const auto bytes = static_cast<std::size_t>(element_count(view.shape)) * size_bytes(view.dtype);
  return to_string(view.shape).append(reinterpret_cast<const char*>(view.data), bytes);
}

class EveryTap final : public backends::TapSink {
 public:
  explicit EveryTap(Transcript& to) : to_(to) {}
  [[nodiscard]] bool wants(TapId) const override { return true; }
  void take(TapId id, const ConstTensorView& value) override { to_.emplace_back(to_string(id), text_of(value)); }

 private:
  Transcript& to_;
};

// A prompt of nine rows, in pieces, and every part by itself.
Transcript transcript_of(backends::Session& session, const ModelConfig& config) {
  Transcript out;
  EveryTap taps(out);
  const auto cache = session.create_paged_kv_cache(kLimits);
  const auto begin = [&](SeqId sequence, Index rows) {
    cache->add_sequence(sequence);
    cache->begin_forward(std::vector<SeqId>{sequence}, std::vector<Index>{rows}, std::nullopt);
  };
  const Index rows = 9;
  HostTensor x(DType::f32, {rows, config.hidden_size});
  session.embed(std::vector<std::int32_t>{5, 1, 7, 300, 2, 2, 90, 41, 1000}, x.view());
  begin(0, rows);
  const HostTensor prompt = HostTensor(x).reshaped({1, rows, config.hidden_size});
  HostTensor logits(DType::f32, {1, 1, config.vocab_size});
  session.forward(Method::prefill, prompt.view(), {}, *cache, logits.view(), &taps);
  out.emplace_back("prefill", text_of(logits.view()));
  cache->end_forward();
  begin(1, rows);
  for (const Part part : {Part{Part::Kind::enter, -1}, Part{Part::Kind::layer, 0}, Part{Part::Kind::layer, 1},
                          Part{Part::Kind::final_norm, -1}}) {
    HostTensor result(DType::f32, x.shape());
    session.run_part(part, x.view(), *cache, result.view(), &taps);
    x = result;
    out.emplace_back("part", text_of(x.view()));
  }
  cache->end_forward();
  return out;
}

Transcript transcript_of(backends::Backend& backend, const Model& model, const Split& split) {
  const auto holders = parallel::make_thread_holders(backend);
  const auto workers =
      parallel::make_parallel_backend(backend, [&](const backends::RunConfig&) { return holders.get(); });
  const auto session = workers->load(
      model, {.threads = 1, .tensor_parallel = split.tensor_parallel, .pipeline_parallel = split.pipeline_parallel});
  EXPECT_EQ(session->arithmetic().shards, split.tensor_parallel);
  return transcript_of(*session, model.config);
}

TEST(SplitThroughTheDoor, GivesEveryBitThatTheBackendGives) {
  const Model model = small_model(Architecture::llama);
  const auto direct = cpu::make_cpu_backend();
  for (const Split& split : {Split{2, 1}, Split{1, 2}, Split{2, 2}}) {
    SCOPED_TRACE(fmt::format("{} shards, {} stages", split.tensor_parallel, split.pipeline_parallel));
    const Transcript expected = transcript_of(*direct, model, split);
    const Transcript got = transcript_of(*open_here(MLBENCH_PLUGIN_CPU), model, split);
    ASSERT_EQ(got.size(), expected.size());
    std::set<std::string> labels;
    for (std::size_t i = 0; i < got.size(); ++i) {
      EXPECT_EQ(got[i].first, expected[i].first);
      EXPECT_TRUE(got[i].second == expected[i].second) << got[i].first;
      labels.insert(got[i].first);
    }
    EXPECT_EQ(labels.contains("layers.1.mlp.out.part"), split.tensor_parallel > 1);
    EXPECT_EQ(labels.contains("layers.1.stage.in"), split.pipeline_parallel > 1);
  }
}

TEST(SplitThroughTheDoor, WhatTheGroupThrowsIsWhatTheCallThrows) {
  const Model model = small_model(Architecture::llama);
  const auto backend = open_here(MLBENCH_PLUGIN_CPU);
  for (const Split& split : {Split{2, 1}, Split{1, 2}}) {
    const Model part = part_of(model, split, 0, 0);
    const auto session = backend->load(part, {.threads = 1,
                                              .tensor_parallel = split.tensor_parallel,
                                              .pipeline_parallel = split.pipeline_parallel,
                                              .group = std::make_shared<mlbench::test::Alone>()});
    EXPECT_EQ(error_of([&] { (void)transcript_of(*session, model.config); }), "parallel.stopped: nobody came");
  }
}

TEST(SplitThroughTheDoor, APartWithoutAGroupIsRefused) {
  const Model part = part_of(small_model(Architecture::llama), {2, 1}, 0, 0);
  EXPECT_THAT(error_of([&] { (void)open_here(MLBENCH_PLUGIN_CPU)->load(part, {.tensor_parallel = 2}); }),
              StartsWith("config.unsupported: load: a part of a model, without a group"));
}

TEST(CGroup, ThatLacksAFunctionIsRefused) {
  const CGroup whole(std::make_shared<mlbench::test::Alone>());
  EXPECT_NO_THROW((void)group_of(*whole.get()));
  mlbench_group small = *whole.get(), without_sum = small;
  small.struct_size -= 8;
  without_sum.all_reduce = nullptr;
  for (const mlbench_group& group : {small, without_sum})
    EXPECT_THAT(error_of([&] { (void)group_of(group); }), StartsWith("backend.failed: mlbench_group: "));
}

TEST(CGroup, MeetsOverNoNegativeNumberOfValues) {
  const CGroup group(std::make_shared<mlbench::test::Alone>());
  mlbench_error error{};
  error.struct_size = sizeof error;
  EXPECT_EQ(group.get()->all_reduce(group.get()->context, nullptr, -1, &error), MLBENCH_FAILED);
  EXPECT_THAT(error.message, HasSubstr("-1 values"));
}

// What it has behind its end is not looked at.
TEST(CRun, OfTheFirstRevisionIsAWholeModels) {
  const RunConfig given{.first_layer = 7, .micro_batches = 5};
  mlbench_run run = to_c(given);
  EXPECT_EQ(run_of(run).first_layer, 7);
  EXPECT_EQ(run_of(run).micro_batches, 5);
  EXPECT_EQ(group_in(run), nullptr);
  const CGroup group(std::make_shared<mlbench::test::Alone>());
  run.group = group.get();
  EXPECT_EQ(group_in(run), group.get());
  run.struct_size = offsetof(mlbench_run, first_layer);
  EXPECT_EQ(run_of(run).first_layer, 0);
  EXPECT_EQ(run_of(run).micro_batches, 0) << "as many as stages";
  EXPECT_EQ(group_in(run), nullptr);
  run.struct_size -= 8;
  EXPECT_THAT(error_of([&] { (void)run_of(run); }), HasSubstr("mlbench_run: struct_size"));
}

TEST(TapOf, CountsLayersAsTheModelDoes) {
  const LayerRange second_half{.first = 3, .count = 2};
  EXPECT_EQ(tap_of(MLBENCH_TAP_STAGE_IN, 3, second_half), (TapId{Tap::stage_in, 3}));
  EXPECT_EQ(tap_of(MLBENCH_TAP_Q, 4, second_half), (TapId{Tap::q, 4}));
  for (const std::int64_t layer : {-1, 2, 5}) EXPECT_EQ(tap_of(MLBENCH_TAP_Q, layer, second_half), std::nullopt);
  EXPECT_EQ(tap_of(MLBENCH_TAP_EMBED, -1, second_half), (TapId{Tap::embed, -1}));
  EXPECT_EQ(tap_of(MLBENCH_NUM_TAPS_OF_WORKERS, 3, second_half), std::nullopt);
}

}  // namespace
}  // namespace mlbench::plugin::test
