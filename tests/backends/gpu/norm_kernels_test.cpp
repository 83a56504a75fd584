#include "backends/gpu/kernels/norms.h"

#include "reference/ops.h"
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
using test::on_every_row;
using test::on_every_warp;
using test::some_values;

constexpr Index kRows = 2;
constexpr float kEps = 1e-5F;

// How the rows of a call are normalized; empty: none.
struct Rule {
  bool subtracts_mean = false;
  std::vector<double> weight, bias;
};

// Additions on the way of a value through the sum of a row: one after the other in a thread, of which there are as many
// as there are packs of four but at most 512, and a tree or a chain of at most 16 warps and 6 levels in a warp.
double additions(Index width) {
  const double in_thread = 4.0 * std::ceil(static_cast<double>(width) / (4.0 * 512.0));
  return std::min(static_cast<double>(width), in_thread + 16.0 + 6.0);
}

// The error of a row's values but for the rounding of the last step, in x's own scale: (x - mean) / sqrt(var + eps).
//
// The mean's error: every term by its additions and a division, d. The difference: d and a rounding. A variance about a
// shifted mean is larger by d^2; its terms are rounded by their additions, twice a difference's rounding, a square and
// a division; then epsilon's addition: relative to var + eps. Of that the root has half, and a rounding of its own; the
// quotient another.
struct RowError {
  double mean = 0.0, root = 1.0, shift = 0.0, relative = 0.0;
};

RowError row_error(const Rule& rule, const std::vector<double>& x) {
  const auto n = static_cast<double>(x.size());
  RowError out;
  double magnitude = 0.0, var = 0.0;
  for (const double v : x) {
    if (rule.subtracts_mean) out.mean += v / n;
    magnitude += std::abs(v) / n;
  }
  for (const double v : x) var += (v - out.mean) * (v - out.mean) / n;
  const double sums = additions(static_cast<Index>(x.size()));
  if (rule.subtracts_mean) out.shift = (sums + 1.0) * kUnit * magnitude;
  const double spread = var + out.shift * out.shift;
  const double of_spread = out.shift * out.shift + (sums + 4.0) * kUnit * spread;
  out.root = std::sqrt(var + static_cast<double>(kEps));
  out.relative = (of_spread / (var + static_cast<double>(kEps)) + kUnit) / 2.0 + 2.0 * kUnit;
  return out;
}

// What the reference makes of a row, and how far float32 may be off: the row's error, the weight's product, the bias's
// sum. Products of errors are a hundredth at most.
std::vector<Bounded> expected_row(const Rule& rule, const std::vector<double>& x) {
  const auto n = static_cast<Index>(x.size());
  const ref::Tensor row({1, n}, x);
  const ref::Norm norm{rule.weight, rule.bias};
  Workers workers(1);
  const ref::Ops ops(workers);
  const auto eps = static_cast<double>(kEps);
  ref::Tensor y = rule.subtracts_mean ? ops.layer_norm(row, norm, eps) : ops.rms_norm(row, norm, eps);
  if (!rule.subtracts_mean && !rule.bias.empty())
    y = ops.add(y, ref::Tensor({1, n}, rule.bias));  // the models have none
  const RowError error = row_error(rule, x);
  std::vector<Bounded> out;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double weight = rule.weight.empty() ? 1.0 : std::abs(rule.weight[i]);
    const double centred = std::abs(x[i] - error.mean) + error.shift;
    const double difference = error.shift + (rule.subtracts_mean ? kUnit * centred : 0.0);
    const double of_weighted = weight / error.root * (difference + centred * (error.relative + kUnit));
    out.push_back({y.values()[i], 1.01 * of_weighted + kUnit * std::abs(y.values()[i]) + 0x1p-149});
  }
  return out;
}

void expect_rows(const Rule& rule, const std::vector<double>& x, const std::vector<double>& y, Index width) {
  for (Index r = 0; r < static_cast<Index>(x.size()) / width; ++r) {
    const auto row = [&](const std::vector<double>& of) {
      return std::vector<double>(of.begin() + r * width, of.begin() + (r + 1) * width);
    };
    test::expect_within(row(y), expected_row(rule, row(x)));
  }
}

// Which array is which, of those that may be moved.
enum Array : Index { kX, kFirst, kSecond, kWeight, kBias, kY, kYStored, kArrays };

