// Prefill and decode apart, the workers of both instances being threads: verified as any backend is, and against one
// instance that does all.
#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <tuple>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "backends/cpu/cpu_backend.h"
#include "backends/parallel/parallel_backend.h"
#include "harness/given_taps.h"
#include "harness/tokens.h"
#include "harness/verify_backend.h"
#include "models/parallel_rules.h"
#include "models/presets.h"
#include "models/synthetic.h"
#include "tests/support/error_code.h"

namespace mlbench::harness {
namespace {

using backends::Method;
using mlbench::test::code_of;
using ::testing::Contains;
using ::testing::HasSubstr;

struct Tested {
  Architecture architecture;
  Split split;
  DType dtype;
};

constexpr Architecture kArchitectures[] = {Architecture::llama, Architecture::olmo, Architecture::orion,
                                           Architecture::phi, Architecture::gpt_bigcode};

// As small as two shards and two unequal stages allow.
ModelConfig config_of(Architecture architecture) {
  if (architecture == Architecture::gpt_bigcode)
    return preset_config(small_preset(architecture), {{"n_layer", 3}, {"vocab_size", 97}});
  return preset_config(small_preset(architecture), {{"hidden_size", 64},
                                                    {"intermediate_size", 96},
                                                    {"num_hidden_layers", 3},
                                                    {"num_attention_heads", 4},
                                                    {"num_key_value_heads", 4},
                                                    {"vocab_size", 97}});
}

std::vector<Tested> legal_splits() {
  std::vector<Tested> out;
  for (const Architecture architecture : kArchitectures) {
    for (const Split& split : {Split{1, 1}, Split{2, 1}, Split{1, 2}, Split{2, 2}}) {
      if (fault_of(config_of(architecture), split)) continue;
      for (const DType dtype : {DType::f32, DType::bf16}) out.push_back({architecture, split, dtype});
    }
  }
  return out;
}

std::string name_of(const testing::TestParamInfo<Tested>& tested) {
  return fmt::format("{}_tp{}_pp{}_{}", name(tested.param.architecture), tested.param.split.tensor_parallel,
                     tested.param.split.pipeline_parallel, name(tested.param.dtype));
}

backends::RunConfig run_of(const Tested& tested) {
  return {.dtype = tested.dtype,
          .threads = 1,
          .tensor_parallel = tested.split.tensor_parallel,
          .pipeline_parallel = tested.split.pipeline_parallel,
          .disaggregated = true};
}

// The CPU backend, whose workers are threads.
struct Apart {
  std::unique_ptr<backends::Backend> cpu = cpu::make_cpu_backend();
  std::unique_ptr<parallel::PartHolders> holders = parallel::make_thread_holders(*cpu);
  std::unique_ptr<backends::Backend> backend =
      parallel::make_parallel_backend(*cpu, [this](const backends::RunConfig&) { return holders.get(); });
};

class PrefillAndDecodeApart : public testing::TestWithParam<Tested> {
 protected:
  Apart apart_;
  Workers workers_{2};
  Model model_ = make_synthetic(config_of(GetParam().architecture), GetParam().dtype, 1, workers_);
};

TEST_P(PrefillAndDecodeApart, PassVerification) {
  const ModelConfig& config = model_.config;
  BackendOptions options;
  options.run = run_of(GetParam());
  const BackendVerification result =
      verify_backend(model_, *apart_.backend, make_plan(config, Extent::quick, 1), options, workers_);
  EXPECT_EQ(result.error, "");
  EXPECT_TRUE(result.passed());
  for (const Finding& fault : result.faults) ADD_FAILURE() << fault.code << " " << fault.where << ": " << fault.text;
  if (const TapCheck* failure = result.first_failure()) ADD_FAILURE() << failure->tap << " in " << failure->call;
  std::set<std::string> kinds;
  for (const TapCheck& check : result.checks) kinds.insert(check.kind);
  EXPECT_THAT(kinds, Contains("cache.k"));
  ASSERT_EQ(result.unsupported.size(), 1U);
  EXPECT_EQ(result.unsupported[0].what, "story window");
  EXPECT_THAT(result.unsupported[0].reason, HasSubstr("window"));
}

INSTANTIATE_TEST_SUITE_P(Legal, PrefillAndDecodeApart, testing::ValuesIn(legal_splits()), name_of);

constexpr KvLimits kLimits{.max_batch_size = 3, .max_total_seq_len = 64, .prefill_chunk_size = 16, .page_size = 4};
constexpr SeqId kPrompt = 0, kOther = 1;

// A model held twice, and one cache of it.
class Held {
 public:
  explicit Held(const Tested& tested)
      : model_(make_synthetic(config_of(tested.architecture), tested.dtype, 1, workers_)),
        session_(apart_.backend->load(model_, run_of(tested))),
        cache_(session_->create_paged_kv_cache(kLimits)) {
    for (const SeqId id : {kPrompt, kOther}) cache_->add_sequence(id);
  }

