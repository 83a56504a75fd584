// Attention of prompts on the host executor, against float64: the kernel of float32 throughout, and that of tile
// products, which warps of 32 take for narrow types where the width allows it.
#include "backends/gpu/kernels/attention_tiles.h"

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/backends/gpu/attention_case.h"

namespace mlbench::gpu {
namespace {

using test::AttentionCase;

// Consecutive rows of one sequence.
struct Run {
  int sequence = 0, before = 0, count = 1;
};

// Runs of rows, cut into tiles of at most `most`.
struct Tiles {
  explicit Tiles(const std::vector<Run>& runs, int most = kTileRows) {
    for (const Run& run : runs) {
      for (int r = 0; r < run.count; r += most) {
        const auto first = static_cast<std::int32_t>(rows.size());
        const int count = std::min(most, run.count - r);
        tiles.push_back({first, count});
        const auto more = test::causal_rows(run.sequence, run.before + r, count);
        rows.insert(rows.end(), more.begin(), more.end());
      }
    }
  }
  std::vector<test::RowShape> rows;
  std::vector<RowTile> tiles;
};

template <int W>
AttentionCase::Result attend(const AttentionCase& of, const std::vector<RowTile>& tiles, bool by_products) {
  return of.run([&](const AttentionCall& call) {
    test::NoStream stream;
    host_device::launch_attend_tiles<W>(stream, {call, tiles.data(), static_cast<Index>(tiles.size())}, by_products);
  });
}

// With both widths of warps, without products of tiles, and with them where they take the type and width.
template <class Check>
void on_every_kernel(DType type, Index width, const Check& check) {
  test::on_every_warp([&](auto warp) {
    check(warp, false);
    if (host_device::tile_products_take<warp()>(type, width)) check(warp, true);
  });
}

void expect_softmax(const test::HeadShape& shape, const std::vector<test::SequenceShape>& sequences,
                    const Tiles& tiles) {
  const AttentionCase of(shape, sequences, tiles.rows);
  on_every_kernel(shape.type, shape.width, [&](auto warp, bool by_products) {
    of.expect_softmax(attend<warp()>(of, tiles.tiles, by_products), by_products);
  });
}

TEST(TileProductsOfAttention, AreTakenForNarrowTypesOfWholeTiles) {
  using host_device::tile_products_take;
  for (const Index width : {16, 80, 256}) {
    EXPECT_TRUE(tile_products_take<32>(DType::bf16, width) && tile_products_take<32>(DType::f16, width));
    EXPECT_TRUE(tile_products_take<64>(DType::bf16, width) && tile_products_take<64>(DType::f16, width));
    EXPECT_FALSE(tile_products_take<32>(DType::f32, width) || tile_products_take<64>(DType::f32, width));
  }
  EXPECT_FALSE(tile_products_take<32>(DType::bf16, 24) || tile_products_take<64>(DType::bf16, 24));
}

TEST(AttendTiles, IsSoftmaxesForEveryWidthAndGroup) {
  const std::pair<Index, Index> groups[] = {{1, 1}, {2, 1}, {4, 2}, {3, 1}};
  std::size_t next = 0;
  for (const Index width : {1, 2, 3, 4, 7, 16, 31, 48, 64, 65, 80, 128, 132, 144, 256}) {
    for (const DType type : test::kStored) {
      const auto [heads, kv_heads] = groups[next++ % std::size(groups)];
      SCOPED_TRACE(testing::Message() << name(type) << ", width " << width << ", heads " << heads << " of "
                                      << kv_heads);
      expect_softmax({type, heads, kv_heads, width}, {{40}}, Tiles({{0, 30, 7}}));
    }
  }
}

TEST(AttendTiles, IsSoftmaxesForEveryContextAndNumberOfRows) {
  for (const int before : {0, 1, 63, 64, 70}) {
    for (const int rows : {1, 16, 33, 65}) {
      for (const DType type : {DType::f32, DType::bf16}) {
        SCOPED_TRACE(testing::Message() << name(type) << ", " << rows << " rows behind " << before);
        expect_softmax({type, 1, 1, 16}, {{before + rows}}, Tiles({{0, before, rows}}));
      }
    }
  }
}

TEST(AttendTiles, FollowsPagesSinksGapsAndSequences) {
  const Tiles tiles({{2, 60, 10}, {0, 26, 24}, {1, 5, 4}}, 20);
  for (const Index page_size : {1, 16}) {
    for (const DType type : {DType::f32, DType::f16}) {
      SCOPED_TRACE(testing::Message() << name(type) << ", pages of " << page_size);
      expect_softmax({type, 4, 2, 16, page_size}, {{50, 0, 0}, {9, 3, 4}, {70, 7, 11}}, tiles);
    }
  }
}

TEST(AttendTiles, FollowsPrefixesInAnyOrder) {
  const std::vector<test::RowShape> rows = {{0, 90, {}}, {0, 3, {}}, {0, 64, {}}, {0, 65, {}}, {0, 1, {}}};
  for (const DType type : {DType::f32, DType::bf16}) {
    const AttentionCase of({type, 2, 1, 16}, {{90}}, rows);
    on_every_kernel(type, 16, [&](auto warp, bool by_products) {
      of.expect_softmax(attend<warp()>(of, {{0, 5}}, by_products), by_products);
    });
  }
}

TEST(AttendTiles, HasTheSameBitsForEveryOrderOfThreads) {
  for (const DType type : {DType::f32, DType::f16}) {
    const Tiles tiles({{0, 40, 60}});
    const AttentionCase one({type, 2, 1, 16}, {{100}}, tiles.rows);
    on_every_kernel(type, 16, [&](auto warp, bool by_products) {
      const auto before = executor::options();
      std::vector<std::vector<double>> results;
      for (const unsigned seed : {1U, 2U, 3U, 4U, 5U, 6U}) {
        executor::options().seed = seed;
        results.push_back(attend<warp()>(one, tiles.tiles, by_products).context);
      }
      executor::options() = before;
      EXPECT_THAT(results, testing::Each(results[0]));
    });
  }
}

// Every product and sum is exact then, and the division by a power of two.
TEST(AttendTiles, IsExactWhereItCanBe) {
  for (const DType type : test::kStored) {
    const Tiles tiles({{0, 0, 64}});
    AttentionCase one({type, 3, 1, 16}, {{64}}, tiles.rows);
    one.set_queries(0.0);
    on_every_kernel(type, 16, [&](auto warp, bool by_products) {
      const AttentionCase::Result got = attend<warp()>(one, tiles.tiles, by_products);
      for (Index i = 0; i < 16; ++i) {
        double sum = 0.0;
        for (int e = 0; e < 64; ++e) {
          sum += one.value(0, e, 0, i);
          if (e == 0 || e == 31 || e == 63) {
            EXPECT_EQ(got.context[one.place(e, 2, i)], sum / (e + 1.0));
          }
        }
      }
    });
  }
}

TEST(AttendTiles, LargeScoresDoNotOverflow) {
  for (const DType type : {DType::f32, DType::bf16}) {
    const Tiles tiles({{0, 60, 20}});
    AttentionCase one({type, 1, 1, 16}, {{80}}, tiles.rows);
    one.scale_queries(200.0);  // differences of scores of some hundreds
    on_every_kernel(type, 16, [&](auto warp, bool by_products) {
      one.expect_softmax(attend<warp()>(one, tiles.tiles, by_products), by_products);
    });
  }
}

// A first group of entries that weigh nothing.
TEST(AttendTiles, ScoresOfMinusInfinityWeighNothing) {
  for (const DType type : {DType::f32, DType::bf16}) {
    const test::HeadShape shape{type, 1, 1, 16};
    AttentionCase all(shape, {{90}}, {{0, 90, {}}}), last(shape, {{90}}, {{0, 0, {85, 86, 87, 88, 89}}});
    for (AttentionCase* one : {&all, &last}) one->set_queries(1.0);
    for (int e = 0; e < 85; ++e) all.set(AttentionCase::kKey, 0, e, 0, 3, -test::kInfinity);
    on_every_kernel(type, 16, [&](auto warp, bool by_products) {
      AttentionCase::Result got = attend<warp()>(all, {{0, 1}}, by_products);
      EXPECT_THAT(std::vector<double>(got.probs.begin(), got.probs.begin() + 85), testing::Each(0.0));
      std::fill_n(got.probs.begin(), 85, AttentionCase::kUntouched);
      last.expect_softmax(got, by_products);
    });
  }
}

// Column 3 of heads 2 and 3, in rows that see entry 24.
bool reached(std::size_t i) { return i >= std::size_t{14} * 64 && i % 64 >= 32 && i % 16 == 3; }

// A weight of 0 times infinity would be no number.
TEST(AttendTiles, ValuesThatARowDoesNotSeeDoNotReachIt) {
  const Tiles tiles({{0, 10, 20}});
  for (const DType type : test::kStored) {
    const AttentionCase clean({type, 4, 2, 16}, {{30}}, tiles.rows);
    for (const double bad : {test::kInfinity, -test::kInfinity, test::kNan}) {
      AttentionCase spoilt = clean;
      spoilt.set(AttentionCase::kValue, 0, 24, 1, 3, bad);
      on_every_kernel(type, 16, [&](auto warp, bool by_products) {
        const std::vector<double> expected = attend<warp()>(clean, tiles.tiles, by_products).context;
        const std::vector<double> got = attend<warp()>(spoilt, tiles.tiles, by_products).context;
        for (std::size_t i = 0; i < got.size(); ++i) {
          const double value = reached(i) ? bad : expected[i];
          ASSERT_TRUE(got[i] == value || (std::isnan(got[i]) && std::isnan(value))) << i << ": " << got[i];
        }
      });
    }
  }
}

TEST(AttendTiles, KeysThatARowDoesNotSeeDoNotReachIt) {
  const Tiles tiles({{0, 10, 20}});
  for (const DType type : test::kStored) {
    const AttentionCase clean({type, 2, 1, 16}, {{30}}, tiles.rows);
    AttentionCase spoilt = clean;
    spoilt.set(AttentionCase::kKey, 0, 24, 0, 3, test::kNan);
    on_every_kernel(type, 16, [&](auto warp, bool by_products) {
      const AttentionCase::Result expected = attend<warp()>(clean, tiles.tiles, by_products);
      const AttentionCase::Result got = attend<warp()>(spoilt, tiles.tiles, by_products);
      const auto first = static_cast<std::ptrdiff_t>(clean.place(14, 0, 0));  // that sees it
      EXPECT_TRUE(std::equal(got.context.begin(), got.context.begin() + first, expected.context.begin()));
      EXPECT_THAT(std::vector<double>(got.context.begin() + first, got.context.end()), testing::Each(testing::IsNan()));
    });
  }
}

TEST(AttendTiles, OutputsThatNobodyWantsAreNotWritten) {
  for (const DType type : {DType::f32, DType::bf16}) {
    const AttentionCase one({type, 2, 1, 16}, {{20}}, test::causal_rows(0, 0, 20));
    const RowTile tile{0, 20};
    on_every_kernel(type, 16, [&](auto warp, bool by_products) {
      const AttentionCase::Result got = one.run([&](AttentionCall call) {
        call.context = nullptr;
        call.context_stored = nullptr;
        call.probs = nullptr;
        test::NoStream stream;
        host_device::launch_attend_tiles<warp()>(stream, {call, &tile, 1}, by_products);
      });
      EXPECT_THAT(got.context, testing::Each(testing::IsNan()));
      EXPECT_THAT(got.stored, testing::Each(testing::IsNan()));
      EXPECT_THAT(got.probs, testing::Each(AttentionCase::kUntouched));
    });
  }
}

TEST(AttendTiles, NoTilesAreNoLaunch) {
  test::NoStream stream;
  host_device::launch_attend_tiles<64>(stream, {}, false);
}

TEST(AttendTiles, RefusesHeadsThatItIsNotBuiltFor) {
  AttentionCall call;
  call.rows = 1;
  call.heads = call.cache.heads = 2;
  call.cache.width = 300;
  test::NoStream stream;
  EXPECT_EQ(test::code_of([&] { host_device::launch_attend_tiles<32>(stream, {call, nullptr, 1}, false); }), "backend.failed");
}

}  // namespace
}  // namespace mlbench::gpu
