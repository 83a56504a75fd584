// A backend is the same through the door: directly, through the table of functions, and through a process of its own.
#include <gmock/gmock.h>

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "backends/cpu/cpu_backend.h"
#include "backends/plugin.h"
#include "tests/backends/plugin/plugins.h"

namespace mlbench::plugin::test {
namespace {

using backends::Method;
using backends::Part;
using backends::RunConfig;
using backends::Support;
using testing::HasSubstr;

// Everything that a session said, in order: labels with bytes, numbers or errors behind them.
using Transcript = std::vector<std::pair<std::string, std::string>>;

std::string text_of(const ConstTensorView& view) {
  const std::size_t bytes = static_cast<std::size_t>(element_count(view.shape)) * size_bytes(view.dtype);
  return fmt::format("{} {} ", name(view.dtype), to_string(view.shape)) +
         std::string(reinterpret_cast<const char*>(view.data), bytes);
}

class Recorder final : public backends::TapSink {
 public:
  Recorder(Transcript& to, bool all) : to_(to), all_(all) {}
  // All taps, or those of one layer.
  [[nodiscard]] bool wants(TapId id) const override { return all_ || id.layer == 1; }
  void take(TapId id, const ConstTensorView& value) override { to_.emplace_back(to_string(id), text_of(value)); }

 private:
  Transcript& to_;
  bool all_;
};

class Story {
 public:
  Story(backends::Backend& backend, const Model& model, const RunConfig& run)
      : config_(model.config), session_(backend.load(model, run)), cache_(session_->create_paged_kv_cache(kLimits)) {
    type_ = session_->arithmetic().activations;
  }

  Transcript tell() {
    declarations();
    for (const SeqId id : {0, 1}) cache_->add_sequence(id);
    const std::vector<std::int32_t> last = {18, 2, 0};
    forward(Method::batch_prefill, {0, 1}, {17, 2}, last, std::nullopt, 0);
    forward(Method::batch_decode, {1, 0}, {1, 1});
    cache_->fork_sequence(0, 2, 16);
    cache_->fork_sequence(0, 3, -1);
    state();
    forward(Method::batch_verify, {2, 1}, {3, 2}, {}, std::vector<Index>{-1, 0, 0, -1, -1});
    cache_->commit_accepted_token_tree_nodes(std::vector<SeqId>{2, 1}, std::vector<Index>{2, -1});
    cache_->popn(3, 5);
    forward(Method::decode, {2}, {1});
    forward(Method::prefill, {3}, {4}, {}, std::nullopt, 3);
    for (const Method hidden : {Method::prefill_to_last_hidden_states, Method::batch_prefill_to_last_hidden_states,
                                Method::batch_verify_to_last_hidden_states})
      forward(hidden, {1}, {2}, {}, std::nullopt, 1);
    for (const Method hidden : {Method::decode_to_last_hidden_states, Method::batch_decode_to_last_hidden_states})
      forward(hidden, {1}, {1});
    cache_->remove_sequence(1);
    parts({0, 2}, {2, 1});
    entries(0);
    errors();
    state();
    cache_->clear();
    state();
    windows();
    return std::move(said_);
  }

 private:
  void say(const std::string& what, const std::string& value) { said_.emplace_back(what, value); }
  void say(const std::string& what, const HostTensor& value) { say(what, text_of(value.view())); }
  template <class Call>
  void fails(const std::string& what, Call call) {
    const std::string error = error_of(call);
    EXPECT_NE(error, "") << what;
    say("error: " + what, error);
  }

  void declarations() {
    const backends::Arithmetic a = session_->arithmetic();
    for (const DType type :
         {a.weights, a.activations, a.kv_cache, a.logits, a.product_inputs, a.attention_inputs, a.accumulation})
      say("arithmetic", std::string(name(type)));
    for (int tap = 0; tap < MLBENCH_NUM_TAPS; ++tap) {
      const Support support = session_->gives(static_cast<Tap>(tap));
      say("gives", fmt::format("{} {}", support.ok, support.reason));
    }
    const Support isolates = session_->isolates_layers();
    say("isolates", fmt::format("{} {}", isolates.ok, isolates.reason));
  }

