// How far activations are from float64, over all of float32, and where the kernel puts them.
#include "backends/gpu/kernels/activations.h"

#include <bit>
#include <numbers>

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
using test::on_every_warp;
using test::some_values;

constexpr double kTiniest = 0x1p-126;  // lost where a result, or what it is made from, underflows
constexpr Activation kAll[] = {Activation::silu, Activation::gelu_erf, Activation::gelu_tanh, Activation::gelu_fast,
                               Activation::relu};

// All signs and exponents with some fractions each, and [-16, 16] evenly.
std::vector<double> samples() {
  std::vector<double> out;
  constexpr std::uint32_t kInfinityBits = 0x7F800000U;
  for (std::uint32_t bits = 0; bits < kInfinityBits; bits += 240017U) {
    out.push_back(static_cast<double>(std::bit_cast<float>(bits)));
    out.push_back(static_cast<double>(std::bit_cast<float>(bits | 0x80000000U)));
  }
  for (Index i = -8192; i <= 8192; ++i) out.push_back(static_cast<double>(i) * 0x1p-9);
  return out;
}

template <int W>
std::vector<double> activated(Activation kind, const std::vector<double>& x) {
  Buffer gate = floats(x), act(DType::f32, gate.size());
  NoStream stream;
  host_device::launch_activate<W>(stream, {.kind = kind,
                                           .gate = gate.floats(),
                                           .stride = gate.size(),
                                           .act = act.floats(),
                                           .rows = 1,
                                           .width = gate.size()});
  EXPECT_TRUE(act.guarded());
  return act.values();
}

// v / (1 + e^z). A quotient and a sum: two roundings; e^z by its part of that sum, within a unit in the last place,
// which is up to two roundings, and what its exponent was off by: SiLU's is exact; GELU's comes from a square, two
// constants, a product and a sum, and another product. An e^z beyond float32 is infinite.
Bounded logistic(Activation kind, double v) {
  constexpr double kFactor = std::numbers::sqrt2_v<double> * std::numbers::inv_sqrtpi_v<double>;  // sqrt(2 / pi)
  const double z = kind == Activation::silu ? -v : -2.0 * kFactor * (v + 0.044715 * v * v * v);
  const double expected = v / (1.0 + std::exp(z));
  const double part = 1.0 / (1.0 + std::exp(-z));
  const double roundings = 2.0 + part * (2.0 + (kind == Activation::silu ? 0.0 : 6.0) * std::abs(z));
  return {expected, roundings * kUnit * std::abs(expected) + std::abs(v) * kTiniest + 0x1p-149};
}

// The tail Q: two polynomials of degrees 4 and 5 by Horner's rule, whose every step is a product and a sum of positive
// terms, and as many constants, 10 and 12 roundings at most; a quotient, an exponential of two, a product; the rounding
// of a^2, half of which is the exponent. Then 1 - Q, for v > 0, and a product.
Bounded gelu_erf(double v) {
  const double tail = 0.5 * std::erfc(std::abs(v) / std::numbers::sqrt2_v<double>);
  const double of_tail = tail * (10.0 + 12.0 + 4.0 + 0.5 * v * v);
  const double roundings = v < 0.0 ? of_tail + tail : of_tail + 2.0 * (1.0 - tail);
  return {v * (v < 0.0 ? tail : 1.0 - tail), (roundings * kUnit + kTiniest) * std::abs(v) + 0x1p-149};
}

Bounded expected(Activation kind, double v) {
  if (kind == Activation::relu) return {std::max(v, 0.0), 0.0};
  return kind == Activation::gelu_erf ? gelu_erf(v) : logistic(kind, v);
}

TEST(ActivateKernel, IsWithinAFewUnitsInTheLastPlace) {
  const std::vector<double> x = samples();
  on_every_warp([&](auto warp) {
    for (const Activation kind : kAll) {
      SCOPED_TRACE(name(kind));
      std::vector<Bounded> limits;
      for (const double v : x) limits.push_back(expected(kind, v));
      test::expect_within(activated<warp()>(kind, x), limits);
    }
  });
}

// The forms above, and the kernel's, are the reference's formula, but for its cancellation near -1: 4u |x|, and 0 where
// 1 + tanh or 1 + erf is.
TEST(ActivateKernel, IsTheReferencesFormula) {
  const std::vector<double> x = samples();
  on_every_warp([&](auto warp) {
    for (const Activation kind : kAll) {
      SCOPED_TRACE(name(kind));
      std::vector<Bounded> limits;
      for (const double v : x) {
        const double y = ref::activation(kind, v);
        limits.push_back({y, kUnit * (4.0 * std::abs(v) + 3.0 * std::abs(y)) + kTiniest});
      }
      test::expect_within(activated<warp()>(kind, x), limits);
    }
  });
}

// Roundings average out, and what is left is the approximation's own error, and its constants' roundings, of each
// polynomial less than one: a coefficient that is wrong in its sixth digit shows.
TEST(ActivateKernel, IsOffByNothingSystematicInTheTail) {
  constexpr Index kSteps = 4096;
  on_every_warp([](auto warp) {
    for (Index first = 0; first < 6; ++first) {
      std::vector<double> x;
      for (Index i = 0; i < kSteps; ++i) x.push_back(-static_cast<double>(first * kSteps + i + 1) / kSteps);
      const std::vector<double> y = activated<warp()>(Activation::gelu_erf, x);
      double sum = 0.0;
      for (std::size_t i = 0; i < x.size(); ++i) sum += y[i] / gelu_erf(x[i]).value - 1.0;
      EXPECT_LE(std::abs(sum / kSteps), 2.0 * kUnit) << "beyond " << first;
    }
  });
}

