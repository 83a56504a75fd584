// The cache's values; its bookkeeping has tests of its own (paging/page_table_test.cpp).
#include "backends/cpu/kv_cache.h"

#include <numeric>

#include <gtest/gtest.h>

#include "tests/support/error_code.h"

namespace mlbench::cpu {
namespace {

using mlbench::test::code_of;

constexpr KvShape kShape{.layers = 2, .heads = 3, .width = 4, .dtype = DType::bf16};
constexpr KvLimits kLimits{.max_batch_size = 3, .max_total_seq_len = 32, .prefill_chunk_size = 16, .page_size = 4};

Shape entries_shape(Index count) { return {kShape.layers, count, kShape.heads, kShape.width}; }

// Values that tell every entry from every other.
HostTensor numbered(Index count, int first) {
  HostTensor out(kShape.dtype, entries_shape(count));
  auto* values = reinterpret_cast<std::uint16_t*>(out.bytes().data());
  std::iota(values, values + element_count(out.shape()), static_cast<std::uint16_t>(first));
  return out;
}

struct Entries {
  HostTensor keys, values;
  friend bool operator==(const Entries&, const Entries&) = default;
};

Entries entries(const PagedKvCache& cache, SeqId id, Index begin, Index end) {
  Entries out{HostTensor(kShape.dtype, entries_shape(end - begin)),
              HostTensor(kShape.dtype, entries_shape(end - begin))};
  cache.debug_get_kv(id, begin, end, out.keys.view(), out.values.view());
  return out;
}

void append(PagedKvCache& cache, SeqId id, Index count) {
  const SeqId ids[] = {id};
  const Index lengths[] = {count};
  cache.begin_forward(ids, lengths, std::nullopt);
  cache.end_forward();
}

// Sequence 0 with 10 known entries.
PagedKvCache filled() {
  PagedKvCache cache(kShape, kLimits);
  cache.add_sequence(0);
  append(cache, 0, 10);
  cache.debug_set_kv(0, 0, numbered(10, 0).view(), numbered(10, 1000).view());
  return cache;
}

TEST(PagedKvCache, GivesBackWhatWasSet) {
  const PagedKvCache cache = filled();
  EXPECT_EQ(entries(cache, 0, 0, 10), (Entries{numbered(10, 0), numbered(10, 1000)}));
}

TEST(PagedKvCache, SetsOnlyTheEntriesNamed) {
  PagedKvCache cache = filled();
  const Entries before = entries(cache, 0, 0, 3);
  cache.debug_set_kv(0, 3, numbered(2, 5000).view(), numbered(2, 6000).view());
  EXPECT_EQ(entries(cache, 0, 3, 5), (Entries{numbered(2, 5000), numbered(2, 6000)}));
  EXPECT_EQ(entries(cache, 0, 0, 3), before);
}

TEST(PagedKvCache, AForkInsideAPageHasItsOwnCopyOfIt) {
  PagedKvCache cache = filled();
  cache.fork_sequence(0, 1, 6);
  EXPECT_EQ(entries(cache, 1, 0, 6), entries(cache, 0, 0, 6));
  const Entries parent = entries(cache, 0, 4, 6);
  cache.debug_set_kv(1, 4, numbered(2, 5000).view(), numbered(2, 6000).view());
  EXPECT_EQ(entries(cache, 0, 4, 6), parent);
}

TEST(PagedKvCache, SharesWholePagesOfAFork) {
  PagedKvCache cache = filled();
  cache.fork_sequence(0, 1, 6);
  cache.debug_set_kv(1, 0, numbered(2, 5000).view(), numbered(2, 6000).view());
  EXPECT_EQ(entries(cache, 0, 0, 2), entries(cache, 1, 0, 2));
}

TEST(PagedKvCache, ACommitMovesThePathInAllLayers) {
  PagedKvCache cache = filled();
  const SeqId ids[] = {0};
  const Index lengths[] = {4};
  cache.begin_forward(ids, lengths, std::vector<Index>{-1, 0, 0, 2});
  cache.end_forward();
  cache.debug_set_kv(0, 10, numbered(4, 5000).view(), numbered(4, 6000).view());
  const Entries third = entries(cache, 0, 12, 14);
  const Entries first = entries(cache, 0, 10, 11);
  const Index leaves[] = {3};
  cache.commit_accepted_token_tree_nodes(ids, leaves);  // nodes 0, 2, 3
  EXPECT_EQ(cache.sequence_length(0), 13);
  EXPECT_EQ(entries(cache, 0, 10, 11), first);
  EXPECT_EQ(entries(cache, 0, 11, 13), third);
}

TEST(PagedKvCache, TellsThePositionsOfTheRowsAnnounced) {
  PagedKvCache cache = filled();
  cache.add_sequence(5);
  const SeqId ids[] = {5, 0};
  const Index lengths[] = {2, 1};
  EXPECT_EQ(code_of([&] { (void)cache.get_query_positions(); }), "kv.state");
  cache.begin_forward(ids, lengths, std::nullopt);
  EXPECT_EQ(cache.get_query_positions(), (std::vector<std::int32_t>{0, 1, 10}));
  cache.end_forward();
  EXPECT_EQ(code_of([&] { (void)cache.get_query_positions(); }), "kv.state");
}

// Keys and values as they stand in one fused product, [T, Hkv, 2, d]; sequence 1 before sequence 0, into pages that the
// other has left free.
TEST(PagedKvCache, AppendsTheRowsAnnouncedRounded) {
  PagedKvCache cache(kShape, kLimits);
  for (const SeqId id : {0, 1}) {
    cache.add_sequence(id);
    append(cache, id, 3);
  }
  const SeqId ids[] = {1, 0};
  const Index lengths[] = {2, 4};
  std::vector<float> fused(6 * 3 * 2 * 4);
  for (std::size_t i = 0; i < fused.size(); ++i) fused[i] = 1.0F + static_cast<float>(i) * 0x1p-9F;  // not all are bf16
  const Heads keys{.data = fused.data(), .rows = 6, .count = 3, .width = 4, .row_stride = 24, .head_stride = 8};
  Heads values = keys;
  values.data += 4;
  cache.begin_forward(ids, lengths, std::nullopt);
  cache.append(1, keys, values);
  cache.end_forward();
  const auto expect = [&](SeqId id, Index count, Index first_row) {
    const Entries got = entries(cache, id, 3, 3 + count);
    const auto value = [&](const HostTensor& of, Index row, Index head, Index i) {
      const auto* bits = reinterpret_cast<const std::uint16_t*>(of.bytes().data());
      return bits[((count + row) * 3 + head) * 4 + i];  // of layer 1
    };
    for (Index row = 0; row < count; ++row) {
      for (Index head = 0; head < 3; ++head) {
        for (Index i = 0; i < 4; ++i) {
          const auto key = static_cast<double>(keys.at(first_row + row, head)[i]);
          const auto entry = static_cast<double>(values.at(first_row + row, head)[i]);
          EXPECT_EQ(value(got.keys, row, head, i), to_bf16(key)) << id << " " << row << " " << head << " " << i;
          EXPECT_EQ(value(got.values, row, head, i), to_bf16(entry)) << id << " " << row << " " << head << " " << i;
        }
      }
    }
  };
  expect(1, 2, 0);
  expect(0, 4, 2);
}

TEST(PagedKvCache, AppendsNothingOutsideAForward) {
  PagedKvCache cache = filled();
  std::vector<float> row(12);
  const Heads heads{.data = row.data(), .rows = 1, .count = 3, .width = 4, .row_stride = 12, .head_stride = 4};
  EXPECT_EQ(code_of([&] { cache.append(0, heads, heads); }), "kv.state");
}

TEST(PagedKvCache, IsEmptyAfterClear) {
  PagedKvCache cache = filled();
  const SeqId ids[] = {0};
  const Index lengths[] = {1};
  cache.begin_forward(ids, lengths, std::nullopt);
  cache.clear();
  EXPECT_TRUE(cache.empty());
  EXPECT_EQ(cache.num_available_pages(), 9);  // 32 / 4 + 1
  EXPECT_EQ(code_of([&] { (void)cache.plan(); }), "kv.state");
  cache.add_sequence(0);
  append(cache, 0, 16);
  EXPECT_EQ(cache.total_sequence_length(), 16);
}

TEST(PagedKvCache, RefusesEntriesThatAreNotThere) {
  PagedKvCache cache = filled();
  HostTensor one(kShape.dtype, entries_shape(1));
  const auto get = [&](SeqId id, Index begin, Index end) {
    return code_of([&] { cache.debug_get_kv(id, begin, end, one.view(), one.view()); });
  };
  EXPECT_EQ(get(0, 9, 10), "none");
  EXPECT_EQ(get(0, 10, 11), "kv.bad_argument");
  EXPECT_EQ(get(0, -1, 0), "kv.bad_argument");
  EXPECT_EQ(get(0, 3, 3), "kv.bad_argument");
  EXPECT_EQ(get(1, 0, 1), "kv.unknown_seq");
  const auto set = [&](SeqId id, Index begin, const HostTensor& values) {
    return code_of([&] { cache.debug_set_kv(id, begin, values.view(), values.view()); });
  };
  EXPECT_EQ(set(0, 10, one), "kv.bad_argument");
  EXPECT_EQ(set(0, -1, one), "kv.bad_argument");
  EXPECT_EQ(set(7, 0, one), "kv.unknown_seq");
  EXPECT_EQ(set(0, 0, HostTensor(kShape.dtype, entries_shape(0))), "kv.bad_argument");
}

TEST(PagedKvCache, RefusesViewsOfAnotherShapeOrType) {
  PagedKvCache cache = filled();
  const HostTensor good = numbered(2, 0);
  HostTensor wrong_type(DType::f32, entries_shape(2));
  HostTensor wrong_shape(kShape.dtype, {kShape.layers, 2, kShape.width, kShape.heads});
  for (HostTensor* bad : {&wrong_type, &wrong_shape}) {
    EXPECT_EQ(code_of([&] { cache.debug_get_kv(0, 0, 2, bad->view(), bad->view()); }), "input.shape");
    EXPECT_EQ(code_of([&] { cache.debug_set_kv(0, 0, good.view(), bad->view()); }), "input.shape");
  }
  EXPECT_EQ(entries(cache, 0, 0, 10), (Entries{numbered(10, 0), numbered(10, 1000)}));
}

TEST(PagedKvCache, RefusesDebuggingInsideAForward) {
  PagedKvCache cache = filled();
  HostTensor one(kShape.dtype, entries_shape(1));
  const SeqId ids[] = {0};
  const Index lengths[] = {1};
  cache.begin_forward(ids, lengths, std::nullopt);
  EXPECT_EQ(code_of([&] { cache.debug_get_kv(0, 0, 1, one.view(), one.view()); }), "kv.state");
  EXPECT_EQ(code_of([&] { cache.debug_set_kv(0, 0, one.view(), one.view()); }), "kv.state");
}

TEST(PagedKvCache, IsUnchangedByWhatFails) {
  PagedKvCache cache = filled();
  const SeqId ids[] = {0};
  const Index lengths[] = {16};
  cache.add_sequence(1);
  append(cache, 1, 16);  // 3 and 4 of 9 pages taken
  const Index available = cache.num_available_pages();
  EXPECT_EQ(code_of([&] { cache.begin_forward(ids, lengths, std::nullopt); }), "kv.full");
  EXPECT_EQ(code_of([&] { cache.fork_sequence(0, 1, 2); }), "kv.duplicate_seq");
  EXPECT_EQ(code_of([&] { cache.popn(0, 11); }), "kv.bad_argument");
  EXPECT_EQ(code_of([&] { cache.end_forward(); }), "kv.state");
  EXPECT_EQ(code_of([&] { cache.enable_sliding_window_for_seq(0, 4, 0); }), "kv.unsupported");
  EXPECT_EQ(cache.num_available_pages(), available);
  EXPECT_EQ(entries(cache, 0, 0, 10), (Entries{numbered(10, 0), numbered(10, 1000)}));
}

}  // namespace
}  // namespace mlbench::cpu