  HostTensor embedded(Index count) {
    std::vector<std::int32_t> ids;
    for (Index i = 0; i < count; ++i) ids.push_back(static_cast<std::int32_t>(++token_ * 37 % 1000));
    HostTensor out(type_, {count, config_.hidden_size});
    session_->embed(ids, out.view());
    say("embed", out);
    return out;
  }

  // `padding` rows of x behind those announced. Twice every other call: with some taps, and without any.
  void forward(Method method, const std::vector<SeqId>& ids, const std::vector<Index>& lengths,
               const std::vector<std::int32_t>& positions = {},
               const std::optional<std::vector<Index>>& parents = std::nullopt, Index padding = 0) {
    Index rows = 0;
    for (const Index length : lengths) rows += length;
    const bool decode = method == Method::batch_decode || method == Method::batch_decode_to_last_hidden_states;
    const Index n = rows + padding, h = config_.hidden_size, V = config_.vocab_size;
    const HostTensor x = embedded(n).reshaped(decode ? Shape{n, 1, h} : Shape{1, n, h});
    Shape shape = x.shape();
    if (!returns_hidden(method)) {
      shape[2] = V;
      if (method == Method::prefill) shape[1] = 1;
      if (method == Method::batch_prefill) shape[1] = static_cast<Index>(positions.size());
    }
    HostTensor out(returns_hidden(method) ? type_ : DType::f32, shape);
    std::ranges::fill(out.bytes(), std::byte{0xFF});  // what the process leaves of a row that is padding
    cache_->begin_forward(ids, lengths, parents);
    for (const std::int32_t position : cache_->get_query_positions()) say("position", fmt::format("{}", position));
    Recorder recorder(said_, calls_ % 3 == 0);
    session_->forward(method, x.view(), positions, *cache_, out.view(), calls_ % 3 == 2 ? nullptr : &recorder);
    session_->synchronize();
    cache_->end_forward();
    ++calls_;
    say(std::string(backends::name(method)), out);
  }

  void parts(const std::vector<SeqId>& ids, const std::vector<Index>& lengths) {
    HostTensor x = embedded(3);
    cache_->begin_forward(ids, lengths, std::nullopt);
    Recorder recorder(said_, true);
    for (const Part part : {Part{Part::Kind::enter, -1}, Part{Part::Kind::layer, 0}, Part{Part::Kind::layer, 1},
                            Part{Part::Kind::final_norm, -1}}) {
      HostTensor out(type_, x.shape());
      session_->run_part(part, x.view(), *cache_, out.view(), &recorder);
      say("part", out);
      x = out;
    }
    cache_->end_forward();
    HostTensor chosen(type_, {2, config_.hidden_size}), logits(DType::f32, {2, config_.vocab_size});
    session_->batch_select_last_hidden_states(x.view(), std::vector<std::int32_t>{2, 0}, chosen.view());
    session_->get_logits(chosen.view(), logits.view());
    say("chosen", chosen);
    say("logits", logits);
  }

  void entries(SeqId id) {
    const Index n = cache_->sequence_length(id);
    const DType type = session_->arithmetic().kv_cache;
    HostTensor keys(type, {config_.num_layers, n, config_.num_kv_heads, config_.head_dim}), values = keys;
    cache_->debug_get_kv(id, 0, n, keys.view(), values.view());
    say("keys", keys);
    say("values", values);
    cache_->debug_set_kv(id, 0, values.view(), keys.view());
    cache_->debug_get_kv(id, 0, n, keys.view(), values.view());
    say("keys that were values", keys);
  }

  void state() {
    say("empty", fmt::format("{}", cache_->empty()));
    say("pages", fmt::format("{}", cache_->num_available_pages()));
    say("total", fmt::format("{}", cache_->total_sequence_length()));
    for (SeqId id = 0; id < 4; ++id) {
      std::string length;
      const std::string error = error_of([&] { length = fmt::format("{}", cache_->sequence_length(id)); });
      say("length", length + error.substr(0, error.find(':')));
    }
  }