// x times a factor, which is 1 at infinity, and 0 at minus infinity, where the product is none.
TEST(ActivateKernel, IsTheFormulaAtInfinityAndAtZero) {
  const std::vector<double> x = {test::kInfinity, -test::kInfinity, test::kNan, 0.0, -0.0};
  on_every_warp([&](auto warp) {
    for (const Activation kind : kAll) {
      SCOPED_TRACE(name(kind));
      const std::vector<double> y = activated<warp()>(kind, x);
      EXPECT_EQ(y[0], x[0]);
      if (kind == Activation::relu) {
        EXPECT_EQ(y[1], 0.0);
      } else {
        EXPECT_TRUE(std::isnan(y[1]));
      }
      EXPECT_TRUE(std::isnan(y[2]));
      EXPECT_TRUE(y[3] == 0.0 && !std::signbit(y[3]));
      EXPECT_TRUE(y[4] == 0.0 && std::signbit(y[4]));
    }
  });
}

// ---- rows ----

constexpr Index kRows = 2;

// Gate and up side by side in rows of `stride` values, as one product gives them.
struct Fused {
  // `gap` values between gate and up, as many behind them.
  explicit Fused(Index width, Index gap = 0, Index offset = 0)
      : stride(2 * (width + gap)), values(floats(some_values(kRows * stride, 1, 6.0), offset)), up_at(width + gap) {}
  [[nodiscard]] ActivationCall call(Activation kind, Index width) {
    return {.kind = kind,
            .gate = values.floats(),
            .up = values.floats() + up_at,
            .stride = stride,
            .rows = kRows,
            .width = width};
  }
  [[nodiscard]] std::vector<double> column(Index begin, Index width) const {
    const std::vector<double> all = values.values();
    std::vector<double> out;
    for (Index r = 0; r < kRows; ++r) {
      out.insert(out.end(), all.begin() + r * stride + begin, all.begin() + r * stride + begin + width);
    }
    return out;
  }

  Index stride;
  Buffer values;
  Index up_at;
};

std::vector<double> float_product(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> out;
  for (std::size_t i = 0; i < a.size(); ++i) {
    out.push_back(static_cast<double>(static_cast<float>(a[i]) * static_cast<float>(b[i])));
  }
  return out;
}

// The gate's array is the first, and `up` moves with it but by the gap between them.
TEST(ActivateKernel, TakesRowsOfAnyWidthStrideAndAddress) {
  test::on_every_row(4, [](auto warp, Index width, Moved moved) {
    for (const Index gap : {0, 1, 2, 4}) {
      SCOPED_TRACE(gap);
      Fused fused(width, gap, moved(0));
      Buffer act(DType::f32, kRows * width, moved(1)), hidden(DType::f32, kRows * width, moved(2));
      Buffer stored(DType::bf16, kRows * width, moved(3));
      ActivationCall call = fused.call(Activation::silu, width);
      call.act = act.floats();
      call.hidden = hidden.floats();
      call.stored = DType::bf16;
      call.hidden_stored = stored.data();
      NoStream stream;
      host_device::launch_activate<warp()>(stream, call);
      std::vector<Bounded> limits;
      for (const double v : fused.column(0, width)) limits.push_back(expected(Activation::silu, v));
      test::expect_within(act.values(), limits);
      EXPECT_EQ(hidden.values(), float_product(act.values(), fused.column(fused.up_at, width)));
      EXPECT_EQ(stored.bytes(), test::rounded_bytes(DType::bf16, hidden.values()));
      EXPECT_TRUE(act.guarded() && hidden.guarded() && stored.guarded());
    }
  });
}

TEST(ActivateKernel, WithoutAGateTheHiddenIsTheActivation) {
  on_every_warp([](auto warp) {
    for (const Activation kind : kAll) {
      for (const DType type : kStored) {
        const Index width = 52;
        Fused fused(width);
        Buffer hidden(DType::f32, kRows * width), stored(type, kRows * width);
        ActivationCall call = fused.call(kind, width);
        call.up = nullptr;
        call.hidden = hidden.floats();
        call.stored = type;
        call.hidden_stored = stored.data();
        NoStream stream;
        host_device::launch_activate<warp()>(stream, call);
        EXPECT_EQ(hidden.values(), activated<warp()>(kind, fused.column(0, width))) << name(kind);
        EXPECT_EQ(stored.bytes(), test::rounded_bytes(type, hidden.values())) << name(kind);
      }
    }
  });
}

// As in a session: the narrow values alone.
TEST(ActivateKernel, WritesOnlyWhatIsWanted) {
  on_every_warp([](auto warp) {
    for (const DType type : kStored) {
      const Index width = 36;
      Fused fused(width);
      Buffer stored(type, kRows * width);
      ActivationCall call = fused.call(Activation::gelu_tanh, width);
      call.stored = type;
      call.hidden_stored = stored.data();
      NoStream stream;
      host_device::launch_activate<warp()>(stream, call);
      const std::vector<double> act = activated<warp()>(Activation::gelu_tanh, fused.column(0, width));
      EXPECT_EQ(stored.bytes(), test::rounded_bytes(type, float_product(act, fused.column(width, width))));
      EXPECT_TRUE(fused.values.guarded() && stored.guarded());
    }
  });
}

TEST(ActivateKernel, OfNothingReadsNothing) {
  NoStream stream;
  host_device::launch_activate<32>(stream, {.width = 8});
  host_device::launch_activate<32>(stream, {.rows = 8});
}

TEST(ActivateKernel, RefusesATypeThatIsNotStored) {
  NoStream stream;
  const ActivationCall call{.stored = DType::f64, .rows = 1, .width = 8};
  EXPECT_EQ(test::code_of([&] { host_device::launch_activate<32>(stream, call); }), "backend.failed");
}

}  // namespace
}  // namespace mlbench::gpu