// The rule's part of a call, with its weights in the device's memory.
struct Rules {
  explicit Rules(const Rule& rule, Moved moved = Moved(-1))
      : weight(floats(rule.weight, moved(kWeight))),
        bias(floats(rule.bias, moved(kBias))),
        subtracts_mean(rule.subtracts_mean) {}
  [[nodiscard]] NormCall call(Index rows, Index width) {
    return {.subtracts_mean = subtracts_mean,
            .eps = kEps,
            .weight = weight.size() == 0 ? nullptr : weight.floats(),
            .bias = bias.size() == 0 ? nullptr : bias.floats(),
            .rows = rows,
            .width = width};
  }

  Buffer weight, bias;
  bool subtracts_mean;
};

// Calls test(warp, rule, width, moved).
template <class Test>
void on_every_norm(const Test& test) {
  on_every_row(kArrays, [&](auto warp, Index width, Moved moved) {
    for (const bool subtracts_mean : {false, true}) {
      SCOPED_TRACE(subtracts_mean ? "LayerNorm" : "RMSNorm");
      const Rule rule{subtracts_mean, some_values(width, 1, 2.0), some_values(width, 2, 1.0)};
      test(warp, rule, width, moved);
    }
  });
}

TEST(NormKernel, IsTheReferencesWithinFloat32) {
  on_every_norm([](auto warp, const Rule& rule, Index width, Moved moved) {
    const std::vector<double> values = some_values(kRows * width, 3, 3.0);
    Buffer x = floats(values, moved(kX)), y(DType::f32, kRows * width, moved(kY));
    Rules rules(rule, moved);
    NormCall call = rules.call(kRows, width);
    call.x = x.floats();
    call.y = y.floats();
    NoStream stream;
    host_device::launch_normalize<warp()>(stream, call);
    expect_rows(rule, values, y.values(), width);
    EXPECT_EQ(x.values(), values) << "nothing was to be added";
    EXPECT_TRUE(x.guarded() && y.guarded());

    call.y = x.floats();
    host_device::launch_normalize<warp()>(stream, call);
    expect_rows(rule, values, x.values(), width);
    EXPECT_TRUE(x.guarded());
  });
}

TEST(NormKernel, TakesRowsWithoutWeightOrBias) {
  on_every_warp([](auto warp) {
    for (const bool subtracts_mean : {false, true}) {
      for (const bool weighted : {false, true}) {
        const Index width = 132;
        const Rule rule{subtracts_mean, weighted ? some_values(width, 1, 2.0) : std::vector<double>(),
                        weighted ? std::vector<double>() : some_values(width, 2, 1.0)};
        const std::vector<double> values = some_values(kRows * width, 4, 0.01);  // epsilon matters
        Buffer x = floats(values), y(DType::f32, kRows * width);
        Rules rules(rule);
        NormCall call = rules.call(kRows, width);
        call.x = x.floats();
        call.y = y.floats();
        NoStream stream;
        host_device::launch_normalize<warp()>(stream, call);
        expect_rows(rule, values, y.values(), width);
      }
    }
  });
}

// Rows around 1000, where a variance from sums of squares would be lost: 1000^2 2^-24 is 0.06, theirs 0.08.
TEST(NormKernel, CancelsNothingFarFromZero) {
  on_every_warp([](auto warp) {
    const Index width = 1028;
    std::vector<double> values = some_values(width, 5, 0.5);
    for (double& v : values) v = static_cast<double>(static_cast<float>(1000.0 + v));
    const Rule rule{true, {}, {}};
    Buffer x = floats(values), y(DType::f32, width);
    Rules rules(rule);
    NormCall call = rules.call(1, width);
    call.x = x.floats();
    call.y = y.floats();
    NoStream stream;
    host_device::launch_normalize<warp()>(stream, call);
    expect_rows(rule, values, y.values(), width);
  });
}

// Not x + (first + second): both additions are rounded, in this order.
TEST(NormKernel, AddsTheFirstThenTheSecond) {
  on_every_norm([](auto warp, const Rule& rule, Index width, Moved moved) {
    for (const bool parallel : {false, true}) {
      const std::vector<double> values = some_values(kRows * width, 6, 3.0);
      Buffer x = floats(values, moved(kX)), y(DType::f32, kRows * width, moved(kY));
      Buffer first = floats(some_values(kRows * width, 7, 3.0), moved(kFirst));
      Buffer second = floats(some_values(kRows * width, 8, 3.0), moved(kSecond));
      Rules rules(rule, moved);
      NormCall call = rules.call(kRows, width);
      call.x = x.floats();
      call.first = first.floats();
      call.second = parallel ? second.floats() : nullptr;
      call.y = y.floats();
      NoStream stream;
      host_device::launch_normalize<warp()>(stream, call);
      std::vector<double> sums = test::float_sum(values, first.values());
      if (parallel) sums = test::float_sum(sums, second.values());
      EXPECT_EQ(x.values(), sums);
      expect_rows(rule, sums, y.values(), width);
      EXPECT_TRUE(x.guarded() && y.guarded());
    }
  });
}

