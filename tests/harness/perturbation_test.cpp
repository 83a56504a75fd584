// Values moved at random: without bias, onto the type's own values, the same from the same seed, never replica 0's.
#include "harness/perturbation.h"

#include <algorithm>
#include <cmath>
#include <set>

#include <gmock/gmock.h>

#include "harness/replicas.h"
#include "harness/rounding.h"
#include "reference/ops.h"
#include "reference/product.h"
#include "tests/harness/bounds_of.h"
#include "tests/harness/float_operators.h"

namespace mlbench::harness {
namespace {

using ref::Tensor;
using test::BoundsOf;

constexpr Index kReplicas = 9, kRows = 5;

TEST(Noise, HasTheMomentsThatItSays) {
  Noise noise(1);
  constexpr int kDraws = 200000;
  double sum = 0.0, squares = 0.0, uniform = 0.0;
  for (int i = 0; i < kDraws; ++i) {
    const double z = noise.normal(), v = noise.uniform();
    ASSERT_LT(std::fabs(z), 3.47);
    ASSERT_TRUE(v >= 0.0 && v < 1.0);
    sum += z;
    squares += z * z;
    uniform += v;
  }
  // Five standard errors: 1 / sqrt(n), about sqrt(1.7 / n) for the variance, sqrt(1 / 12 n).
  EXPECT_NEAR(sum / kDraws, 0.0, 5.0 / std::sqrt(kDraws));
  EXPECT_NEAR(squares / kDraws, 1.0, 6.5 / std::sqrt(kDraws));
  EXPECT_NEAR(uniform / kDraws, 0.5, 1.45 / std::sqrt(kDraws));
}

TEST(RandomRounding, GivesOneOfTheTwoNeighboursWithTheRightMean) {
  for (const DType type : {DType::f32, DType::bf16, DType::f16}) {
    for (const double value : {1.0 / 3.0, -1000.1, 1.003, 3e-6, 0.9981}) {
      Noise noise(3);
      std::set<double> seen;
      double sum = 0.0;
      constexpr int kDraws = 20000;
      for (int i = 0; i < kDraws; ++i) {
        const double rounded = rounded_at_random(value, type, noise);
        seen.insert(rounded);
        sum += rounded - value;
      }
      const double step = *seen.rbegin() - *seen.begin();
      EXPECT_EQ(seen.size(), 2U);
      EXPECT_LE(*seen.begin(), value);
      EXPECT_GE(*seen.rbegin(), value);
      for (const double rounded : seen) EXPECT_EQ(test::narrowed(type, rounded), rounded) << name(type) << " " << value;
      EXPECT_NEAR(sum / kDraws, 0.0, 2.5 * step / std::sqrt(kDraws)) << name(type) << " " << value;  // five errors
    }
  }
}

TEST(RandomRounding, LeavesWhatTheTypeHolds) {
  Noise noise(1);
  for (const DType type : {DType::f64, DType::f32, DType::bf16, DType::f16}) {
    for (const double value : {0.0, 1.0, -2.5, 0x1p-14, 0x1p-24, 240.0, static_cast<double>(HUGE_VAL)}) {
      if (test::narrowed(type, value) != value) continue;
      for (int i = 0; i < 100; ++i) ASSERT_EQ(rounded_at_random(value, type, noise), value) << name(type);
    }
    EXPECT_TRUE(std::isnan(rounded_at_random(std::nan(""), type, noise)));
  }
}

class PerturbationOf {
 public:
  explicit PerturbationOf(const backends::Arithmetic& arithmetic)
      : bounds_(test::one_layer(Architecture::llama), arithmetic) {}

