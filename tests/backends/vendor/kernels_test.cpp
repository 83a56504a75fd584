// Every kernel, launched on a device: what the host executor cannot show, that nvcc made of it what was meant. Bounds
// are for twice what either side may be off from exact values, inputs being in [-1, 1]; where a kernel only moves or
// rounds once, the bits are the same.
#include <numeric>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/backends/vendor/both_sides.h"

namespace mlbench::gpu::vendor {
namespace {

constexpr float kEps = 1e-5F;  // of a model: rms_norm_eps, layer_norm_eps

constexpr Index kWidths[] = {1, 31, 32, 33, 101, 1024, 2052};
constexpr Index kRows = 5;

class DeviceKernels : public OnBothSides {};

std::vector<double> joined(std::vector<double> first, const std::vector<double>& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

TEST_F(DeviceKernels, EmbedAndAddPositionsWithTheSameBits) {
  for (const DType stored : kStored) {
    for (const Index width : kWidths) {
      const auto work = [&](Side& side) {
        const void* table = side.put(some_values(7 * width, stored, 0.25), stored);
        const auto* ids = side.plain<std::int32_t>({6, 0, 3, 3, 1});
        float* x = side.float_room(kRows * width);
        side.kernels().embed(side.stream(), {stored, table, ids, x, kRows, width});
        side.kernels().add_positions(side.stream(), {stored, table, ids, x, nullptr, kRows, width});
        return side.get(x, kRows * width);
      };
      expect_alike(work, 0.0);
    }
  }
}

// Each output is xhat w + b, xhat = (x - mean) / root with |xhat| <= sqrt(width) and, without the weights, of mean
// square 1. Sums of `width` terms are off by width u at most, relative to the mean square; the mean by width u; root,
// division, weight and bias by a few u. Rounding to the type adds its unit. Twice that between the sides.
TEST_F(DeviceKernels, Normalize) {
  for (const DType stored : kStored) {
    for (const bool subtracts : {false, true}) {
      for (const Index width : kWidths) {
        if (subtracts && width < 31) continue;  // of one value nothing but epsilon is left
        SCOPED_TRACE(fmt::format("{}, width {}, {}", name(stored), width, subtracts ? "LayerNorm" : "RMSNorm"));
        const auto work = [&](Side& side) {
          float* y = side.float_room(kRows * width);
          void* narrow_y = side.room(kRows * width, stored);
          NormCall call{.subtracts_mean = subtracts, .eps = kEps, .stored = stored, .rows = kRows, .width = width};
          call.weight = side.floats(some_values(width, DType::f32, 0.5));
          call.bias = side.floats(some_values(width, DType::f32, 0.75));
          call.x = side.floats(some_values(kRows * width, DType::f32, 0.25));
          call.first = side.floats(some_values(kRows * width, DType::f32, 0.125));
          call.y = y;
          call.y_stored = narrow_y;
          side.kernels().normalize(side.stream(), call);
          return joined(side.get(y, kRows * width), side.get(narrow_y, kRows * width, stored));
        };
        const double largest = std::sqrt(static_cast<double>(width)) + 1.0;
        const double roundings = 2.0 * static_cast<double>(width) + 16.0;
        expect_alike(work, 2.0 * largest * (roundings * kUnit + unit_of(stored)));
      }
    }
  }
}

TEST_F(DeviceKernels, AddBiasGatherAndWidenWithTheSameBits) {
  for (const DType stored : kStored) {
    for (const Index width : kWidths) {
      const auto work = [&](Side& side) {
        float* y = side.floats(some_values(kRows * width, DType::f32, 0.25));
        side.kernels().add_bias(side.stream(), {y, side.floats(some_values(width, DType::f32, 0.5)), kRows, width});
        void* chosen = side.room(3 * width, stored);
        side.kernels().gather_rows(side.stream(), {.x = y,
                                                   .chosen = side.plain<std::int32_t>({4, 0, 4}),
                                                   .stored = stored,
                                                   .out_stored = chosen,
                                                   .rows = 3,
                                                   .width = width});
        float* wide = side.float_room(3 * width);
        side.kernels().widen(side.stream(), {stored, chosen, wide, 3 * width});
        return joined(side.get(y, kRows * width), side.get(wide, 3 * width));
      };
      expect_alike(work, 0.0);
    }
  }
}

// Functions of CUDA's and of the host's libraries are within 4 u of the truth ("CUDA C++ Programming Guide",
// mathematical functions: expf 2 ulp, erff 2, tanhf 2); about them some five roundings of values up to 1.
TEST_F(DeviceKernels, Activate) {
  for (const auto kind :
       {Activation::silu, Activation::gelu_erf, Activation::gelu_tanh, Activation::gelu_fast, Activation::relu}) {
    for (const DType stored : kStored) {
      SCOPED_TRACE(fmt::format("{}, {}", name(kind), name(stored)));
      constexpr Index kWidth = 333;
      const auto work = [&](Side& side) {
        void* narrow_hidden = side.room(kRows * kWidth, stored);
        float* hidden = side.float_room(kRows * kWidth);
        side.kernels().activate(side.stream(), {.kind = kind,
                                                .gate = side.floats(some_values(kRows * kWidth, DType::f32, 0.25)),
                                                .up = side.floats(some_values(kRows * kWidth, DType::f32, 0.5)),
                                                .stride = kWidth,
                                                .hidden = hidden,
                                                .stored = stored,
                                                .hidden_stored = narrow_hidden,
                                                .rows = kRows,
                                                .width = kWidth});
        return joined(side.get(hidden, kRows * kWidth), side.get(narrow_hidden, kRows * kWidth, stored));
      };
      expect_alike(work, 2.0 * (16.0 * kUnit + unit_of(stored)));
    }
  }
}

// A cache of pages of 16 entries, a sequence of 37 of them on pages in no order.
struct SmallCache {
  Index heads = 6, kv_heads = 2, width = 64;
  static constexpr Index kLayers = 2, kPages = 5, kPageSize = 16, kEntries = 37;

  [[nodiscard]] Index size() const { return kLayers * 2 * kPages * kv_heads * kPageSize * width; }
  [[nodiscard]] CacheView view(void* data, DType stored) const {
    return {.stored = stored,
            .data = data,
            .layers = kLayers,
            .pages = kPages,
            .heads = kv_heads,
            .page_size = kPageSize,
            .width = width};
  }
  // The last `rows` entries are the rows that attend, each to all before it.
  [[nodiscard]] static VisibleRows visible(Side& side, Index rows) {
    std::vector<std::int32_t> prefix(static_cast<std::size_t>(rows));
    std::iota(prefix.begin(), prefix.end(), static_cast<std::int32_t>(kEntries - rows + 1));
    return {.sequence = side.plain(std::vector<std::int32_t>(prefix.size())),
            .prefix = side.plain(prefix),
            .path_begin = side.plain(std::vector<std::int32_t>(prefix.size() + 1)),
            .path = side.plain<std::int32_t>({0}),
            .pages = side.plain<std::int32_t>({4, 0, 2}),
            .max_pages = 3,
            .sink = side.plain<std::int32_t>({0}),
            .gap = side.plain<std::int32_t>({0})};
  }
};

// x cos - y sin of values up to 1: three roundings, or two where they are contracted; then those of the type.
TEST_F(DeviceKernels, RotateAndAppend) {
  for (const DType stored : kStored) {
    for (const Index width : {64, 80}) {
      SCOPED_TRACE(fmt::format("{}, width {}", name(stored), width));
      const SmallCache cache{.width = width};
      const auto work = [&](Side& side) {
        void* data = side.room(cache.size(), stored);
        const Index q_size = cache.heads * width, kv_size = cache.kv_heads * width, all = q_size + 2 * kv_size;
        const float* qkv = side.floats(some_values(kRows * all, DType::f32, 0.25));
        QkvCall call{.rows = kRows, .heads = cache.heads, .kv_heads = cache.kv_heads, .width = width};
        call.q = {qkv, all, width};
        call.k = {qkv + q_size, all, width};
        call.v = {qkv + q_size + kv_size, all, width};
        call.cos = side.floats(some_values(9 * 16, DType::f32, 0.5));
        call.sin = side.floats(some_values(9 * 16, DType::f32, 0.75));
        call.positions = side.plain<std::int32_t>({4, 5, 6, 7, 8});
        call.rotary = 32;
        call.slots = side.plain<std::int32_t>({79, 0, 17, 33, 16});
        call.layer = 1;
        call.cache = cache.view(data, stored);
        call.q_out = side.float_room(kRows * q_size);
        side.kernels().rotate_and_append(side.stream(), call);
        return joined(side.get(call.q_out, kRows * q_size), side.get(data, cache.size(), stored));
      };
      expect_alike(work, 2.0 * 2.0 * (3.0 * kUnit + unit_of(stored)));
    }
  }
}

// Scores are scale q . k, of magnitude up to d scale = sqrt d; a sum of d terms is off by d u of it, cut off by twice
// that, and so is the logarithm of a weight. Contexts, weighted means of values up to 1, are off by twice the weights'
// error and by that of sums of 37. Where weights enter products narrow, they are rounded to the type, and so is what is
// stored. Twice all of it between the sides.
double attention_bound(const SmallCache& cache, DType stored) {
  const auto d = static_cast<double>(cache.width);
  const double weights = 2.0 * (2.0 * d * kUnit * std::sqrt(d) + 8.0 * kUnit);
  return 2.0 * (weights + (2.0 * 37.0 + 16.0) * kUnit + 2.0 * unit_of(stored));
}

AttentionCall attention(Side& side, const SmallCache& cache, DType stored, Index rows) {
  const Index size = rows * cache.heads * cache.width;
  return {.q = side.floats(some_values(size, DType::f32, 0.5)),
          .rows = rows,
          .heads = cache.heads,
          .cache = cache.view(side.put(some_values(cache.size(), stored, 0.25), stored), stored),
          .layer = 1,
          .scale = 1.0F / std::sqrt(static_cast<float>(cache.width)),
          .visible = SmallCache::visible(side, rows),
          .context = side.float_room(size),
          .context_stored = side.room(size, stored)};
}

std::vector<double> contexts(Side& side, const AttentionCall& call) {
  const Index size = call.rows * call.heads * call.cache.width;
  return joined(side.get(call.context, size), side.get(call.context_stored, size, call.cache.stored));
}

TEST_F(DeviceKernels, AttendRows) {
  for (const DType stored : kStored) {
    for (const Index width : {20, 64, 128, 256}) {
      for (const Index splits : {1, 3}) {
        SCOPED_TRACE(fmt::format("{}, width {}, {} splits", name(stored), width, splits));
        const SmallCache cache{.width = width};
        const auto work = [&](Side& side) {
          SplitAttentionCall call{.attention = attention(side, cache, stored, kRows), .splits = splits};
          call.partial = side.float_room(kRows * cache.heads * splits * (width + 2));
          side.kernels().attend_rows(side.stream(), call);
          return contexts(side, call.attention);
        };
        expect_alike(work, attention_bound(cache, stored));
      }
    }
  }
}

TEST_F(DeviceKernels, AttendTiles) {
  for (const DType stored : kStored) {
    for (const Index width : {20, 64, 80, 128, 256}) {
      SCOPED_TRACE(fmt::format("{}, width {}", name(stored), width));
      const SmallCache cache{.width = width};
      constexpr Index kPrompt = 29;
      const auto work = [&](Side& side) {
        const TiledAttentionCall call{.attention = attention(side, cache, stored, kPrompt),
                                      .tiles = side.plain<RowTile>({{0, 17}, {17, 12}}),
                                      .count = 2};
        side.kernels().attend_tiles(side.stream(), call);
        return contexts(side, call.attention);
      };
      expect_alike(work, attention_bound(cache, stored));
    }
  }
}

TEST_F(DeviceKernels, MoveEntriesWithTheSameBits) {
  for (const DType stored : kStored) {
    for (const Index width : {20, 64}) {
      const SmallCache cache{.width = width};
      const auto work = [&](Side& side) {
        void* data = side.put(some_values(cache.size(), stored, 0.25), stored);
        const CacheView view = cache.view(data, stored);
        side.kernels().copy_slots(side.stream(), {view, side.plain<SlotCopyRun>({{3, 64, 9}, {40, 20, 2}}), 2});
        const Index size = SmallCache::kLayers * 3 * cache.kv_heads * width;
        EntriesCall entries{.cache = view, .layer = 0, .layers = SmallCache::kLayers, .kind = 0};
        entries.slots = side.plain<std::int32_t>({65, 1, 20});
        entries.count = 3;
        entries.entries = side.room(size, stored);
        side.kernels().export_entries(side.stream(), entries);
        const std::vector<double> exported = side.get(entries.entries, size, stored);
        entries.kind = 1;
        side.kernels().import_entries(side.stream(), entries);
        return joined(exported, side.get(data, cache.size(), stored));
      };
      expect_alike(work, 0.0);
    }
  }
}

}  // namespace
}  // namespace mlbench::gpu::vendor