  void errors() {
    const Index h = config_.hidden_size;
    HostTensor row(type_, {1, h}), logits(DType::f32, {1, 1, config_.vocab_size});
    const std::vector<SeqId> ids = {0};
    const std::vector<Index> one = {1}, many = {49};
    fails("no such sequence", [&] { cache_->popn(9, 1); });
    fails("twice", [&] { cache_->add_sequence(0); });
    fails("too far", [&] { cache_->fork_sequence(0, 1, 1000); });
    fails("too many", [&] { cache_->begin_forward(ids, many, std::nullopt); });
    fails("a length too few", [&] { cache_->begin_forward(ids, {}, std::nullopt); });
    fails("an empty tree", [&] { cache_->begin_forward(ids, one, std::vector<Index>{}); });
    fails("no forward", [&] { cache_->end_forward(); });
    fails("no rows", [&] { (void)cache_->get_query_positions(); });
    fails("no tree", [&] { cache_->commit_accepted_token_tree_nodes(ids, std::vector<Index>{0}); });
    fails("no window", [&] { cache_->enable_sliding_window_for_seq(0, 8, 2); });
    fails("no entries", [&] { cache_->debug_get_kv(0, 3, 3, row.view(), row.view()); });
    fails("no token", [&] { session_->embed(std::vector<std::int32_t>{-1}, row.view()); });
    fails("no room", [&] { session_->embed(std::vector<std::int32_t>{1, 2}, row.view()); });
    fails("no row",
          [&] { session_->batch_select_last_hidden_states(row.view(), std::vector<std::int32_t>{1}, row.view()); });
    const HostTensor x = HostTensor(type_, {1, h}).reshaped({1, 1, h});
    fails("not announced", [&] { session_->forward(Method::decode, x.view(), {}, *cache_, logits.view(), nullptr); });
    cache_->begin_forward(ids, one, std::nullopt);
    fails("in a forward", [&] { cache_->popn(0, 1); });
    fails("no layer", [&] { session_->run_part({Part::Kind::layer, 2}, row.view(), *cache_, row.view(), nullptr); });
    cache_->end_forward();
  }

  // Only GPT BigCode has them on the processor.
  void windows() {
    KvLimits limits = kLimits;
    limits.support_sliding_window = true;
    if (config_.architecture != Architecture::gpt_bigcode)
      return fails("windows", [&] { (void)session_->create_paged_kv_cache(limits); });
    cache_ = session_->create_paged_kv_cache(limits);
    cache_->add_sequence(0);
    cache_->enable_sliding_window_for_seq(0, 8, 2);
    forward(Method::prefill, {0}, {20});
    forward(Method::decode, {0}, {1});
    state();
  }

