// A GPU backend as its callers see it, on the host executor: devices, refusals, and steps that are replayed.
#include "backends/gpu/gpu_backend.h"

#include <cstring>
#include <limits>

#include <gmock/gmock.h>

#include "backends/gpu/host_runtime.h"
#include "backends/gpu/rates.h"
#include "backends/in_process_kv.h"
#include "core/error.h"
#include "tests/reference/small_models.h"

namespace mlbench::gpu {
namespace {

using backends::Method;
using ref::test::small_model;
using ref::test::some_tokens;
using ::testing::HasSubstr;

// A vendor whose devices are what a test says.
class SomePlatform final : public Platform {
 public:
  explicit SomePlatform(std::vector<backends::DeviceInfo> devices) : devices_(std::move(devices)) {}
  [[nodiscard]] std::string_view name() const override { return "some"; }
  [[nodiscard]] std::string version() const override { return "Some 1.0"; }
  [[nodiscard]] std::vector<backends::DeviceInfo> devices() const override { return devices_; }
  [[nodiscard]] std::string why_none() const override { return devices_.empty() ? "no driver" : ""; }
  [[nodiscard]] std::unique_ptr<Runtime> make_runtime(int device) const override {
    throw Error(ErrorKind::internal, "backend.failed", "device " + std::to_string(device));
  }
  [[nodiscard]] int warp_width() const override { return 32; }

 private:
  std::vector<backends::DeviceInfo> devices_;
};

std::unique_ptr<backends::Backend> backend(std::vector<backends::DeviceInfo> devices = {}) {
  return make_gpu_backend(std::make_unique<SomePlatform>(std::move(devices)));
}

const std::vector<backends::DeviceInfo> kTwo = {{.id = "some:0", .description = "A", .memory_bytes = 1},
                                                {.id = "some:1", .description = "B", .memory_bytes = 1}};

TEST(GpuBackend, ListsItsDevicesAndTheHostLast) {
  const auto devices = backend(kTwo)->devices();
  ASSERT_EQ(devices.size(), 3U);
  EXPECT_EQ(devices[1].id, "some:1");
  EXPECT_EQ(devices[2].id, backends::kHostExecutor);
  EXPECT_THAT(devices[2].description, HasSubstr("host executor"));
}

TEST(GpuBackend, RunsOnTheHostOnlyWhereThatIsAskedFor) {
  const ModelConfig config = small_model(Architecture::llama).config;
  const auto none = backend();
  EXPECT_TRUE(none->supports(config, {.device = "host"}).ok);
  const backends::Support support = none->supports(config, {});
  EXPECT_FALSE(support.ok);
  EXPECT_THAT(support.reason, HasSubstr("no driver"));
  EXPECT_THAT(support.reason, HasSubstr("--device host"));
}

TEST(GpuBackend, TakesTheFirstDeviceUnlessOneIsNamed) {
  const Model model = small_model(Architecture::llama);
  const auto two = backend(kTwo);
  const auto device_of = [&](const char* id) -> std::string {
    try {
      (void)two->load(model, {.device = id});
    } catch (const Error& error) {
      return error.message();
    }
    return "loaded";
  };
  EXPECT_EQ(device_of(""), "device 0");
  EXPECT_EQ(device_of("some:1"), "device 1");
  EXPECT_THAT(device_of("some:2"), HasSubstr("some:0, some:1, host"));
}

TEST(GpuBackend, RefusesWhatItsKernelsDoNotHave) {
  const auto none = backend();
  const auto why_not = [&](const ModelConfig& config, DType dtype) {
    return none->supports(config, {.dtype = dtype, .device = "host"}).reason;
  };
  ModelConfig config = small_model(Architecture::llama).config;
  EXPECT_EQ(why_not(config, DType::bf16), "");
  EXPECT_THAT(why_not(config, DType::f64), HasSubstr("f64"));
  config.head_dim = 320;
  EXPECT_THAT(why_not(config, DType::f32), HasSubstr("320: not a head_dim"));
  config.head_dim = 64;
  config.num_heads = 65;
  config.num_kv_heads = 1;
  EXPECT_THAT(why_not(config, DType::f32), HasSubstr("65 query heads"));
  config.num_kv_heads = 65;
  config.rope.kind = RopeKind::yarn;
  EXPECT_THAT(why_not(config, DType::f32), HasSubstr("yarn"));
}

// Bytes and multiplications of this machine stand for a device's: neither is nothing, nor more than any device has.
TEST(Rates, OfADeviceAreThoseOfItsWork) {
  const auto runtime = make_host_runtime(32);
  const backends::DeviceRates rates = measure_rates(*runtime, DType::f32, 0.05, 1U << 20U);
  EXPECT_GT(rates.read_bytes_per_second, 1e6);
  EXPECT_LT(rates.read_bytes_per_second, 1e14);
  EXPECT_GT(rates.flops_per_second, 1e6);
  EXPECT_LT(rates.flops_per_second, 1e15);
  EXPECT_FALSE(backend()->measure_rates({.device = "host"}, 0.05).has_value());
}

// Of as many tokens as a cache may have, before any of it is asked for.
TEST(GpuBackend, RefusesACacheThatTheDeviceCannotHold) {
  const Model model = small_model(Architecture::llama);
  const auto session = backend()->load(model, {.device = "host"});
  const KvLimits limits{.max_batch_size = 1, .max_total_seq_len = std::numeric_limits<std::int32_t>::max(), .prefill_chunk_size = 1};
  try {
    (void)session->create_paged_kv_cache(limits);
    FAIL() << "it was made";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), "memory.exceeded");
    EXPECT_EQ(error.kind(), ErrorKind::unavailable);
  }
}

