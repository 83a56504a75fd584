// A cache that was used before: no slot holds a number, and what reads one that it should not is found.
#include "harness/dirty_cache.h"

#include <algorithm>
#include <cmath>
#include <set>

#include <gmock/gmock.h>

#include "harness/cases.h"
#include "harness/reference_backend.h"
#include "harness/verify_backend.h"
#include "models/presets.h"
#include "models/synthetic.h"
#include "tests/harness/around.h"

namespace mlbench::harness {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

// What stands in slots that were handed out and not written since, keys and values.
std::vector<double> stale_entries(const ModelConfig& config, backends::KvCache& cache, DType type, SeqId id,
                                  Index count) {
  const Index begin = cache.sequence_length(id);
  const SeqId ids[] = {id};
  const Index lengths[] = {count};
  cache.begin_forward(ids, lengths, std::nullopt);
  cache.end_forward();
  HostTensor keys(type, {config.num_layers, count, config.num_kv_heads, config.head_dim}), values = keys;
  cache.debug_get_kv(id, begin, begin + count, keys.view(), values.view());
  const ref::Tensor k = keys.widened(), v = values.widened();
  std::vector<double> out(k.values().begin(), k.values().end());
  out.insert(out.end(), v.values().begin(), v.values().end());
  return out;
}

// As many slots as sequences of the story may ever hold, and at least those of its rows.
void expect_dirty(const ModelConfig& config, const Story& story) {
  const KvLimits& limits = story.limits;
  Workers workers{1};
  const auto cpu = test::cpu_backend(), reference = make_reference_backend();
  const bool on_cpu = static_cast<bool>(cpu->supports(config, {.dtype = DType::f32})) && !limits.support_sliding_window;
  const DType type = on_cpu ? DType::f32 : DType::f64;
  const Model model = make_synthetic(config, type, 1, workers);
  const auto session = (on_cpu ? cpu : reference)->load(model, {.dtype = type, .threads = 1});
  const auto cache = session->create_paged_kv_cache(limits);
  const Index pages = cache->num_available_pages();
  std::vector<Finding> faults;
  make_dirty(config, limits, *session, *cache, [&](Finding fault) { faults.push_back(std::move(fault)); });
  EXPECT_THAT(faults, IsEmpty());
  EXPECT_TRUE(cache->empty());
  ASSERT_EQ(cache->num_available_pages(), pages);
  const Index longest = config.rope.kind == RopeKind::dynamic ? pages * limits.page_size : longest_sequence(config);
  Index left = std::min(pages * limits.page_size, longest * limits.max_batch_size);
  EXPECT_GE(left, total_rows({story}));
  cache->add_sequence(0);
  while (left > 0) {
    const Index count = std::min(left, limits.prefill_chunk_size);
    const std::vector<double> stale = stale_entries(config, *cache, type, 0, count);
    ASSERT_TRUE(std::ranges::all_of(stale, [](double value) { return std::isnan(value); })) << left << " slots left";
    left -= count;
  }
}

class DirtyCache : public ::testing::TestWithParam<Architecture> {};
INSTANTIATE_TEST_SUITE_P(Architectures, DirtyCache, ::testing::ValuesIn(kArchitectures),
                         [](const auto& arch) { return std::string(name(arch.param)); });

// In every story of every case, that is: whatever page a call gets, nothing in it is a number.
TEST_P(DirtyCache, HoldsNoNumberInAnySlot) {
  ModelConfig config = preset_config(small_preset(GetParam()));
  config.num_layers = 1;
  for (const VerifyCase& one : make_cases(config, make_plan(config, Extent::quick, 1), kInputs, 1)) {
    for (const Story& story : one.plan) {
      SCOPED_TRACE(story.name);
      expect_dirty(one.config.value_or(config), story);
    }
  }
}

// ---- what it finds ----

ModelConfig small() { return preset_config(small_preset(Architecture::olmo), {{"num_hidden_layers", 1}}); }

class AReader : public ::testing::Test {
 protected:
  BackendVerification verify(backends::Backend& backend, bool chained) {
    BackendOptions options;
    options.run = {.dtype = DType::f32, .threads = 1};
    options.isolated = !chained;
    options.chained = chained;
    Plan plan = make_plan(small(), Extent::quick, 1);
    plan.resize(1);  // a prompt with padding, decoding, popn
    return verify_backend(make_synthetic(small(), DType::f32, 1, workers_), backend, plan, options, workers_);
  }

  Workers workers_{1};
};

// Knows what stood in the slot that the first new token of a call gets, before it was written: times 0.
class LooksTooEarly final : public test::CacheAround {
 public:
  using CacheAround::CacheAround;
  void begin_forward(std::span<const SeqId> ids, std::span<const Index> lengths,
                     const std::optional<std::vector<Index>>& tree_parents) override {
    zero_times_stale_ = 0.0F * static_cast<float>(stale_entries(small(), inner(), DType::f32, ids[0], 1).back());
    inner().popn(ids[0], 1);
    CacheAround::begin_forward(ids, lengths, tree_parents);
  }
  [[nodiscard]] float zero_times_stale() const { return zero_times_stale_; }