  // The tap's rows, the same in all replicas, moved.
  [[nodiscard]] Tensor moved(TapId id, TapLayout layout, const Tensor& same, std::uint64_t seed = 1,
                             std::uint64_t call = 1) {
    Perturbation perturbation(bounds_.model(), bounds_.errors(), seed);
    perturbation.note_product_input(test::normal_values({kReplicas * kRows, 192}, DType::f32, 3));
    Tensor value = same;
    perturbation.apply(id, layout, kReplicas, call, value);
    return value;
  }
  [[nodiscard]] static Tensor rows(Index width) {
    const Tensor one = test::normal_values({kRows, width}, DType::f64, 4);
    Tensor out({kReplicas * kRows, width});
    for (Index r = 0; r < kReplicas; ++r) std::ranges::copy(one.values(), out.row(r * kRows).begin());
    return out;
  }
  [[nodiscard]] static Tensor heads(Index heads, Index width) {
    return test::normal_values({heads, kReplicas * kRows, width}, DType::f64, 5);
  }

 private:
  BoundsOf bounds_;
};

// The tap, a layout and a width that it has in the small preset.
struct Kind {
  TapId id;
  TapLayout layout;
  Index heads, width;
};
const Kind kKinds[] = {{{Tap::attn_norm, 0}, TapLayout::rows, 0, 192}, {{Tap::q_proj, 0}, TapLayout::rows, 0, 192},
                       {{Tap::k, 0}, TapLayout::heads, 2, 32},         {{Tap::q, 0}, TapLayout::heads, 6, 32},
                       {{Tap::context, 0}, TapLayout::rows, 0, 192},   {{Tap::mlp_out, 0}, TapLayout::rows, 0, 192},
                       {{Tap::layer_out, 0}, TapLayout::rows, 0, 192}};

Tensor value_of(const Kind& kind) {
  return kind.layout == TapLayout::rows ? PerturbationOf::rows(kind.width)
                                        : PerturbationOf::heads(kind.heads, kind.width);
}

TEST(Perturbation, LeavesReplicaZeroAndMovesEveryOther) {
  for (const auto& [label, arithmetic] : test::arithmetics()) {
    PerturbationOf perturbation(arithmetic);
    for (const Kind& kind : kKinds) {
      const Tensor before = value_of(kind), after = perturbation.moved(kind.id, kind.layout, before);
      EXPECT_EQ(replica_of(after, kind.layout, kReplicas, 0), replica_of(before, kind.layout, kReplicas, 0));
      for (Index r = 1; r < kReplicas; ++r) {
        EXPECT_NE(replica_of(after, kind.layout, kReplicas, r), replica_of(before, kind.layout, kReplicas, r))
            << label << " " << to_string(kind.id) << " replica " << r;
      }
    }
  }
}

TEST(Perturbation, MovesReplicasApart) {
  PerturbationOf perturbation(test::arithmetics()[0].arithmetic);
  const Tensor after = perturbation.moved({Tap::layer_out, 0}, TapLayout::rows, PerturbationOf::rows(192));
  for (Index r = 2; r < kReplicas; ++r) {
    EXPECT_NE(replica_of(after, TapLayout::rows, kReplicas, r), replica_of(after, TapLayout::rows, kReplicas, 1));
  }
}

TEST(Perturbation, LandsOnValuesOfTheTapsType) {
  for (const auto& [label, arithmetic] : test::arithmetics()) {
    PerturbationOf perturbation(arithmetic);
    for (const Kind& kind : kKinds) {
      const DType type = kind.id.tap == Tap::k ? arithmetic.kv_cache : arithmetic.activations;
      const Tensor after = perturbation.moved(kind.id, kind.layout, value_of(kind));
      for (Index r = 1; r < kReplicas; ++r) {
        const Tensor moved = replica_of(after, kind.layout, kReplicas, r);
        EXPECT_EQ(test::narrowed(type, moved), moved) << label << " " << to_string(kind.id);
      }
    }
  }
}

// Over all moved elements: the mean move against its standard error.
TEST(Perturbation, HasNoBias) {
  for (const auto& [label, arithmetic] : test::arithmetics()) {
    PerturbationOf perturbation(arithmetic);
    for (const Kind& kind : kKinds) {
      const Tensor before = value_of(kind), after = perturbation.moved(kind.id, kind.layout, before);
      double sum = 0.0, squares = 0.0, count = 0.0;
      for (Index r = 1; r < kReplicas; ++r) {
        const Tensor a = replica_of(before, kind.layout, kReplicas, r),
                     b = replica_of(after, kind.layout, kReplicas, r);
        for (std::size_t i = 0; i < a.values().size(); ++i) {
          // Relative to the value, for rounding moves large ones further, away from or towards zero.
          const double move = (b.values()[i] - a.values()[i]) / std::fabs(a.values()[i]);
          if (std::fabs(a.values()[i]) < 0.05) continue;
          sum += move;
          squares += move * move;
          ++count;
        }
      }
      EXPECT_LT(std::fabs(sum), 5.0 * std::sqrt(squares)) << label << " " << to_string(kind.id);
      EXPECT_GT(count, 1000.0);
    }
  }
}

TEST(Perturbation, IsAFunctionOfSeedAndPlace) {
  PerturbationOf perturbation(test::arithmetics()[1].arithmetic);
  const TapId id{Tap::mlp_norm, 0};
  const Tensor same = PerturbationOf::rows(192), first = perturbation.moved(id, TapLayout::rows, same);
  EXPECT_EQ(perturbation.moved(id, TapLayout::rows, same), first);
  EXPECT_NE(perturbation.moved(id, TapLayout::rows, same, 2), first) << "another seed";
  EXPECT_NE(perturbation.moved(id, TapLayout::rows, same, 1, 2), first) << "another call";
  EXPECT_NE(perturbation.moved({Tap::attn_norm, 0}, TapLayout::rows, same), first) << "another tap";
}

// One rounding: moves below a step, and of the size that the bound forgives.
TEST(Perturbation, MovesAsFarAsRoundingDoes) {
  PerturbationOf perturbation(test::arithmetics()[1].arithmetic);
  const Tensor before = PerturbationOf::rows(192);
  const Tensor after = perturbation.moved({Tap::layer_out, 0}, TapLayout::rows, before);
  const double u = unit_roundoff(DType::bf16);
  for (std::size_t i = 0; i < before.values().size(); ++i) {
    ASSERT_LE(std::fabs(after.values()[i] - before.values()[i]), 2.001 * u * std::fabs(before.values()[i]));
  }
}

// The measure is the root mean square over rows of normal values: sums whose every step is cut towards 0.
TEST(Perturbation, MovesAsFarAsTruncatedSumsDo) {
  backends::Arithmetic arithmetic = test::arithmetics()[0].arithmetic;
  arithmetic.product_sums.truncates = true;
  PerturbationOf perturbation(arithmetic);
  const Tensor before = PerturbationOf::rows(192);
  const Tensor after = perturbation.moved({Tap::q_proj, 0}, TapLayout::rows, before);
  BoundsOf bounds(test::one_layer(Architecture::llama), arithmetic);
  const ref::Linear layer =
      ref::bind_linear(*bounds.model().weights, bounds.errors().module_of({Tap::q_proj, 0}), false);
  const Tensor x = test::normal_values({kReplicas * kRows, 192}, DType::f32, 3);
  const Tensor exact = ref::product(bounds.workers(), x, layer.weight, {});
  double real = 0.0, moved = 0.0;
  std::vector<double> w(192);
  for (Index o = 0; o < exact.cols(); ++o) {
    layer.weight.widen_row(o, w);
    for (Index r = 0; r < exact.rows(); ++r) {
      double sum = 0.0;
      for (std::size_t i = 0; i < w.size(); ++i) sum = test::cut(sum + test::cut(w[i] * x.row(r)[i]));
      const double error = sum - exact.row(r)[static_cast<std::size_t>(o)];
      real += error * error;
    }
  }
  for (Index r = kRows; r < before.rows(); ++r) {
    for (std::size_t i = 0; i < 192; ++i) {
      const double move = after.row(r)[i] - before.row(r)[i];
      moved += move * move;
    }
  }
  const double ratio = std::sqrt(moved / static_cast<double>((before.rows() - kRows) * 192)) /
                       std::sqrt(real / static_cast<double>(exact.size()));
  EXPECT_GT(ratio, 1.0);
  EXPECT_LT(ratio, 4.0);  // a floor that is too wide would hide mistakes
}

}  // namespace
}  // namespace mlbench::harness
