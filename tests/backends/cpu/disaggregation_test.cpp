// Prefill in one session, decode in another, as one session computes it: bit for bit, where its calls have the same
// rows.
#include <algorithm>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "backends/in_process_kv.h"
#include "tests/backends/cpu/side_by_side.h"

namespace mlbench::cpu::test {
namespace {

using backends::InProcessKv;
using ref::test::joined;
using ref::test::slice;
using ref::test::small_model;
using ref::test::some_tokens;

constexpr KvLimits kFewEntries{.max_batch_size = 4, .max_total_seq_len = 96, .prefill_chunk_size = 32, .page_size = 4};
constexpr SeqId kPrompt = 0, kOther = 1, kFork = 2;

struct Case {
  Architecture architecture;
  DType dtype;
};

// A session and its cache.
class Engine {
 public:
  Engine(const Model& model, DType dtype)
      : config_(&model.config), session_(load(model, dtype)), cache_(session_->create_paged_kv_cache(kFewEntries)) {
    for (const SeqId id : {kPrompt, kOther}) cache_->add_sequence(id);
  }

  [[nodiscard]] backends::KvCache& cache() { return *cache_; }
  // The logits of all rows.
  HostTensor forward(const std::vector<SeqId>& ids, const std::vector<Index>& lengths, const Ids& tokens) {
    return run_alone(*session_, *cache_, *config_, {.ids = ids, .lengths = lengths, .tokens = tokens});
  }
  HostTensor forward(SeqId id, const Ids& tokens) { return forward({id}, {static_cast<Index>(tokens.size())}, tokens); }
  // Keys, then values.
  [[nodiscard]] std::vector<HostTensor> entries(SeqId id) const {
    const Index length = cache_->sequence_length(id);
    const Shape shape = {config_->num_layers, length, config_->num_kv_heads, config_->head_dim};
    std::vector<HostTensor> out;
    for (int i = 0; i < 2; ++i) out.emplace_back(session_->arithmetic().kv_cache, shape);
    cache_->debug_get_kv(id, 0, length, out[0].view(), out[1].view());
    return out;
  }

 private:
  const ModelConfig* config_;
  std::unique_ptr<backends::Session> session_;
  std::unique_ptr<backends::KvCache> cache_;
};

class Disaggregated : public testing::TestWithParam<Case> {
 protected:
  Disaggregated() {
    decode_offset_ = workers_.add_instance();
    decode_.cache().connect(workers_.worker(decode_offset_));
    prefill_.cache().connect(workers_.worker(workers_.add_instance()));
  }

  [[nodiscard]] Ids prompt(std::size_t begin, std::size_t end) const { return slice(prompt_, begin, end - begin); }
  // The same steps on the decode instance and on the one that has done all itself.
  void expect_alike(SeqId id, const std::vector<Ids>& steps) {
    for (const Ids& step : steps) EXPECT_EQ(decode_.forward(id, step), alone_.forward(id, step));
    EXPECT_EQ(decode_.entries(id), alone_.entries(id));
  }

  Model model_ = small_model(GetParam().architecture);
  InProcessKv workers_;
  Engine decode_{model_, GetParam().dtype}, prefill_{model_, GetParam().dtype}, alone_{model_, GetParam().dtype};
  Index decode_offset_ = -1;
  Ids prompt_ = some_tokens(19);
};

TEST_P(Disaggregated, EqualsOneSession) {
  const SlotRuns slots = decode_.cache().disagg_prepare_recv(kPrompt, 18);
  prefill_.cache().disagg_mark_send(kPrompt, 0, slots, decode_offset_);
  for (const auto& [begin, end] : {std::pair(0U, 10U), std::pair(10U, 18U)}) {
    (void)prefill_.forward(kPrompt, prompt(begin, end));
    (void)alone_.forward(kPrompt, prompt(begin, end));
  }
  expect_alike(kPrompt, {prompt(18, 19), some_tokens(1, 31), some_tokens(1, 32)});
}

TEST_P(Disaggregated, BehindASharedPrefixAndAmidOthersEqualsOneSession) {
  for (Engine* engine : {&decode_, &prefill_, &alone_}) (void)engine->forward(kPrompt, prompt(0, 6));
  const SlotRuns slots = decode_.cache().disagg_prepare_recv(kPrompt, 9);
  prefill_.cache().disagg_mark_send(kPrompt, 6, slots, decode_offset_);
  (void)decode_.forward(kOther, some_tokens(7, 5));
  for (Engine* engine : {&prefill_, &alone_})
    (void)engine->forward({kOther, kPrompt}, {7, 5}, joined(some_tokens(7, 5), prompt(6, 11)));
  (void)prefill_.forward(kPrompt, prompt(11, 15));
  (void)alone_.forward(kPrompt, prompt(11, 15));
  expect_alike(kPrompt, {prompt(15, 19), some_tokens(1, 31)});
  for (Engine* engine : {&decode_, &alone_}) engine->cache().fork_sequence(kPrompt, kFork, 14);
  expect_alike(kFork, {some_tokens(3, 8)});
}

// What the prefill instance had before it was told goes in one piece with what it computes next.
TEST_P(Disaggregated, OfWhatIsCachedEqualsOneSession) {
  for (Engine* engine : {&prefill_, &alone_}) (void)engine->forward(kPrompt, prompt(0, 13));
  const SlotRuns slots = decode_.cache().disagg_prepare_recv(kPrompt, 18);
  prefill_.cache().disagg_mark_send(kPrompt, 0, slots, decode_offset_);
  for (Engine* engine : {&prefill_, &alone_}) (void)engine->forward(kPrompt, prompt(13, 18));
  expect_alike(kPrompt, {prompt(18, 19), some_tokens(1, 31)});
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const Architecture architecture : kArchitectures) {
    for (const DType dtype : {DType::f32, DType::bf16}) all.push_back({architecture, dtype});
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(Models, Disaggregated, testing::ValuesIn(cases()), [](const auto& tested) {
  return fmt::format("{}_{}", name(tested.param.architecture), name(tested.param.dtype));
});

}  // namespace
}  // namespace mlbench::cpu::test
