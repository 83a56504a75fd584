#include "backends/gpu/kernels/qkv.h"

#include <algorithm>

#include "reference/ops.h"
#include "reference/rope.h"
#include "tests/backends/gpu/kernel_test.h"

namespace mlbench::gpu {
namespace {

using test::Bounded;
using test::Buffer;
using test::floats;
using test::kStored;
using test::kUnit;
using test::Moved;
using test::NoStream;
using test::on_every_warp;
using test::some_values;

constexpr Index kRows = 3, kPositions = 11, kLayers = 2, kPages = 3, kPageSize = 4;
constexpr std::int32_t kAt[kRows] = {7, 0, 10};    // positions
constexpr std::int32_t kSlots[kRows] = {9, 2, 3};  // one page is not used
constexpr Index kLayer = 1;
constexpr float kEps = 1e-5F;

// Which array is which, of those that may be moved.
enum Array : Index {
  kProduct,
  kQWeight,
  kQBias,
  kKWeight,
  kKBias,
  kCos,
  kSin,
  kCache,
  kQOut,
  kQNormed,
  kKNormed,
  kArrays
};

// A call, with heads wherever a product puts them.
struct Problem {
  Index heads = 3, kv_heads = 1, width = 8, rotary = 0;
  DType stored = DType::f32;
  float clip = 0.0F;
  bool normalizes = false;
  bool fused_by_head = false;  // keys and values in turn, as GPT BigCode has them
  Index gap = 0;               // behind every head
  Moved moved = Moved(-1);

  [[nodiscard]] Index row_stride() const { return (heads + 2 * kv_heads) * (width + gap); }
  [[nodiscard]] Index head_stride(char kind) const { return (kind != 'q' && fused_by_head ? 2 : 1) * (width + gap); }
  // Where a head of a row begins in the product.
  [[nodiscard]] Index head(char kind, Index row, Index h) const {
    const Index keys = heads * (width + gap), values = keys + (fused_by_head ? 1 : kv_heads) * (width + gap);
    const Index first = kind == 'q' ? 0 : kind == 'k' ? keys : values;
    return row * row_stride() + first + h * head_stride(kind);
  }
};

// Everything a call reads and writes.
struct Room {
  explicit Room(const Problem& p) : Room(p, some_values(kRows * p.row_stride(), 1, 2.0)) {}
  Room(const Problem& p, const std::vector<double>& product)
      : fused(floats(product, p.moved(kProduct))),
        q_weight(floats(some_values(p.width, 2, 2.0), p.moved(kQWeight))),
        q_bias(floats(some_values(p.width, 3, 1.0), p.moved(kQBias))),
        k_weight(floats(some_values(p.width, 4, 2.0), p.moved(kKWeight))),
        k_bias(floats(some_values(p.width, 5, 1.0), p.moved(kKBias))),
        cos(floats(some_values(kPositions * p.rotary / 2, 6, 1.0), p.moved(kCos))),
        sin(floats(some_values(kPositions * p.rotary / 2, 7, 1.0), p.moved(kSin))),
        cache(p.stored,
              std::vector<double>(static_cast<std::size_t>(kLayers * 2 * kPages * p.kv_heads * kPageSize * p.width),
                                  kEmpty),
              p.moved(kCache)),
        q_out(DType::f32, kRows * p.heads * p.width, p.moved(kQOut)),
        q_normed(DType::f32, kRows * p.heads * p.width, p.moved(kQNormed)),
        k_normed(DType::f32, kRows * p.kv_heads * p.width, p.moved(kKNormed)) {}

  [[nodiscard]] CacheView view(const Problem& p) {
    return {.stored = p.stored,
            .data = cache.data(),
            .layers = kLayers,
            .pages = kPages,
            .heads = p.kv_heads,
            .page_size = kPageSize,
            .width = p.width};
  }
  [[nodiscard]] HeadRows heads(const Problem& p, char kind) {
    return {fused.floats() + p.head(kind, 0, 0), p.row_stride(), p.head_stride(kind)};
  }
  [[nodiscard]] QkvCall call(const Problem& p) {
    QkvCall call{.q = heads(p, 'q'),
                 .k = heads(p, 'k'),
                 .v = heads(p, 'v'),
                 .rows = kRows,
                 .heads = p.heads,
                 .kv_heads = p.kv_heads,
                 .width = p.width,
                 .clip = p.clip,
                 .norm_eps = kEps,
                 .slots = kSlots,
                 .layer = kLayer,
                 .cache = view(p),
                 .q_out = q_out.floats()};
    if (p.normalizes) {
      call.q_weight = q_weight.floats();
      call.q_bias = q_bias.floats();
      call.k_weight = k_weight.floats();
      call.k_bias = k_bias.floats();
    }
    if (p.rotary > 0) {
      call.cos = cos.floats();
      call.sin = sin.floats();
      call.positions = kAt;
      call.rotary = p.rotary;
    }
    return call;
  }
  [[nodiscard]] bool guarded() const {
    return fused.guarded() && cache.guarded() && q_out.guarded() && q_normed.guarded() && k_normed.guarded();
  }

