// Entries that go from one cache to another, and what is refused or waited for meanwhile.
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "backends/cpu/kv_cache.h"
#include "backends/in_process_kv.h"
#include "tests/harness/around.h"
#include "tests/support/error_code.h"

namespace mlbench::cpu {
namespace {

using backends::InProcessKv;
using mlbench::test::code_of;

constexpr KvShape kShape{.layers = 2, .heads = 3, .width = 4, .dtype = DType::bf16};
constexpr KvLimits kLimits{.max_batch_size = 3, .max_total_seq_len = 64, .prefill_chunk_size = 16, .page_size = 4};

struct Entries {
  HostTensor keys, values;
  friend bool operator==(const Entries&, const Entries&) = default;
};

Entries room_for(Index count) {
  const Shape shape = {kShape.layers, count, kShape.heads, kShape.width};
  return {HostTensor(kShape.dtype, shape), HostTensor(kShape.dtype, shape)};
}

Entries entries(const PagedKvCache& cache, Index begin, Index end) {
  Entries out = room_for(end - begin);
  cache.debug_get_kv(0, begin, end, out.keys.view(), out.values.view());
  return out;
}

void forward(backends::KvCache& cache, SeqId id, Index count) {
  const SeqId ids[] = {id};
  const Index lengths[] = {count};
  cache.begin_forward(ids, lengths, std::nullopt);
  cache.end_forward();
}

// Values that tell every entry from every other.
void fill(PagedKvCache& cache, Index begin, Index end, int first) {
  Entries out = room_for(end - begin);
  for (HostTensor* tensor : {&out.keys, &out.values}) {
    auto* values = reinterpret_cast<std::uint16_t*>(tensor->bytes().data());
    std::iota(values, values + element_count(tensor->shape()), static_cast<std::uint16_t>(first));
    first += 10000;
  }
  cache.debug_set_kv(0, begin, out.keys.view(), out.values.view());
}

class KvTransfer : public testing::Test {
 protected:
  KvTransfer() {
    decode_offset_ = workers_.add_instance();
    prefill_offset_ = workers_.add_instance();
    decode_.connect(workers_.worker(decode_offset_));
    prefill_.connect(workers_.worker(prefill_offset_));
    for (PagedKvCache* cache : {&decode_, &prefill_}) cache->add_sequence(0);
  }

  [[nodiscard]] std::string mark(const SlotRuns& slots, Index receiver_offset) {
    return code_of([&] { prefill_.disagg_mark_send(0, 0, slots, receiver_offset); });
  }
  void expect_waiting(Index length, Index pages) const {
    EXPECT_EQ(decode_.sequence_length(0), length);
    EXPECT_EQ(decode_.num_available_pages(), pages);
    EXPECT_EQ(code_of([&] { (void)entries(decode_, 0, 1); }), "kv.state");
  }

