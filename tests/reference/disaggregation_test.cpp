// Prefill on one instance, decode on another (specification methods.md, section 10): the decode instance has the
// entries and the logits, to the last bit, that it would have computed alone.
#include <algorithm>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "reference/kv_exchange.h"
#include "reference/parallel_reference.h"
#include "tests/reference/small_models.h"
#include "tests/support/expect_error.h"

namespace mlbench::ref {
namespace {

using mlbench::test::code_of;
using test::Ids;
using test::joined;
using test::slice;
using test::small_model;
using test::some_tokens;

KvLimits limits(Index page_size) {
  return {.max_batch_size = 4, .max_total_seq_len = 128, .prefill_chunk_size = 32, .page_size = page_size};
}

// The workers of one instance and their caches, driven as one.
class Instance {
 public:
  Instance(const ParallelReference& reference, KvExchange& exchange, Index page_size = 4)
      : reference_(&reference),
        caches_(reference.create_paged_kv_caches(limits(page_size))),
        offset_(exchange.join(caches_, reference.split())) {}
  Instance(const Instance&) = delete;  // its caches stay where the exchange knows them
  Instance& operator=(const Instance&) = delete;
  Instance(Instance&&) = delete;
  Instance& operator=(Instance&&) = delete;
  ~Instance() = default;

  [[nodiscard]] Index offset() const { return offset_; }
  template <class Change>
  void each(const Change& change) {
    for (PagedKvCache& cache : caches_) change(cache);
  }
  // The logits of all rows.
  Tensor forward(const std::vector<SeqId>& ids, const std::vector<Index>& lengths, const Ids& tokens) {
    each([&](PagedKvCache& cache) { cache.begin_forward(ids, lengths); });
    Tensor hidden = reference_->forward(reference_->embed(tokens), caches_);
    each([](PagedKvCache& cache) { cache.end_forward(); });
    return reference_->get_logits(hidden);
  }
  Tensor forward(SeqId id, const Ids& tokens) { return forward({id}, {static_cast<Index>(tokens.size())}, tokens); }
  void add(SeqId id) {
    each([&](PagedKvCache& cache) { cache.add_sequence(id); });
  }
  SlotRuns prepare(SeqId id, Index count) {
    SlotRuns slots = caches_.front().disagg_prepare_recv(id, count);
    for (std::size_t worker = 1; worker < caches_.size(); ++worker)
      EXPECT_EQ(caches_[worker].disagg_prepare_recv(id, count), slots);
    return slots;
  }
  void mark(SeqId id, Index begin, const SlotRuns& slots, const Instance& receiver) {
    each([&](PagedKvCache& cache) { cache.disagg_mark_send(id, begin, slots, receiver.offset()); });
  }
  // By worker: keys, values, keys, ...
  [[nodiscard]] std::vector<Tensor> entries(SeqId id) const {
    std::vector<Tensor> out;
    for (const PagedKvCache& cache : caches_) {
      PagedKvCache::Entries entries = cache.debug_get_kv(id, 0, cache.sequence_length(id));
      out.push_back(std::move(entries.keys));
      out.push_back(std::move(entries.values));
    }
    return out;
  }

 private:
  const ParallelReference* reference_;
  std::vector<PagedKvCache> caches_;
  Index offset_;
};

struct Tested {
  Architecture architecture;
  Split split;
};

// Three layers, so that of two stages the first has two, and an even number of key-value heads.
Model model(Architecture architecture) {
  switch (architecture) {
    case Architecture::gpt_bigcode: return small_model(architecture, {{"n_layer", 3}});
    case Architecture::orion:
      return small_model(architecture,
                         {{"num_hidden_layers", 3}, {"num_attention_heads", 10}, {"num_key_value_heads", 10}});
    case Architecture::phi: return small_model(architecture, {{"num_hidden_layers", 3}, {"num_attention_heads", 6}});
    default: return small_model(architecture, {{"num_hidden_layers", 3}});
  }
}

constexpr SeqId kPrefix = 1, kPrompt = 2, kOther = 3, kFork = 0;

class Disaggregation : public testing::TestWithParam<Tested> {
 protected:
  Disaggregation()
      : reference_(model(GetParam().architecture), GetParam().split),
        decode_(reference_, exchange_),
        prefill_(reference_, exchange_),
        alone_(reference_, alone_exchange_) {}