// ---- steps ----

class AllTaps final : public backends::TapSink {
 public:
  [[nodiscard]] bool wants(TapId) const override { return true; }
  void take(TapId, const ConstTensorView&) override { ++count; }
  int count = 0;
};

struct Case {
  Architecture architecture;
  DType dtype;
};

class Steps : public testing::TestWithParam<Case> {
 protected:
  static constexpr KvLimits kLimits{
      .max_batch_size = 3, .max_total_seq_len = 128, .prefill_chunk_size = 32, .page_size = 4};

  [[nodiscard]] std::unique_ptr<backends::KvCache> cache() const {
    auto cache = session_->create_paged_kv_cache(kLimits);
    for (const SeqId id : {0, 1}) cache->add_sequence(id);
    return cache;
  }
  // Logits of one new token for each of the sequences.
  [[nodiscard]] HostTensor step(backends::KvCache& cache, const std::vector<SeqId>& ids, std::uint32_t seed,
                                backends::TapSink* taps) const {
    const auto count = static_cast<Index>(ids.size());
    const std::vector<Index> lengths(ids.size(), 1);
    HostTensor x(DType::f32, {count, model_.config.hidden_size}), out(DType::f32, {count, 1, model_.config.vocab_size});
    session_->embed(some_tokens(count, seed), x.view());
    const HostTensor rows = std::move(x).reshaped({count, 1, model_.config.hidden_size});
    cache.begin_forward(ids, lengths, std::nullopt);
    session_->forward(Method::batch_decode, rows.view(), {}, cache, out.view(), taps);
    cache.end_forward();
    return out;
  }

  Model model_ = small_model(GetParam().architecture);
  std::unique_ptr<backends::Backend> backend_ = backend();
  std::unique_ptr<backends::Session> session_ = backend_->load(model_, {.dtype = GetParam().dtype, .device = "host"});
};

INSTANTIATE_TEST_SUITE_P(Architectures, Steps,
                         testing::Values(Case{Architecture::llama, DType::f32}, Case{Architecture::olmo, DType::bf16},
                                         Case{Architecture::orion, DType::f16}, Case{Architecture::phi, DType::f32},
                                         Case{Architecture::gpt_bigcode, DType::bf16}),
                         [](const auto& test) {
                           return std::string(name(test.param.architecture)) + "_" +
                                  std::string(name(test.param.dtype));
                         });

// With taps nothing is recorded; without, the second step of each shape is, and later ones replay it while sequences
// grow over pages, batches change, and other caches come and go.
TEST_P(Steps, ThatAreReplayedAreThoseThatTapsSee) {
  AllTaps taps;
  auto recorded = cache(), watched = cache();
  for (std::uint32_t i = 0; i < 24; ++i) {
    const std::vector<SeqId> ids = i % 5 == 4 ? std::vector<SeqId>{1} : std::vector<SeqId>{0, 1};
    EXPECT_EQ(step(*recorded, ids, i, nullptr), step(*watched, ids, i, &taps)) << "step " << i;
    if (i == 10) (void)step(*cache(), {0, 1}, i, nullptr);
  }
  EXPECT_GT(taps.count, 0);
}

// Disaggregated: another cache's entries serve as its own do. The steps of both are replayed.
TEST_P(Steps, GoOnFromEntriesThatAnotherCacheComputed) {
  backends::InProcessKv workers;
  const Index decode_offset = workers.add_instance(), prefill_offset = workers.add_instance();
  auto decode = cache(), prefill = cache(), alone = cache();
  decode->connect(workers.worker(decode_offset));
  prefill->connect(workers.worker(prefill_offset));
  prefill->disagg_mark_send(0, 0, decode->disagg_prepare_recv(0, 6), decode_offset);
  for (std::uint32_t i = 0; i < 6; ++i) EXPECT_EQ(step(*prefill, {0}, i, nullptr), step(*alone, {0}, i, nullptr));
  for (std::uint32_t i = 6; i < 10; ++i) EXPECT_EQ(step(*decode, {0}, i, nullptr), step(*alone, {0}, i, nullptr));
}

}  // namespace
}  // namespace mlbench::gpu