  [[nodiscard]] backends::KvCache& cache() { return *cache_; }
  [[nodiscard]] const ModelConfig& config() const { return model_.config; }

  // Rows of new tokens, of all of which hidden rows are returned. Keys and values of each are kept.
  void forward(const std::vector<SeqId>& ids, const std::vector<Index>& lengths) {
    Index rows = 0;
    for (const Index length : lengths) rows += length;
    HostTensor x(session_->arithmetic().activations, {rows, config().hidden_size}), out = x;
    session_->embed(tokens_.take(rows), x.view());
    const Shape shape = {1, rows, config().hidden_size};
    GivenTaps taps;
    cache_->begin_forward(ids, lengths, std::nullopt);
    const std::vector<std::int32_t> positions = cache_->get_query_positions();
    session_->forward(Method::batch_prefill_to_last_hidden_states, std::move(x).reshaped(shape).view(), {}, *cache_,
                      TensorView{out.dtype(), shape, out.bytes().data()}, &taps);
    EXPECT_EQ(cache_->get_query_positions(), positions);
    cache_->end_forward();
    std::size_t row = 0;
    for (std::size_t s = 0; s < ids.size(); ++s) {
      for (Index i = 0; i < lengths[s]; ++i, ++row) keep(ids[s], positions[row], static_cast<Index>(row), rows, taps);
    }
  }

  void expect_computed_entries(SeqId id) {
    const Index length = cache_->sequence_length(id), width = config().num_kv_heads * config().head_dim;
    const DType type = session_->arithmetic().kv_cache;
    HostTensor keys(type, {config().num_layers, length, config().num_kv_heads, config().head_dim}), values = keys;
    cache_->debug_get_kv(id, 0, length, keys.view(), values.view());
    const Tensor<double> k = keys.widened(), v = values.widened();
    for (Index layer = 0; layer < config().num_layers; ++layer) {
      for (Index entry = 0; entry < length; ++entry) {
        for (const auto& [tap, stored] : {std::pair(Tap::k, &k), std::pair(Tap::v, &v)}) {
          const auto at = stored->values().subspan(static_cast<std::size_t>((layer * length + entry) * width),
                                                   static_cast<std::size_t>(width));
          EXPECT_TRUE(std::ranges::equal(at, computed_.at({id, entry, layer, tap})))
              << name(tap) << " of layer " << layer << ", entry " << entry;
        }
      }
    }
  }

 private:
  // [Hkv, T, d]: one row, its heads side by side.
  void keep(SeqId id, Index position, Index row, Index rows, const GivenTaps& taps) {
    for (Index layer = 0; layer < config().num_layers; ++layer) {
      for (const Tap tap : {Tap::k, Tap::v}) {
        const Tensor<double> all = taps.find({tap, layer})->widened();
        std::vector<double>& to = computed_[{id, position, layer, tap}];
        to.clear();
        for (Index head = 0; head < config().num_kv_heads; ++head) {
          const auto one = all.values().subspan(static_cast<std::size_t>((head * rows + row) * config().head_dim),
                                                static_cast<std::size_t>(config().head_dim));
          to.insert(to.end(), one.begin(), one.end());
        }
      }
    }
  }