  ModelConfig config_;
  std::unique_ptr<backends::Session> session_;
  std::unique_ptr<backends::KvCache> cache_;
  DType type_ = DType::f32;
  Transcript said_;
  int calls_ = 0;
  std::int64_t token_ = 0;
};

// Equal; of an error the code is equal, and the name of the call may stand before the message.
bool same(const std::pair<std::string, std::string>& expected, const std::pair<std::string, std::string>& got) {
  if (expected == got || !expected.first.starts_with("error: ")) return expected == got;
  const std::size_t message = expected.second.find(": ") + 2;
  return got.second.starts_with(expected.second.substr(0, message)) &&
         got.second.ends_with(": " + expected.second.substr(message));
}

void expect_equal(const Transcript& expected, const Transcript& got) {
  ASSERT_EQ(expected.size(), got.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    ASSERT_EQ(expected[i].first, got[i].first) << "entry " << i;
    ASSERT_TRUE(same(expected[i], got[i]))
        << "entry " << i << ", " << got[i].first << ": " << expected[i].second.substr(0, 200) << "\nagainst "
        << got[i].second.substr(0, 200);
  }
}

class RoundTrip : public testing::TestWithParam<std::pair<Architecture, DType>> {};

TEST_P(RoundTrip, GivesEveryBitThatTheBackendGives) {
  const auto& [architecture, dtype] = GetParam();
  const Model model = small_model(architecture, dtype);
  const RunConfig run{.dtype = dtype, .threads = 1};
  const auto direct = cpu::make_cpu_backend();
  const Transcript expected = Story(*direct, model, run).tell();
  EXPECT_GT(expected.size(), 300U);
  expect_equal(expected, Story(*open_here(MLBENCH_PLUGIN_CPU), model, run).tell());
  expect_equal(expected, Story(*open_child(MLBENCH_PLUGIN_CPU), model, run).tell());
}

INSTANTIATE_TEST_SUITE_P(
    Models, RoundTrip,
    testing::Values(std::pair(Architecture::llama, DType::f32), std::pair(Architecture::llama, DType::bf16),
                    std::pair(Architecture::olmo, DType::f16), std::pair(Architecture::gpt_bigcode, DType::f32)),
    [](const auto& of) { return fmt::format("{}_{}", name(of.param.first), name(of.param.second)); });

TEST(ExamplePlugin, IsTheSameInBothWays) {
  const Model model = small_model(Architecture::llama, DType::bf16);
  const RunConfig run{.dtype = DType::bf16};
  const Transcript here = Story(*open_here(MLBENCH_PLUGIN_EXAMPLE), model, run).tell();
  expect_equal(here, Story(*open_child(MLBENCH_PLUGIN_EXAMPLE), model, run).tell());
}

TEST(Door, ShowsTheBackendAsItIs) {
  const auto direct = cpu::make_cpu_backend();
  const auto here = open_here(MLBENCH_PLUGIN_CPU), child = open_child(MLBENCH_PLUGIN_CPU);
  const Model model = small_model(Architecture::phi);
  for (const auto& backend : {here.get(), child.get()}) {
    EXPECT_EQ(backend->name(), "cpu-plugin");
    EXPECT_EQ(backend->version(), direct->version());
    ASSERT_EQ(backend->devices().size(), 1U);
    EXPECT_EQ(backend->devices()[0].id, direct->devices()[0].id);
    EXPECT_EQ(backend->devices()[0].description, direct->devices()[0].description);
    EXPECT_EQ(backend->devices()[0].memory_bytes, direct->devices()[0].memory_bytes);
    const RunConfig all[] = {{.dtype = DType::f64},
                             {.device = "gpu 7"},
                             {.threads = -2},
                             {.tensor_parallel = 2, .pipeline_parallel = 3, .shard = 1, .stage = 2},
                             {.dtype = DType::f16}};
    for (const RunConfig& run : all) {
      const Support expected = direct->supports(model.config, run), got = backend->supports(model.config, run);
      EXPECT_EQ(got.ok, expected.ok);
      EXPECT_EQ(got.reason, expected.reason);
    }
  }
}

TEST(Door, AModelThatIsNotSupportedIsNotLoaded) {
  const Model model = small_model(Architecture::llama);
  for (const auto& backend : {open_here(MLBENCH_PLUGIN_CPU), open_child(MLBENCH_PLUGIN_CPU)}) {
    EXPECT_THAT(error_of([&] { (void)backend->load(model, {.dtype = DType::f64}); }),
                HasSubstr("config.unsupported: f64"));
  }
}

// The copy for the process is counted: parameters times the size of the type.
TEST(Door, MemoryCountsTheCopyOfTheWeights) {
  const auto direct = cpu::make_cpu_backend();
  const ModelConfig config = small_model(Architecture::llama).config;
  const RunConfig run{.dtype = DType::bf16};
  const backends::MemoryEstimate expected = direct->memory(config, run, kLimits);
  const backends::MemoryEstimate here = open_here(MLBENCH_PLUGIN_CPU)->memory(config, run, kLimits);
  EXPECT_EQ(here.weights_bytes, expected.weights_bytes);
  EXPECT_EQ(here.cache_bytes, expected.cache_bytes);
  EXPECT_EQ(here.scratch_bytes, expected.scratch_bytes);
  const backends::MemoryEstimate child = open_child(MLBENCH_PLUGIN_CPU)->memory(config, run, kLimits);
  // Two layers: q and o 192 x 192, k and v 64 x 192, three of 520 x 192, two norms; two matrices 1031 x 192, a norm.
  const std::uint64_t parameters = 2 * (2 * 192 * 192 + 2 * 64 * 192 + 3 * 520 * 192 + 2 * 192) + (2 * 1031 + 1) * 192;
  EXPECT_EQ(child.weights_bytes, expected.weights_bytes + 2 * parameters);
  EXPECT_EQ(child.scratch_bytes, expected.scratch_bytes + 2 * 48 * 1031 * 4);  // 48 rows of logits, twice
}

TEST(Door, RatesCrossAsTheyAre) {
  for (const auto& backend : {open_here(MLBENCH_PLUGIN_FAULTY), open_child(MLBENCH_PLUGIN_FAULTY)}) {
    EXPECT_EQ(backend->measure_rates({.dtype = DType::bf16, .threads = 3}, 0.25),
              (backends::DeviceRates{3e9 + 250.0, 2e12}));
    EXPECT_EQ(backend->measure_rates({.dtype = DType::f32, .threads = 1}, 2.0),
              (backends::DeviceRates{1e9 + 2000.0, 1e12}));
  }
}

// Of our own, where they are offered and where what was asked for is refused.
TEST(Door, RatesOfABackendOfOursCrossToo) {
  for (const auto& backend : {open_here(MLBENCH_PLUGIN_CPU), open_child(MLBENCH_PLUGIN_CPU)}) {
    const auto rates = backend->measure_rates({.threads = 1}, 0.01);
    ASSERT_TRUE(rates);
    EXPECT_GT(rates->flops_per_second, 0.0);
    EXPECT_THAT(error_of([&] { (void)backend->measure_rates({.dtype = DType::f64}, 0.01); }),
                HasSubstr("config.unsupported: "));
  }
}

TEST(Door, RatesThatAreNotOfferedAreNothing) {
  for (const auto& backend : {open_here(MLBENCH_PLUGIN_EXAMPLE), open_child(MLBENCH_PLUGIN_EXAMPLE)})
    EXPECT_FALSE(backend->measure_rates({}, 0.01));
  // No function; one that measures nothing; a library from before there was one, whose table ends earlier.
  for (const char* what : {"null rates", "zero rates", "old table"}) {
    const Fault fault(what);
    for (const auto& backend : {open_here(MLBENCH_PLUGIN_FAULTY), open_child(MLBENCH_PLUGIN_FAULTY)}) {
      EXPECT_FALSE(backend->measure_rates({}, 0.01)) << what;
      EXPECT_TRUE(backend->supports(small_model(Architecture::llama).config, {})) << what;
    }
  }
}

TEST(Door, ACacheOfAnotherSessionIsRefused) {
  const Model model = small_model(Architecture::llama);
  for (const auto& backend : {open_here(MLBENCH_PLUGIN_EXAMPLE), open_child(MLBENCH_PLUGIN_EXAMPLE)}) {
    const auto a = backend->load(model, {}), b = backend->load(model, {});
    const auto cache = a->create_paged_kv_cache(kLimits);
    HostTensor x(DType::f32, {1, 1, model.config.hidden_size}), out = x;
    EXPECT_THAT(
        error_of([&] { b->forward(Method::decode_to_last_hidden_states, x.view(), {}, *cache, out.view(), nullptr); }),
        HasSubstr("kv.state: the cache was made by another session"));
  }
}

// With tied matrices the weights cross once, and both names stand for them.
TEST(Door, TiedMatricesAreOne) {
  const Model model = small_model(Architecture::llama, DType::f32, {{"tie_word_embeddings", true}});
  const auto child = open_child(MLBENCH_PLUGIN_EXAMPLE);
  const auto session = child->load(model, {});
  const auto same = open_here(MLBENCH_PLUGIN_EXAMPLE)->load(model, {});
  HostTensor hidden(DType::f32, {1, model.config.hidden_size});
  session->embed(std::vector<std::int32_t>{5}, hidden.view());
  HostTensor a(DType::f32, {1, model.config.vocab_size}), b = a;
  session->get_logits(hidden.view(), a.view());
  same->get_logits(hidden.view(), b.view());
  EXPECT_EQ(a, b);
}

}  // namespace
}  // namespace mlbench::plugin::test