  InProcessKv workers_;
  PagedKvCache decode_{kShape, kLimits}, prefill_{kShape, kLimits};
  Index decode_offset_ = -1, prefill_offset_ = -1;
};

// Ten of the eleven entries are known; the forward that sends them computes nothing here.
TEST_F(KvTransfer, GivesTheReceiverTheSendersEntries) {
  forward(prefill_, 0, 10);
  fill(prefill_, 0, 10, 1);
  forward(decode_, 0, 3);  // a prefix of its own
  const Entries prefix = entries(decode_, 0, 3);
  const SlotRuns slots = decode_.disagg_prepare_recv(0, 8);
  prefill_.disagg_mark_send(0, 3, slots, decode_offset_);
  forward(prefill_, 0, 1);
  forward(decode_, 0, 1);
  EXPECT_EQ(decode_.sequence_length(0), 12);
  EXPECT_EQ(entries(decode_, 3, 10), entries(prefill_, 3, 10));
  EXPECT_EQ(entries(decode_, 0, 3), prefix);
}

TEST_F(KvTransfer, IsWaitedForByWhateverNeedsTheSequence) {
  using Operation = void (*)(PagedKvCache&);
  const Operation operations[] = {[](PagedKvCache& cache) { forward(cache, 0, 1); },
                                  [](PagedKvCache& cache) { cache.fork_sequence(0, 1, 5); },
                                  [](PagedKvCache& cache) { cache.popn(0, 2); },
                                  [](PagedKvCache& cache) { (void)cache.disagg_prepare_recv(0, 2); }};
  for (const Operation operation : operations) {
    for (PagedKvCache* cache : {&decode_, &prefill_}) {
      cache->clear();
      cache->add_sequence(0);
    }
    forward(prefill_, 0, 6);
    fill(prefill_, 0, 6, 1);
    prefill_.disagg_mark_send(0, 0, decode_.disagg_prepare_recv(0, 8), decode_offset_);
    EXPECT_EQ(code_of([&] { operation(decode_); }), "kv.state");
    forward(prefill_, 0, 1);
    EXPECT_EQ(code_of([&] { operation(decode_); }), "kv.state") << "one is still to come";
    expect_waiting(8, 17 - 2);
    forward(prefill_, 0, 1);
    operation(decode_);
    const bool waits_again = decode_.sequence_length(0) == 10;
    if (!waits_again) {
      EXPECT_EQ(entries(decode_, 0, 6), entries(prefill_, 0, 6));
    }
  }
}

// The wait for one sequence takes what comes for another on the way.
TEST_F(KvTransfer, OfTwoSequencesComesInAnyOrder) {
  for (PagedKvCache* cache : {&decode_, &prefill_}) cache->add_sequence(1);
  const SlotRuns first = decode_.disagg_prepare_recv(0, 5);
  prefill_.disagg_mark_send(1, 0, decode_.disagg_prepare_recv(1, 5), decode_offset_);
  prefill_.disagg_mark_send(0, 0, first, decode_offset_);
  forward(prefill_, 1, 5);
  forward(prefill_, 0, 4);
  fill(prefill_, 0, 4, 1);
  forward(prefill_, 0, 1);
  forward(decode_, 0, 1);
  EXPECT_EQ(code_of([&] { (void)workers_.worker(decode_offset_).receive(); }), "kv.state") << "all is taken";
  forward(decode_, 1, 1);
}

TEST_F(KvTransfer, ThatIsGivenUpLeavesTheSenderInPeaceAndOthersTheirPages) {
  prefill_.disagg_mark_send(0, 0, decode_.disagg_prepare_recv(0, 8), decode_offset_);
  forward(prefill_, 0, 4);
  decode_.remove_sequence(0);
  EXPECT_EQ(decode_.num_available_pages(), 17);
  decode_.add_sequence(0);
  forward(decode_, 0, 8);
  fill(decode_, 0, 8, 500);
  const Entries before = entries(decode_, 0, 8);
  forward(prefill_, 0, 4);
  decode_.add_sequence(1);
  (void)decode_.disagg_prepare_recv(1, 2);
  EXPECT_EQ(code_of([&] { forward(decode_, 1, 1); }), "kv.state");  // has looked through all that came
  EXPECT_EQ(entries(decode_, 0, 8), before);
}

TEST_F(KvTransfer, RefusesRowsBeyondTheSlots) {
  prefill_.disagg_mark_send(0, 0, decode_.disagg_prepare_recv(0, 4), decode_offset_);
  EXPECT_EQ(code_of([&] { forward(prefill_, 0, 5); }), "kv.bad_argument");
  EXPECT_EQ(prefill_.sequence_length(0), 0);
  EXPECT_EQ(prefill_.num_available_pages(), 17);
  forward(prefill_, 0, 4);
  forward(decode_, 0, 1);
}

TEST_F(KvTransfer, RefusesReceiversThatAreNone) {
  const SlotRuns slots = decode_.disagg_prepare_recv(0, 4);
  EXPECT_EQ(mark(slots, -1), "kv.bad_argument");
  EXPECT_EQ(mark(slots, 2), "kv.bad_argument");
  EXPECT_EQ(mark(slots, prefill_offset_), "kv.bad_argument") << "its own";
  EXPECT_EQ(mark(SlotRuns(std::vector<Index>{17 * 4}), decode_offset_), "kv.bad_argument");
  EXPECT_EQ(mark(SlotRuns(), decode_offset_), "kv.bad_argument");
  EXPECT_EQ(mark(slots, workers_.add_instance()), "kv.state") << "it has no cache yet";
  forward(prefill_, 0, 9);  // nothing was marked
  expect_waiting(4, 16);
}

TEST_F(KvTransfer, RefusesReceiversThatAreMadeOtherwise) {
  const SlotRuns slots(std::vector<Index>{0, 1});
  std::vector<std::unique_ptr<PagedKvCache>> caches;
  const auto with = [&](const KvShape& shape, Index page_size, const Split& split) {
    KvLimits limits = kLimits;
    limits.page_size = page_size;
    caches.push_back(std::make_unique<PagedKvCache>(shape, limits));
    const Index offset = workers_.add_instance(split);
    caches.back()->connect(workers_.worker(offset));
    return mark(slots, offset);
  };
  KvShape other = kShape;
  other.dtype = DType::f16;
  EXPECT_EQ(with(other, 4, {}), "parallel.unsupported");
  for (Index KvShape::*const size : {&KvShape::layers, &KvShape::heads, &KvShape::width}) {
    other = kShape;
    ++(other.*size);
    EXPECT_EQ(with(other, 4, {}), "parallel.unsupported");
  }
  EXPECT_EQ(with(kShape, 8, {}), "parallel.unsupported");
  EXPECT_EQ(with(kShape, 4, {2, 1}), "parallel.unsupported");
  EXPECT_EQ(with(kShape, 4, {1, 2}), "parallel.unsupported");
  EXPECT_EQ(with(kShape, 4, {}), "none");
}

// The workers of an instance, each with a cache of its own: what one sends comes to the other's of the same place.
TEST_F(KvTransfer, GoesFromWorkerToWorker) {
  const Split split{2, 1};
  const Index to = workers_.add_instance(split), from = workers_.add_instance(split);
  std::vector<std::unique_ptr<PagedKvCache>> caches;
  for (const Index worker : {to, to + 1, from, from + 1}) {
    PagedKvCache& cache = *caches.emplace_back(std::make_unique<PagedKvCache>(kShape, kLimits));
    cache.connect(workers_.worker(worker));
    cache.add_sequence(0);
  }
  for (std::size_t place = 0; place < 2; ++place) {
    PagedKvCache& sender = *caches[2 + place];
    forward(sender, 0, 4);
    fill(sender, 0, 4, static_cast<int>(1000 * place));
    sender.disagg_mark_send(0, 0, caches[place]->disagg_prepare_recv(0, 5), to);
    forward(sender, 0, 1);
  }
  for (std::size_t place = 0; place < 2; ++place) {
    forward(*caches[place], 0, 1);
    EXPECT_EQ(entries(*caches[place], 0, 4), entries(*caches[2 + place], 0, 4));
  }
}

TEST_F(KvTransfer, NeedsATransport) {
  PagedKvCache alone(kShape, kLimits);
  alone.add_sequence(0);
  EXPECT_EQ(code_of([&] { (void)alone.disagg_prepare_recv(0, 1); }), "kv.state");
  EXPECT_EQ(code_of([&] { alone.disagg_mark_send(0, 0, SlotRuns(std::vector<Index>{1}), 0); }), "kv.state");
  EXPECT_EQ(alone.sequence_length(0), 0);
  EXPECT_EQ(code_of([&] { decode_.connect(workers_.worker(prefill_offset_)); }), "kv.state") << "it has one";
}

TEST_F(KvTransfer, IsNotOfEveryBackend) {
  harness::test::CacheAround other(std::make_unique<PagedKvCache>(kShape, kLimits));
  EXPECT_EQ(code_of([&] { other.connect(workers_.worker(0)); }), "kv.unsupported");
  EXPECT_EQ(code_of([&] { (void)other.disagg_prepare_recv(0, 1); }), "kv.unsupported");
  EXPECT_EQ(code_of([&] { other.disagg_mark_send(0, 0, SlotRuns(), 0); }), "kv.unsupported");
}

TEST_F(KvTransfer, RefusesEntriesOfTheWrongSize) {
  const SlotRuns slots = decode_.disagg_prepare_recv(0, 4);
  const std::size_t bytes = 2UL * 4 * 3 * 4 * 2;
  workers_.worker(prefill_offset_)
      .send(decode_offset_,
            {.slots = slots, .keys = std::vector<std::byte>(bytes), .values = std::vector<std::byte>(bytes - 1)});
  EXPECT_EQ(code_of([&] { forward(decode_, 0, 1); }), "backend.failed");
  expect_waiting(4, 16);
}

}  // namespace
}  // namespace mlbench::cpu