TEST(NormKernel, OnlyAddsWhereItIsTold) {
  on_every_warp([](auto warp) {
    const Index width = 37;
    const std::vector<double> values = some_values(kRows * width, 9, 3.0);
    Buffer x = floats(values), first = floats(some_values(kRows * width, 10, 3.0)), y(DType::f32, kRows * width);
    NoStream stream;
    host_device::launch_normalize<warp()>(stream, {.x = x.floats(),
                                                   .first = first.floats(),
                                                   .normalizes = false,
                                                   .y = y.floats(),
                                                   .rows = kRows,
                                                   .width = width});
    EXPECT_EQ(x.values(), test::float_sum(values, first.values()));
    EXPECT_EQ(y.bytes(), Buffer(DType::f32, kRows * width).bytes());
  });
}

TEST(NormKernel, StoresTheSameValuesRounded) {
  on_every_row(1, [](auto warp, Index width, Moved moved) {
    const Rule rule{true, some_values(width, 1, 2.0), some_values(width, 2, 1.0)};
    for (const DType type : kStored) {
      Buffer x = floats(some_values(kRows * width, 11, 3.0)), y(DType::f32, kRows * width);
      Buffer both(type, kRows * width, moved(0)), alone(type, kRows * width, moved(0));
      Rules rules(rule);
      NormCall call = rules.call(kRows, width);
      call.stored = type;
      call.x = x.floats();
      call.y = y.floats();
      call.y_stored = both.data();
      NoStream stream;
      host_device::launch_normalize<warp()>(stream, call);
      EXPECT_EQ(both.bytes(), test::rounded_bytes(type, y.values()));
      EXPECT_TRUE(both.guarded());
      call.y = nullptr;
      call.y_stored = alone.data();
      host_device::launch_normalize<warp()>(stream, call);
      EXPECT_EQ(alone.bytes(), both.bytes());
    }
  });
}

// A row's bits do not depend on the rows beside it.
TEST(NormKernel, RowsDoNotSeeEachOther) {
  on_every_warp([](auto warp) {
    const Index width = 132;
    const std::vector<double> values = some_values(kRows * width, 12, 3.0);
    const Rule rule{true, some_values(width, 1, 2.0), some_values(width, 2, 1.0)};
    Rules rules(rule);
    Buffer x = floats(values), y(DType::f32, kRows * width), alone(DType::f32, width);
    NormCall call = rules.call(kRows, width);
    call.x = x.floats();
    call.y = y.floats();
    NoStream stream;
    host_device::launch_normalize<warp()>(stream, call);
    call.rows = 1;
    call.x = x.floats() + width;
    call.y = alone.floats();
    host_device::launch_normalize<warp()>(stream, call);
    const std::vector<double> all = y.values();
    EXPECT_EQ(alone.values(), std::vector<double>(all.begin() + width, all.end()));
  });
}

// As in the reference: infinity divided by infinity is none, what is finite beside it becomes 0, and where the mean is
// subtracted, nothing is a number.
TEST(NormKernel, PassesInfinitiesAndNotANumberOn) {
  on_every_warp([](auto warp) {
    for (const bool subtracts_mean : {false, true}) {
      for (const double bad : {test::kInfinity, -test::kInfinity, test::kNan}) {
        const Index width = 70;
        std::vector<double> values = some_values(width, 13, 3.0);
        values[67] = bad;
        const Rule rule{subtracts_mean, {}, {}};
        Rules rules(rule);
        Buffer x = floats(values), y(DType::f32, width);
        NormCall call = rules.call(1, width);
        call.x = x.floats();
        call.y = y.floats();
        NoStream stream;
        host_device::launch_normalize<warp()>(stream, call);
        std::vector<Bounded> expected = expected_row(rule, values);
        for (Bounded& e : expected) e.limit = 0.0;
        test::expect_within(y.values(), expected);
      }
    }
  });
}

TEST(NormKernel, OfNothingReadsNothing) {
  NoStream stream;
  host_device::launch_normalize<32>(stream, {.width = 8});
  host_device::launch_normalize<32>(stream, {.rows = 8});
}

TEST(NormKernel, RefusesATypeThatIsNotStored) {
  NoStream stream;
  const NormCall call{.stored = DType::f64, .rows = 1, .width = 8};
  EXPECT_EQ(test::code_of([&] { host_device::launch_normalize<32>(stream, call); }), "backend.failed");
}

}  // namespace
}  // namespace mlbench::gpu