  static constexpr double kEmpty = 77.0;  // of entries that are not written
  Buffer fused, q_weight, q_bias, k_weight, k_bias, cos, sin, cache, q_out, q_normed, k_normed;
};

// ---- what the reference makes of a head ----

std::vector<Bounded> exact(const std::vector<double>& values) {
  std::vector<Bounded> out;
  for (const double v : values) out.push_back({v, 0.0});
  return out;
}

// LayerNorm of a head, within norm_kernels_test.cpp's bound; the sum of d terms has at most d additions.
std::vector<Bounded> normed_head(const std::vector<double>& x, const std::vector<double>& weight,
                                 const std::vector<double>& bias) {
  const auto width = static_cast<Index>(x.size());
  const auto n = static_cast<double>(width), eps = static_cast<double>(kEps);
  Workers workers(1);
  const ref::Tensor y = ref::Ops(workers).layer_norm(ref::Tensor({1, width}, x), {weight, bias}, eps);
  double mean = 0.0, magnitude = 0.0, var = 0.0;
  for (const double v : x) mean += v / n;
  for (const double v : x) magnitude += std::abs(v) / n, var += (v - mean) * (v - mean) / n;
  const double sums = std::min(n, 4.0 * std::ceil(n / 128.0) + 6.0);  // of a lane, and the warp's tree
  const double shift = (sums + 1.0) * kUnit * magnitude, root = std::sqrt(var + eps);
  const double of_spread = shift * shift + (sums + 4.0) * kUnit * (var + shift * shift);
  const double relative = (of_spread / (var + eps) + kUnit) / 2.0 + 4.0 * kUnit;
  std::vector<Bounded> out;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double limit = std::abs(weight[i]) / root * (shift + (std::abs(x[i] - mean) + shift) * relative);
    out.push_back({y.values()[i], 1.01 * limit + kUnit * std::abs(y.values()[i])});
  }
  return out;
}

// Two products and a sum: errors of what enters by cosine and sine, each product and the sum rounded.
std::vector<Bounded> rotated_head(const std::vector<Bounded>& x, const double* cos, const double* sin, Index rotary) {
  std::vector<double> values;
  for (const Bounded& v : x) values.push_back(v.value);
  ref::rotate(values.data(), cos, sin, rotary);
  std::vector<Bounded> out = x;
  const auto half = static_cast<std::size_t>(rotary / 2);
  for (std::size_t i = 0; i < half; ++i) {
    for (const std::size_t at : {i, i + half}) {
      const Bounded &own = x[at], &other = x[2 * i + half - at];
      const double c = std::abs(cos[i]), s = std::abs(sin[i]);
      const double limit = c * own.limit + s * other.limit;
      const double size = c * std::abs(own.value) + s * std::abs(other.value) + limit;
      out[at] = {values[at], limit + 2.0 * kUnit * size};
    }
  }
  return out;
}

struct Expected {
  std::vector<Bounded> normed, out;
};

Expected expected_head(const Problem& p, const Room& room, char kind, Index row, Index h) {
  const std::vector<double> fused = room.fused.values();
  const auto begin = fused.begin() + p.head(kind, row, h);
  std::vector<double> x(begin, begin + p.width);
  if (p.clip != 0.0F) {
    Workers workers(1);
    const ref::Tensor clipped = ref::Ops(workers).clamp(ref::Tensor({1, p.width}, x), static_cast<double>(p.clip));
    x.assign(clipped.values().begin(), clipped.values().end());
  }
  Expected out{exact(x), exact(x)};
  if (kind == 'v') return out;
  if (p.normalizes) {
    out.normed = kind == 'q' ? normed_head(x, room.q_weight.values(), room.q_bias.values())
                             : normed_head(x, room.k_weight.values(), room.k_bias.values());
    out.out = out.normed;
  }
  if (p.rotary > 0) {
    const std::vector<double> cos = room.cos.values(), sin = room.sin.values();
    const Index at = kAt[row] * (p.rotary / 2);
    out.out = rotated_head(out.normed, cos.data() + at, sin.data() + at, p.rotary);
  }
  return out;
}

// ---- what the kernel made of them ----

std::vector<double> part(const std::vector<double>& all, Index begin, Index count) {
  return {all.begin() + begin, all.begin() + begin + count};
}

void expect_queries(const Problem& p, const Room& room, bool normed) {
  const std::vector<double> out = room.q_out.values(), before = room.q_normed.values();
  for (Index row = 0; row < kRows; ++row) {
    for (Index h = 0; h < p.heads; ++h) {
      SCOPED_TRACE(testing::Message() << "query, row " << row << ", head " << h);
      const Expected expected = expected_head(p, room, 'q', row, h);
      const Index begin = (row * p.heads + h) * p.width;
      test::expect_within(part(out, begin, p.width), expected.out);
      if (normed) test::expect_within(part(before, begin, p.width), expected.normed);
    }
  }
}

// Keys and values, rounded, in their slots, and nothing anywhere else.
void expect_entries(const Problem& p, Room& room, bool normed) {
  const std::vector<double> before = room.k_normed.values();
  std::vector<double> cache = room.cache.values();
  for (Index row = 0; row < kRows; ++row) {
    for (Index h = 0; h < p.kv_heads; ++h) {
      for (const char kind : {'k', 'v'}) {
        SCOPED_TRACE(testing::Message() << kind << ", row " << row << ", head " << h);
        Expected expected = expected_head(p, room, kind, row, h);
        for (Bounded& e : expected.out) e.limit = test::stored_limit(p.stored, e.value, e.limit);
        const Index begin = room.view(p).offset(kLayer, kind == 'k' ? 0 : 1, kSlots[row], h);
        test::expect_within(part(cache, begin, p.width), expected.out);
        std::fill_n(cache.begin() + begin, p.width, Room::kEmpty);
        if (normed && kind == 'k') {
          test::expect_within(part(before, (row * p.kv_heads + h) * p.width, p.width), expected.normed);
        }
      }
    }
  }
  EXPECT_EQ(cache, std::vector<double>(cache.size(), Room::kEmpty));
}

template <int W>
void expect_right(const Problem& p) {
  for (const bool normed : {false, true}) {
    Room room(p);
    QkvCall call = room.call(p);
    if (normed) {
      call.q_normed = room.q_normed.floats();
      call.k_normed = room.k_normed.floats();
    }
    NoStream stream;
    host_device::launch_rotate_and_append<W>(stream, call);
    expect_queries(p, room, normed);
    expect_entries(p, room, normed);
    EXPECT_TRUE(room.guarded());
    if (normed) continue;
    EXPECT_EQ(room.q_normed.bytes(), Buffer(DType::f32, room.q_normed.size()).bytes());
    EXPECT_EQ(room.k_normed.bytes(), Buffer(DType::f32, room.k_normed.size()).bytes());
  }
}

// Calls test(warp, problem) for widths around a warp's values, four to a lane or one, and rotations of none, some and
// all of them.
template <class Test>
void on_every_head(const Test& test) {
  on_every_warp([&](auto warp) {
    const Index w = warp();
    for (const Index width : {Index{1}, Index{4}, Index{6}, w - 1, w, w + 1, Index{80}, 3 * w + 5, 4 * w + 4}) {
      for (const Index rotary : {Index{0}, Index{2}, width / 4 * 2, width / 8 * 8, width / 2 * 2}) {
        if (rotary > width) continue;
        SCOPED_TRACE(testing::Message() << "d " << width << ", D " << rotary);
        Problem p;
        p.width = width;
        p.rotary = rotary;
        test(warp, p);
      }
    }
  });
}

TEST(QkvKernel, RotatesPairsHalfARotaryWidthApart) {
  on_every_head([](auto warp, Problem p) { expect_right<warp()>(p); });
}

TEST(QkvKernel, NormalizesHeadsBeforeItRotatesThem) {
  on_every_head([](auto warp, Problem p) {
    p.normalizes = true;
    expect_right<warp()>(p);
  });
}

TEST(QkvKernel, ClipsQueriesKeysAndValuesFirst) {
  on_every_head([](auto warp, Problem p) {
    p.clip = 1.5F;
    for (const bool normalizes : {false, true}) {
      p.normalizes = normalizes;
      expect_right<warp()>(p);
    }
  });
}

TEST(QkvKernel, RoundsKeysAndValuesToTheCache) {
  on_every_head([](auto warp, Problem p) {
    for (const DType type : kStored) {
      p.stored = type;
      expect_right<warp()>(p);
    }
  });
}

// More heads than a block has warps; grouped, one key-value head, and as many as queries; laid out both ways.
TEST(QkvKernel, TakesHeadsInAnyNumberAndAnywhere) {
  on_every_warp([](auto warp) {
    for (const auto& [heads, kv_heads] : {std::pair<Index, Index>(1, 1), {7, 7}, {8, 2}, {9, 1}, {20, 5}}) {
      for (const bool fused_by_head : {false, true}) {
        SCOPED_TRACE(testing::Message() << heads << " heads, " << kv_heads << (fused_by_head ? " by head" : ""));
        Problem p;
        p.heads = heads;
        p.kv_heads = kv_heads;
        p.width = 24;
        p.rotary = 16;
        p.fused_by_head = fused_by_head;
        p.normalizes = true;
        p.stored = DType::bf16;
        expect_right<warp()>(p);
      }
    }
  });
}

// Packs are of four values: heads whose distance is none, and arrays that begin between two.
TEST(QkvKernel, TakesArraysAtAnyAddress) {
  on_every_warp([](auto warp) {
    for (const Index gap : {0, 1, 2, 4}) {
      for (Index array = -1; array < kArrays; ++array) {
        SCOPED_TRACE(testing::Message() << "gap " << gap << ", array " << array << " moved");
        Problem p;
        p.heads = 4;
        p.kv_heads = 2;
        p.width = 24;
        p.rotary = 16;
        p.normalizes = true;
        p.gap = gap;
        p.moved = Moved(array);
        expect_right<warp()>(p);
      }
    }
  });
}

// Normalized without a bias.
TEST(QkvKernel, TakesNormsWithoutBias) {
  on_every_warp([](auto warp) {
    Problem p;
    p.width = 64;
    p.normalizes = true;
    Room room(p);
    room.q_bias = floats(std::vector<double>(64));
    room.k_bias = floats(std::vector<double>(64));
    QkvCall call = room.call(p);
    call.q_bias = call.k_bias = nullptr;
    NoStream stream;
    host_device::launch_rotate_and_append<warp()>(stream, call);
    expect_queries(p, room, false);
    expect_entries(p, room, false);
  });
}

TEST(QkvKernel, AClipKeepsNotANumber) {
  on_every_warp([](auto warp) {
    Problem p;
    p.heads = 1;
    p.width = 4;
    p.clip = 2.0F;
    std::vector<double> product(static_cast<std::size_t>(kRows * p.row_stride()), 1.0);
    for (std::size_t i = 0; i + 3 < product.size(); i += 4) {
      product[i] = test::kNan;
      product[i + 1] = test::kInfinity;
      product[i + 2] = -test::kInfinity;
    }
    Room room(p, product);
    NoStream stream;
    host_device::launch_rotate_and_append<warp()>(stream, room.call(p));
    expect_queries(p, room, false);
    expect_entries(p, room, false);
    EXPECT_TRUE(std::isnan(room.q_out.floats()[0]));
    EXPECT_EQ(room.q_out.floats()[1], 2.0F);
    EXPECT_EQ(room.q_out.floats()[2], -2.0F);
  });
}

// A head's bits do not depend on the rows and heads beside it.
TEST(QkvKernel, HeadsDoNotSeeEachOther) {
  on_every_warp([](auto warp) {
    Problem p;
    p.width = 36;
    p.rotary = 8;
    p.normalizes = true;
    Room all(p), one(p);
    NoStream stream;
    host_device::launch_rotate_and_append<warp()>(stream, all.call(p));
    QkvCall call = one.call(p);
    call.q.data += p.head('q', 2, 1);
    call.rows = 1;
    call.heads = 1;
    call.positions = kAt + 2;
    host_device::launch_rotate_and_append<warp()>(stream, call);
    EXPECT_EQ(part(one.q_out.values(), 0, p.width), part(all.q_out.values(), (2 * p.heads + 1) * p.width, p.width));
  });
}

TEST(QkvKernel, OfNoRowsReadsNothing) {
  NoStream stream;
  host_device::launch_rotate_and_append<32>(stream, {.heads = 2, .kv_heads = 1, .width = 8});
}

TEST(QkvKernel, RefusesATypeThatIsNotStored) {
  NoStream stream;
  QkvCall call{.rows = 1, .heads = 2, .kv_heads = 1, .width = 8};
  call.cache.stored = DType::f64;
  EXPECT_EQ(test::code_of([&] { host_device::launch_rotate_and_append<32>(stream, call); }), "backend.failed");
}

}  // namespace
}  // namespace mlbench::gpu