  // Tokens [first, end) of the prompt on the prefill instance, in chunks.
  void prefill(Index first, Index end, Index chunk) {
    for (Index at = first; at < end; at += chunk)
      (void)prefill_.forward(kPrompt, prompt(at, std::min(at + chunk, end)));
  }
  [[nodiscard]] Ids prompt(Index begin, Index end) const {
    return slice(prompt_, static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin));
  }
  // Logits of the rest of the prompt from `end` on, and of two steps behind it.
  static std::vector<Tensor> go_on(Instance& instance, SeqId id, const Ids& rest) {
    std::vector<Tensor> logits;
    logits.push_back(instance.forward(id, rest));
    for (const std::uint32_t step : {31U, 32U}) logits.push_back(instance.forward(id, some_tokens(1, step)));
    return logits;
  }
  // The decode instance goes on from `end`, as one that has computed the whole prompt does.
  void expect_as_alone(Index end) {
    alone_.add(kPrompt);
    (void)alone_.forward(kPrompt, prompt(0, end));
    EXPECT_EQ(decode_.entries(kPrompt), alone_.entries(kPrompt));
    const Ids rest = prompt(end, static_cast<Index>(prompt_.size()));
    EXPECT_EQ(go_on(decode_, kPrompt, rest), go_on(alone_, kPrompt, rest));
    EXPECT_EQ(decode_.entries(kPrompt), alone_.entries(kPrompt));
  }

