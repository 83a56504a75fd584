// Attention of single rows on the host executor, against float64.
#include "backends/gpu/kernels/attention_rows.h"

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/backends/gpu/attention_case.h"

namespace mlbench::gpu {
namespace {

using test::AttentionCase;
using test::HeadShape;

template <int W>
AttentionCase::Result attend(const AttentionCase& of, Index splits) {
  return of.run([&](const AttentionCall& call) {
    test::Buffer partial(DType::f32, call.rows * call.heads * splits * (call.cache.width + 2));
    test::NoStream stream;
    host_device::launch_attend_rows<W>(stream, {call, splits, partial.floats()});
    EXPECT_TRUE(partial.guarded());
  });
}

void expect_softmax(const AttentionCase& of, Index splits) {
  test::on_every_warp([&](auto warp) { of.expect_softmax(attend<warp()>(of, splits), false); });
}

TEST(AttendRows, IsSoftmaxesForEveryWidthAndGroup) {
  const std::pair<Index, Index> groups[] = {{1, 1}, {2, 1}, {3, 1}, {8, 4}, {5, 1}, {16, 2}, {11, 1}};
  std::size_t next = 0;
  for (const Index width : {1, 2, 3, 4, 7, 8, 12, 16, 31, 33, 64, 80, 128, 129, 256}) {
    for (const DType type : test::kStored) {
      const auto [heads, kv_heads] = groups[next++ % std::size(groups)];
      SCOPED_TRACE(testing::Message() << name(type) << ", width " << width << ", heads " << heads << " of "
                                      << kv_heads);
      expect_softmax({{type, heads, kv_heads, width}, {{40}}, {{0, 37, {}}}}, 2);
    }
  }
}

TEST(AttendRows, IsSoftmaxesForGroupsOfManyHeads) {
  for (const Index heads : {47, 64}) expect_softmax({{DType::bf16, heads, 1, 16}, {{20}}, {{0, 19, {}}}}, 1);
}

TEST(AttendRows, IsSoftmaxesForEveryContextAndEverySplit) {
  for (const int context : {1, 2, 15, 16, 17, 31, 32, 33, 64, 101, 150}) {
    for (const Index splits : {1, 2, 5, 16}) {
      SCOPED_TRACE(testing::Message() << context << " entries in " << splits << " parts");
      expect_softmax({{DType::f16, 2, 1, 8}, {{context}}, {{0, context, {}}}}, splits);
    }
  }
}

TEST(AttendRows, FollowsPagesSinksGapsAndPaths) {
  const std::vector<test::SequenceShape> sequences = {{50, 0, 0}, {9, 3, 4}, {70, 7, 11}};
  const std::vector<test::RowShape> rows = {{2, 70, {}},    {0, 33, {}},     {1, 5, {5, 7}},
                                            {1, 5, {6, 8}}, {0, 0, {49, 3}}, {0, 20, {20}}};
  for (const Index page_size : {1, 4, 16, 100}) {
    SCOPED_TRACE(testing::Message() << "pages of " << page_size);
    expect_softmax({{DType::bf16, 4, 2, 24, page_size}, sequences, rows}, 3);
  }
}

TEST(AttendRows, APathThatGoesOnWithThePrefixChangesNothing) {
  const HeadShape shape{.type = DType::bf16};
  const AttentionCase prefix(shape, {{40}}, {{0, 40, {}}}), path(shape, {{40}}, {{0, 37, {37, 38, 39}}});
  test::on_every_warp(
      [&](auto warp) { EXPECT_EQ(attend<warp()>(prefix, 2).context, attend<warp()>(path, 2).context); });
}

TEST(AttendRows, HasTheSameBitsForEveryOrderOfThreads) {
  const AttentionCase one({.heads = 8, .kv_heads = 1}, {{100}}, {{0, 90, {}}, {0, 100, {}}});
  std::vector<std::vector<double>> results;
  const auto before = executor::options();
  executor::options().warp_width = 32;
  for (const unsigned seed : {1U, 2U, 3U, 4U, 5U, 6U}) {
    executor::options().seed = seed;
    results.push_back(attend<32>(one, 2).context);
  }
  executor::options() = before;
  EXPECT_THAT(results, testing::Each(results[0]));
}

// Every product and sum is exact then, and the division by a power of two.
TEST(AttendRows, IsExactWhereItCanBe) {
  for (const int context : {1, 64}) {
    AttentionCase one({.heads = 3, .kv_heads = 1}, {{context}}, {{0, context, {}}});
    one.set_queries(0.0);
    test::on_every_warp([&](auto warp) {
      const AttentionCase::Result got = attend<warp()>(one, 3);
      for (Index i = 0; i < 24; ++i) {
        double sum = 0.0;
        for (int e = 0; e < context; ++e) sum += one.value(0, e, 0, i);
        EXPECT_EQ(got.context[one.place(0, 2, i)], sum / context);
      }
    });
  }
}

TEST(AttendRows, LargeScoresDoNotOverflow) {
  AttentionCase one({.heads = 2, .kv_heads = 1, .width = 16}, {{50}}, {{0, 50, {}}});
  one.scale_queries(200.0);  // differences of scores of some hundreds
  expect_softmax(one, 2);
}

// Parts and groups of entries of which none weighs anything.
TEST(AttendRows, ScoresOfMinusInfinityWeighNothing) {
  const HeadShape shape{.heads = 1, .kv_heads = 1};
  AttentionCase all(shape, {{40}}, {{0, 40, {}}}), last(shape, {{40}}, {{0, 0, {35, 36, 37, 38, 39}}});
  for (AttentionCase* one : {&all, &last}) one->set_queries(1.0);
  for (int e = 0; e < 35; ++e) all.set(AttentionCase::kKey, 0, e, 0, 3, -test::kInfinity);
  test::on_every_warp([&](auto warp) {
    AttentionCase::Result got = attend<warp()>(all, 2);
    got.probs = attend<warp()>(last, 1).probs;  // the others stay untouched there
    last.expect_softmax(got, false);
  });
}

// A weight of 0 times infinity would be no number.
TEST(AttendRows, ValuesThatARowDoesNotSeeDoNotReachIt) {
  for (const double bad : {test::kInfinity, -test::kInfinity, test::kNan}) {
    const std::vector<test::RowShape> rows = {{0, 20, {}}, {0, 16, {40}}, {0, 30, {}}};
    const AttentionCase clean({.type = DType::bf16}, {{50}}, rows);
    AttentionCase spoilt = clean;
    for (const auto kind : {AttentionCase::kKey, AttentionCase::kValue}) {
      for (const int entry : {20, 29}) spoilt.set(kind, 0, entry, 1, 3, bad);
    }
    test::on_every_warp([&](auto warp) {
      const AttentionCase::Result expected = attend<warp()>(clean, 2), got = attend<warp()>(spoilt, 2);
      const auto of_two_rows = static_cast<std::ptrdiff_t>(clean.place(2, 0, 0));
      EXPECT_TRUE(std::equal(expected.context.begin(), expected.context.begin() + of_two_rows, got.context.begin()));
      EXPECT_FALSE(std::isfinite(got.context[clean.place(2, 2, 3)]));
      EXPECT_EQ(got.context[clean.place(2, 1, 3)], expected.context[clean.place(2, 1, 3)]);  // reads the other head
    });
  }
}

TEST(AttendRows, OutputsThatNobodyWantsAreNotWritten) {
  const AttentionCase one({.type = DType::f16}, {{20}}, {{0, 20, {}}});
  const AttentionCase::Result got = one.run([&](AttentionCall call) {
    test::Buffer partial(DType::f32, call.rows * call.heads * (call.cache.width + 2));
    call.context = nullptr;
    call.context_stored = nullptr;
    call.probs = nullptr;
    test::NoStream stream;
    const auto before = executor::options();
    executor::options().warp_width = 64;
    host_device::launch_attend_rows<64>(stream, {call, 1, partial.floats()});
    executor::options() = before;
  });
  EXPECT_THAT(got.context, testing::Each(testing::IsNan()));
  EXPECT_THAT(got.stored, testing::Each(testing::IsNan()));
  EXPECT_THAT(got.probs, testing::Each(AttentionCase::kUntouched));
}

TEST(AttendRows, NoRowsAreNoLaunch) {
  test::NoStream stream;
  host_device::launch_attend_rows<32>(stream, {});
}

TEST(AttentionSupport, NamesWhatItIsBuiltFor) {
  EXPECT_TRUE(attention_supports(64, 1, 256));
  EXPECT_TRUE(attention_supports(8, 8, 1));
  EXPECT_EQ(attention_supports(8, 8, 257).reason, "257: not a head_dim that attention is built for, 1 to 256");
  EXPECT_EQ(attention_supports(65, 1, 64).reason,
            "65 query heads for a key-value head: attention is built for at most 64");
  EXPECT_EQ(attention_supports(6, 4, 64).reason, "6 query heads: not a multiple of the key-value heads");
  EXPECT_FALSE(attention_supports(8, 8, 0));
  EXPECT_FALSE(attention_supports(8, 0, 64));
}

TEST(AttendRows, RefusesHeadsThatItIsNotBuiltFor) {
  AttentionCall call;
  call.rows = 1;
  call.heads = 2;
  call.cache.heads = 2;
  call.cache.width = 300;
  test::NoStream stream;
  EXPECT_EQ(test::code_of([&] { host_device::launch_attend_rows<32>(stream, {call, 1, nullptr}); }), "backend.failed");
}

}  // namespace
}  // namespace mlbench::gpu