 private:
  float zero_times_stale_ = 0.0F;
};

// Adds that to the first row of its results: nothing, where the slot holds any number.
class AddsStaleEntries final : public test::SessionAround {
 public:
  using SessionAround::SessionAround;
  [[nodiscard]] std::unique_ptr<backends::KvCache> create_paged_kv_cache(const KvLimits& limits) override {
    return std::make_unique<LooksTooEarly>(inner().create_paged_kv_cache(limits));
  }
  void forward(backends::Method method, const ConstTensorView& x, std::span<const std::int32_t> positions,
               backends::KvCache& cache, const TensorView& out, backends::TapSink* taps) override {
    SessionAround::forward(method, x, positions, cache, out, taps);
    add(cache, out);
  }
  void run_part(const backends::Part& part, const ConstTensorView& x, backends::KvCache& cache, const TensorView& out,
                backends::TapSink* taps) override {
    SessionAround::run_part(part, x, cache, out, taps);
    if (part.kind == backends::Part::Kind::layer) add(cache, out);
  }

 private:
  static void add(const backends::KvCache& cache, const TensorView& out) {
    test::floats(out)[0] += dynamic_cast<const LooksTooEarly&>(cache).zero_times_stale();
  }
};

TEST_F(AReader, OfStaleSlotsIsFoundInBothModes) {
  const auto backend = test::cpu_with_session<AddsStaleEntries>();
  for (const bool chained : {false, true}) {
    const BackendVerification run = verify(*backend, chained);
    EXPECT_EQ(run.error, "");
    ASSERT_NE(run.first_failure(), nullptr) << chained;
    EXPECT_EQ(run.first_failure()->tap, chained ? "logits" : "layers.0.out");
    EXPECT_TRUE(std::isnan(run.first_failure()->worst->computed));
  }
}

// Adds 0 times the last row of x to the first row of its results.
class ReadsPadding final : public test::SessionAround {
 public:
  using SessionAround::SessionAround;
  void forward(backends::Method method, const ConstTensorView& x, std::span<const std::int32_t> positions,
               backends::KvCache& cache, const TensorView& out, backends::TapSink* taps) override {
    SessionAround::forward(method, x, positions, cache, out, taps);
    test::floats(out)[0] += 0.0F * static_cast<float>(widened(x).values().back());
  }
};

TEST_F(AReader, OfPaddingIsFound) {
  const auto backend = test::cpu_with_session<ReadsPadding>();
  const BackendVerification run = verify(*backend, true);
  EXPECT_EQ(run.error, "");
  for (const TapCheck& check : run.checks)
    EXPECT_EQ(check.passed, check.call != "single/0 prefill" || check.tap != "logits") << check.call << check.tap;
  EXPECT_TRUE(verify(*test::cpu_backend(), true).passed());
}

// Writes one element too many, where padding would be written: the row behind the last.
class WritesBehindTheResult final : public test::SessionAround {
 public:
  using SessionAround::SessionAround;
  void get_logits(const ConstTensorView& hidden, const TensorView& out) override {
    SessionAround::get_logits(hidden, out);
    *(test::floats(out).data() + test::floats(out).size()) = 0.0F;
  }
};

TEST_F(AReader, ThatWritesBehindItsResultIsAtFault) {
  const BackendVerification run = verify(*test::cpu_with_session<WritesBehindTheResult>(), false);
  ASSERT_EQ(run.faults.size(), 1U);
  EXPECT_EQ(run.faults[0].code, "memory.canary");
  EXPECT_THAT(run.faults[0].where, HasSubstr("get_logits"));
  EXPECT_EQ(run.first_failure(), nullptr);
  EXPECT_EQ(run.verdict(), BackendVerification::Verdict::failed);
}

// Leaves the last row of logits to whoever comes next, and works in its input.
class LeavesAndChanges final : public test::SessionAround {
 public:
  using SessionAround::SessionAround;
  void forward(backends::Method method, const ConstTensorView& x, std::span<const std::int32_t> positions,
               backends::KvCache& cache, const TensorView& out, backends::TapSink* taps) override {
    HostTensor own(out.dtype, out.shape);
    SessionAround::forward(method, x, positions, cache, own.view(), taps);
    std::copy_n(own.bytes().begin(), own.bytes().size() - sizeof(float), out.data);
    *const_cast<std::byte*>(x.data) ^= std::byte{1};  // NOLINT(cppcoreguidelines-pro-type-const-cast)
  }
};

TEST_F(AReader, ThatLeavesAnElementUnwrittenOrWorksInItsInputIsAtFault) {
  const BackendVerification run = verify(*test::cpu_with_session<LeavesAndChanges>(), true);
  std::set<std::string> codes;
  for (const Finding& fault : run.faults) codes.insert(fault.code);
  EXPECT_EQ(codes, (std::set<std::string>{"memory.input", "memory.unwritten"}));
}

}  // namespace
}  // namespace mlbench::harness