  Apart apart_;
  Workers workers_{1};
  Model model_;
  Tokens tokens_{97, 3};
  std::unique_ptr<backends::Session> session_;
  std::unique_ptr<backends::KvCache> cache_;
  std::map<std::tuple<SeqId, Index, Index, Tap>, std::vector<double>> computed_;
};

class CachesApart : public testing::TestWithParam<Tested> {};

// What the decode instance holds is to the bit what whoever computed it showed: of a prompt, of a token that it decoded
// itself, of a piece of a prompt behind both, and beside another sequence.
TEST_P(CachesApart, HoldWhatWasComputed) {
  Held held(GetParam());
  held.forward({kPrompt}, {11});
  held.expect_computed_entries(kPrompt);
  held.forward({kPrompt}, {1});
  held.forward({kOther, kPrompt}, {1, 6});
  held.cache().popn(kPrompt, 3);
  held.forward({kPrompt, kOther}, {2, 5});
  held.expect_computed_entries(kPrompt);
  held.expect_computed_entries(kOther);
}

INSTANTIATE_TEST_SUITE_P(Legal, CachesApart, testing::ValuesIn(legal_splits()), name_of);

constexpr Tested kOne{Architecture::llama, {1, 1}, DType::f32};

// A fork may be longer than what the prefill instance has of its parent, or shorter.
TEST(PrefillAndDecode, GoOnFromForks) {
  for (const Index pos : {3, 8, 10}) {
    Held held(kOne);
    held.forward({kPrompt}, {9});
    held.forward({kPrompt}, {1});
    held.cache().fork_sequence(kPrompt, 2, pos);
    held.forward({2}, {4});
    EXPECT_EQ(held.cache().sequence_length(2), pos + 4);
    held.forward({kPrompt}, {3});
    held.expect_computed_entries(kPrompt);
  }
}

// The same codes as of one instance, and nothing changed.
TEST(PrefillAndDecode, RefuseWhatOneInstanceRefuses) {
  Apart apart;
  Workers workers(1);
  const Model model = make_synthetic(config_of(kOne.architecture), DType::f32, 1, workers);
  const auto session = apart.backend->load(model, run_of(kOne));
  const auto alone = apart.cpu->load(model, {.threads = 1});
  struct Request {
    std::vector<SeqId> ids;
    std::vector<Index> lengths;
    std::string code;
  };
  const Request requests[] = {{{7}, {4}, "kv.unknown_seq"},
                              {{0, 0}, {4, 4}, "kv.bad_argument"},
                              {{0}, {4, 4}, "kv.bad_argument"},
                              {{0, 1}, {4, 0}, "kv.bad_argument"},
                              {{0, 1}, {9, 8}, "kv.chunk_too_large"},
                              {{2}, {2}, "kv.uncommitted_tree"},
                              {{0}, {12}, "kv.full"}};
  for (backends::Session* each : {session.get(), alone.get()}) {
    const auto cache = each->create_paged_kv_cache(
        {.max_batch_size = 3, .max_total_seq_len = 8, .prefill_chunk_size = 16, .page_size = 4});
    for (SeqId id = 0; id < 3; ++id) cache->add_sequence(id);
    HostTensor x(DType::f32, {1, 1, model.config.hidden_size}), out = x;
    cache->begin_forward(std::vector<SeqId>{2}, std::vector<Index>{1}, std::vector<Index>{-1});
    each->forward(Method::batch_verify_to_last_hidden_states, x.view(), {}, *cache, out.view(), nullptr);
    cache->end_forward();
    const Index free = cache->num_available_pages();
    for (const Request& request : requests) {
      EXPECT_EQ(code_of([&] { cache->begin_forward(request.ids, request.lengths, std::nullopt); }), request.code);
      EXPECT_EQ(cache->num_available_pages(), free);
      EXPECT_EQ(cache->total_sequence_length(), 1);
    }
  }
}

TEST(PrefillAndDecode, RefuseWhatTheyCannotTransfer) {
  Apart apart;
  Workers workers(1);
  const Model model = make_synthetic(config_of(Architecture::gpt_bigcode), DType::f32, 1, workers);
  const auto session = apart.backend->load(model, run_of({Architecture::gpt_bigcode, {1, 1}, DType::f32}));
  KvLimits windows = kLimits;
  windows.support_sliding_window = true;
  EXPECT_EQ(code_of([&] { (void)session->create_paged_kv_cache(windows); }), "kv.unsupported");
  ModelConfig dynamic = config_of(Architecture::llama);
  dynamic.rope.kind = RopeKind::dynamic;
  EXPECT_THAT(apart.backend->supports(dynamic, run_of(kOne)).reason, HasSubstr("prefill and decode apart: dynamic"));
}

// A prompt that was announced has to be computed: what its slots wait for would never come.
TEST(PrefillAndDecode, WaitForAForward) {
  Held held(kOne);
  held.cache().begin_forward(std::vector<SeqId>{kPrompt}, std::vector<Index>{4}, std::nullopt);
  EXPECT_EQ(code_of([&] { held.cache().end_forward(); }), "kv.state");
  held.cache().clear();
  held.cache().add_sequence(kPrompt);
  held.forward({kPrompt}, {4});
  held.expect_computed_entries(kPrompt);
}

}  // namespace
}  // namespace mlbench::harness
