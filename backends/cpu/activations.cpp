// The activations of ops.h.
#include "backends/cpu/ops.h"

// Compiled once for every instruction set: this file includes itself.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/activations.cpp"
#include <hwy/foreach_target.h>
// Behind it, not in the order of names.
#include <hwy/highway.h>

#include "backends/cpu/rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace mlbench::cpu::HWY_NAMESPACE {
namespace {

HWY_INLINE Vector constant(float value) { return hn::Set(Floats(), value); }

// v / (1 + e^z). From z = 89 on e^z is infinite, and Highway's exponential is one only up to 104. What it makes of a z
// that is NaN shows nowhere: v is one then, too.
HWY_INLINE Vector logistic(Vector v, Vector z) {
  const Vector power = hn::Exp(Floats(), hn::Min(z, constant(104.0F)));
  return hn::Div(v, hn::Add(constant(1.0F), power));
}

struct Silu {
  HWY_INLINE Vector operator()(Vector v) const { return logistic(v, hn::Neg(v)); }
};

// v/2 (1 + tanh(z)), z = sqrt(2/pi) (v + 0.044715 v^3), without its cancellation near -1: v / (1 + e^(-2z)).
// gelu_fast's sqrt(2/pi), 0.7978845608, is the same float32.
struct GeluTanh {
  HWY_INLINE Vector operator()(Vector v) const {
    constexpr float kLinear = -2.0F * 0.79788456080286536F;
    constexpr float kCubic = kLinear * 0.044715F;
    return logistic(v, hn::Mul(v, hn::MulAdd(constant(kCubic), hn::Mul(v, v), constant(kLinear))));
  }
};

// v/2 (1 + erf(v / sqrt(2))) = v Q for v < 0 and v (1 - Q) else, Q = erfc(a / sqrt(2)) / 2 being the tail of the normal
// distribution beyond a = |v|. Q e^(a^2 / 2) is smooth; P/R is its rational minimax approximation on [0, 14.5], made by
// weighted least squares (Lawson's algorithm) in 113 bits with P(0)/R(0) held at 1/2, relatively within 6.3e-9, a tenth
// of a rounding. All coefficients are positive: nothing cancels. Rounding a^2 shifts the exponent by up to a^2/2
// roundings, which the tail keeps as relative error. Beyond 14.5 Q underflows.
struct GeluErf {
  HWY_INLINE Vector operator()(Vector v) const {
    const Vector a = hn::Min(hn::Abs(v), constant(14.5F));
    Vector p = hn::MulAdd(a, constant(4.08560091684e-3F), constant(4.04418097378e-2F));
    p = hn::MulAdd(a, p, constant(1.82690137355e-1F));
    p = hn::MulAdd(a, p, constant(4.37594974922e-1F));
    p = hn::MulAdd(a, p, constant(0.5F));
    Vector r = hn::MulAdd(a, constant(1.02409602573e-2F), constant(1.01379162318e-1F));
    r = hn::MulAdd(a, r, constant(4.68024952025e-1F));
    r = hn::MulAdd(a, r, constant(1.20029689916F));
    r = hn::MulAdd(a, r, constant(1.67307479486F));
    r = hn::MulAdd(a, r, constant(1.0F));
    const Vector power = hn::Exp(Floats(), hn::Mul(hn::Mul(a, a), constant(-0.5F)));
    const Vector tail = hn::Mul(power, hn::Div(p, r));
    const auto below = hn::Lt(v, hn::Zero(Floats()));
    return hn::Mul(v, hn::IfThenElse(below, tail, hn::Sub(constant(1.0F), tail)));
  }
};

struct Relu {
  HWY_INLINE Vector operator()(Vector v) const { return hn::IfThenZeroElse(hn::Lt(v, hn::Zero(Floats())), v); }
};

template <class Formula>
struct Gated {
  HWY_INLINE Vector operator()(Vector gate, Vector up) const { return hn::Mul(Formula()(gate), up); }
};

void activate(Activation activation, float* x, Index count) {
  switch (activation) {
    case Activation::silu: return transform(count, Silu(), x, x);
    case Activation::gelu_erf: return transform(count, GeluErf(), x, x);
    case Activation::gelu_tanh:
    case Activation::gelu_fast: return transform(count, GeluTanh(), x, x);
    case Activation::relu: return transform(count, Relu(), x, x);
  }
}

void activate_gate(Activation activation, float* gate, const float* up, Index count) {
  switch (activation) {
    case Activation::silu: return transform(count, Gated<Silu>(), gate, gate, up);
    case Activation::gelu_erf: return transform(count, Gated<GeluErf>(), gate, gate, up);
    case Activation::gelu_tanh:
    case Activation::gelu_fast: return transform(count, Gated<GeluTanh>(), gate, gate, up);
    case Activation::relu: return transform(count, Gated<Relu>(), gate, gate, up);
  }
}

}  // namespace
}  // namespace mlbench::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mlbench::cpu {
namespace {
HWY_EXPORT(activate);
HWY_EXPORT(activate_gate);
}  // namespace

void activate(Activation activation, float* x, Index count) { HWY_DYNAMIC_DISPATCH(activate)(activation, x, count); }

void activate_gate(Activation activation, float* gate, const float* up, Index count) {
  HWY_DYNAMIC_DISPATCH(activate_gate)(activation, gate, up, count);
}

}  // namespace mlbench::cpu
#endif