  ParallelReference reference_;
  KvExchange exchange_, alone_exchange_;
  Instance decode_, prefill_, alone_;
  Ids prompt_ = some_tokens(19);
};

TEST_P(Disaggregation, OfAllButTheLastTokenEqualsOneInstance) {
  const Index end = transfer_end(0, kAllButTheLast, 19);
  decode_.add(kPrompt);
  const SlotRuns slots = decode_.prepare(kPrompt, end);
  prefill_.add(kPrompt);
  prefill_.mark(kPrompt, 0, slots, decode_);
  prefill(0, end, end);
  expect_as_alone(end);
}

TEST_P(Disaggregation, InChunksEqualsOneInstance) {
  const Index end = transfer_end(0, -6, 19);  // the decode instance has a piece of the prompt to itself
  decode_.add(kPrompt);
  const SlotRuns slots = decode_.prepare(kPrompt, end);
  prefill_.add(kPrompt);
  prefill_.mark(kPrompt, 0, slots, decode_);
  prefill(0, end, 5);
  expect_as_alone(end);
}

// Neither begin nor end is a multiple of the page size; the prefix is another sequence's, too.
TEST_P(Disaggregation, BehindASharedPrefixEqualsOneInstance) {
  const Index begin = 6, end = 17;
  decode_.add(kPrefix);
  (void)decode_.forward(kPrefix, prompt(0, begin));
  decode_.each([](PagedKvCache& cache) { cache.fork_sequence(kPrefix, kPrompt); });
  const SlotRuns slots = decode_.prepare(kPrompt, end - begin);
  prefill_.add(kPrompt);
  prefill_.mark(kPrompt, begin, slots, decode_);
  prefill(0, end, 4);  // the first chunk sends nothing
  expect_as_alone(end);
}

// Entries from `begin` on that the prefill instance has in its cache already, as a fork, go with the next forward.
TEST_P(Disaggregation, OfWhatIsCachedEqualsOneInstance) {
  const Index begin = 3, cached = 9, end = 18;
  decode_.add(kPrompt);
  (void)decode_.forward(kPrompt, prompt(0, begin));
  const SlotRuns slots = decode_.prepare(kPrompt, end - begin);
  prefill_.add(kPrefix);
  (void)prefill_.forward(kPrefix, prompt(0, cached + 2));
  prefill_.each([](PagedKvCache& cache) { cache.fork_sequence(kPrefix, kPrompt, cached); });
  prefill_.mark(kPrompt, begin, slots, decode_);
  prefill(cached, end, 5);
  expect_as_alone(end);
}

// Other sequences on both sides, before, between and in the same calls; pages that were others' before.
TEST_P(Disaggregation, AmidOtherSequencesEqualsOneInstance) {
  const Index end = 18;
  for (const SeqId id : {kOther, kPrefix}) decode_.add(id);
  (void)decode_.forward({kOther, kPrefix}, {5, 9}, some_tokens(14, 77));
  decode_.each([](PagedKvCache& cache) { cache.remove_sequence(kOther); });
  for (const SeqId id : {kOther, kPrompt}) decode_.add(id);
  const SlotRuns slots = decode_.prepare(kPrompt, end);
  EXPECT_GT(slots.encoded().front(), 1) << "pages in a row would show less";
  for (const SeqId id : {kOther, kPrompt}) prefill_.add(id);
  prefill_.mark(kPrompt, 0, slots, decode_);
  (void)prefill_.forward({kOther, kPrompt}, {3, 7}, joined(some_tokens(3, 5), prompt(0, 7)));
  (void)decode_.forward({kPrefix, kOther}, {2, 3}, some_tokens(5, 78));
  prefill(7, end, 20);
  (void)decode_.forward(kOther, some_tokens(6, 79));
  expect_as_alone(end);
}

TEST_P(Disaggregation, AllowsForksAndPopnAfterwards) {
  const Index end = 18;
  decode_.add(kPrompt);
  const SlotRuns slots = decode_.prepare(kPrompt, end);
  prefill_.add(kPrompt);
  prefill_.mark(kPrompt, 0, slots, decode_);
  prefill(0, end, end);
  decode_.each([](PagedKvCache& cache) {
    cache.fork_sequence(kPrompt, kFork, 13);
    cache.popn(kPrompt, 3);
  });
  alone_.add(kFork);
  (void)alone_.forward(kFork, prompt(0, 13));
  EXPECT_EQ(go_on(decode_, kFork, prompt(0, 3)), go_on(alone_, kFork, prompt(0, 3)));
  EXPECT_EQ(decode_.entries(kFork), alone_.entries(kFork));
  expect_as_alone(end - 3);
}

// What the sender took back is computed anew with other tokens, and goes again.
TEST_P(Disaggregation, SendsAgainWhatWasTakenBack) {
  const Index end = 18;
  decode_.add(kPrompt);
  const SlotRuns slots = decode_.prepare(kPrompt, end);
  prefill_.add(kPrompt);
  prefill_.mark(kPrompt, 0, slots, decode_);
  prefill(0, 6, 6);
  (void)prefill_.forward(kPrompt, some_tokens(5, 99));
  prefill_.each([](PagedKvCache& cache) { cache.popn(kPrompt, 5); });
  prefill(6, end, 8);
  expect_as_alone(end);
}

std::vector<Tested> tested() {
  std::vector<Tested> all;
  for (const Architecture architecture : kArchitectures) {
    for (const Split split : {Split{1, 1}, Split{2, 1}, Split{1, 2}, Split{2, 2}}) {
      const bool legal = architecture != Architecture::gpt_bigcode || split.tensor_parallel == 1;
      if (legal) all.push_back({architecture, split});
    }
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(Splits, Disaggregation, testing::ValuesIn(tested()), [](const auto& tested) {
  return fmt::format("{}_tp{}_pp{}", name(tested.param.architecture), tested.param.split.tensor_parallel,
                     tested.param.split.pipeline_parallel);
});

// ---- the unsplit reference, and what is refused ----

class TwoCaches : public testing::Test {
 protected:
  explicit TwoCaches(Index page_size = 4)
      : decode_(driver_.make_cache(page_size)), prefill_(driver_.make_cache(page_size)) {
    decode_offset_ = exchange_.join({&decode_, 1});
    prefill_offset_ = exchange_.join({&prefill_, 1});
    for (PagedKvCache* cache : {&decode_, &prefill_}) cache->add_sequence(0);
  }
  [[nodiscard]] std::string mark(PagedKvCache& cache, const SlotRuns& slots, Index receiver_offset) const {
    return code_of([&] { cache.disagg_mark_send(0, 0, slots, receiver_offset); });
  }

  test::Driver driver_{small_model(Architecture::llama)};
  PagedKvCache decode_, prefill_;
  KvExchange exchange_;
  Index decode_offset_ = -1, prefill_offset_ = -1;
  Ids prompt_ = some_tokens(10);
};

TEST_F(TwoCaches, OfTheWholeModelEqualOne) {
  prefill_.disagg_mark_send(0, 0, decode_.disagg_prepare_recv(0, 9), decode_offset_);
  driver_.forward(prefill_, 0, slice(prompt_, 0, 9));
  PagedKvCache alone = driver_.make_cache(16);
  alone.add_sequence(0);
  driver_.forward(alone, 0, slice(prompt_, 0, 9));
  EXPECT_EQ(driver_.forward(decode_, 0, slice(prompt_, 9, 1)), driver_.forward(alone, 0, slice(prompt_, 9, 1)));
}

TEST_F(TwoCaches, WaitForEachOther) {
  prefill_.disagg_mark_send(0, 0, decode_.disagg_prepare_recv(0, 9), decode_offset_);
  EXPECT_EQ(decode_.sequence_length(0), 9);
  driver_.forward(prefill_, 0, slice(prompt_, 0, 8));
  EXPECT_EQ(code_of([&] { driver_.forward(decode_, 0, some_tokens(1)); }), "kv.state");
  EXPECT_EQ(code_of([&] { (void)decode_.debug_get_kv(0, 0, 1); }), "kv.state");
  EXPECT_EQ(code_of([&] { decode_.fork_sequence(0, 1); }), "kv.state");
  EXPECT_EQ(code_of([&] { driver_.forward(prefill_, 0, slice(prompt_, 8, 2)); }), "kv.bad_argument");
  driver_.forward(prefill_, 0, slice(prompt_, 8, 1));
  EXPECT_EQ(decode_.debug_get_kv(0, 0, 9).keys, prefill_.debug_get_kv(0, 0, 9).keys);
  driver_.forward(prefill_, 0, slice(prompt_, 9, 1));  // beyond the slots it goes on for itself
}

TEST_F(TwoCaches, SendWithEndForwardAndNotBefore) {
  const SlotRuns slots = decode_.disagg_prepare_recv(0, 9);
  prefill_.disagg_mark_send(0, 0, slots, decode_offset_);
  prefill_.begin_forward(std::vector<SeqId>{0}, std::vector<Index>{9});
  (void)driver_.reference().prefill(driver_.embedded(slice(prompt_, 0, 9)), prefill_);
  EXPECT_EQ(code_of([&] { (void)decode_.debug_get_kv(0, 0, 1); }), "kv.state");
  prefill_.end_forward();
  EXPECT_EQ(decode_.debug_get_kv(0, 0, 9).values, prefill_.debug_get_kv(0, 0, 9).values);
}

TEST_F(TwoCaches, LeaveASenderInPeaceWhoseReceiverIsGone) {
  prefill_.disagg_mark_send(0, 0, decode_.disagg_prepare_recv(0, 9), decode_offset_);
  driver_.forward(prefill_, 0, slice(prompt_, 0, 4));
  decode_.remove_sequence(0);
  decode_.add_sequence(0);
  driver_.forward(decode_, 0, prompt_);
  const auto before = decode_.debug_get_kv(0, 0, 10);
  driver_.forward(prefill_, 0, slice(prompt_, 4, 5));
  EXPECT_EQ(decode_.debug_get_kv(0, 0, 10).keys, before.keys);
  EXPECT_EQ(prefill_.sequence_length(0), 9);
}

TEST_F(TwoCaches, RefuseReceiversThatAreNone) {
  const SlotRuns slots = decode_.disagg_prepare_recv(0, 9);
  EXPECT_EQ(mark(prefill_, slots, -1), "kv.bad_argument");
  EXPECT_EQ(mark(prefill_, slots, 2), "kv.bad_argument");
  EXPECT_EQ(mark(prefill_, slots, prefill_offset_), "kv.bad_argument") << "its own";
  const Index beyond = (1024 / 4 + 1) * 4;
  EXPECT_EQ(mark(prefill_, SlotRuns(std::vector<Index>{beyond}), decode_offset_), "kv.bad_argument");
  PagedKvCache outside = driver_.make_cache(4);
  outside.add_sequence(0);
  EXPECT_EQ(mark(outside, slots, decode_offset_), "kv.state");
  PagedKvCache moved = std::move(prefill_);
  EXPECT_EQ(mark(moved, slots, decode_offset_), "kv.state");
  driver_.forward(moved, 0, prompt_);  // nothing was marked
}

TEST_F(TwoCaches, RefuseReceiversThatAreMadeOtherwise) {
  const SlotRuns slots = decode_.disagg_prepare_recv(0, 9);
  const auto with = [&](PagedKvCache cache, const Split& split = {}) {
    KvExchange exchange;
    cache.add_sequence(0);
    const Index offset = exchange.join({&decode_, 1});
    std::vector<PagedKvCache> caches;
    caches.push_back(std::move(cache));
    for (Index worker = 1; worker < split.workers(); ++worker) caches.push_back(driver_.make_cache(4));
    (void)exchange.join(caches, split);
    return mark(caches.front(), slots, offset);
  };
  const KvLimits of_four{.max_batch_size = 8, .max_total_seq_len = 1024, .prefill_chunk_size = 512, .page_size = 4};
  EXPECT_EQ(with(driver_.make_cache(4)), "");
  EXPECT_EQ(with(driver_.make_cache(8)), "parallel.unsupported");
  EXPECT_EQ(with(driver_.make_cache(4), {2, 1}), "parallel.unsupported");
  EXPECT_EQ(with(driver_.make_cache(4), {1, 2}), "parallel.unsupported");
  KvShape shape = decode_.shape();
  shape.rope_mode = RopeMode::in_line;
  EXPECT_EQ(with(PagedKvCache(shape, of_four)), "parallel.unsupported");
  shape = decode_.shape();
  ++shape.num_layers;
  EXPECT_EQ(with(PagedKvCache(shape, of_four)), "parallel.unsupported");
}

TEST_F(TwoCaches, AreNotForSlidingWindows) {
  PagedKvCache windows = driver_.make_cache(4, true);
  windows.add_sequence(0);
  EXPECT_EQ(code_of([&] { (void)windows.disagg_prepare_recv(0, 3); }), "kv.unsupported");
}

TEST_F(TwoCaches, AreAsManyAsTheSplitHasWorkers) {
  EXPECT_EQ(code_of([&] { (void)exchange_.join({&decode_, 1}, {2, 1}); }), "kv.bad_argument");
}

}  // namespace
}  // namespace mlbench::ref
