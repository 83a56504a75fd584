#include "backends/cpu/ops.h"

#include <cmath>
#include <limits>

// Compiled once for every instruction set: this file includes itself.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/ops.cpp"
#include <hwy/foreach_target.h>
// Behind it, not in the order of names.
#include <hwy/highway.h>

#include "backends/cpu/rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace mlbench::cpu::HWY_NAMESPACE {
namespace {

// ---- sums ----

// A square, or a product of two rows, is added by a fused multiplication where there is one.
struct Sum {
  [[nodiscard]] HWY_INLINE Vector start() const { return hn::Zero(Floats()); }
  [[nodiscard]] HWY_INLINE float rest() const { return 0.0F; }
  HWY_INLINE Vector add(Vector sum, Vector x) const { return hn::Add(sum, x); }
  HWY_INLINE Vector add(Vector sum, Vector a, Vector b) const { return hn::MulAdd(a, b, sum); }
  HWY_INLINE Vector join(Vector a, Vector b) const { return hn::Add(a, b); }
};

struct Squares : Sum {
  explicit Squares(float about) : about_(about) {}
  [[nodiscard]] HWY_INLINE float rest() const { return about_; }  // whose square is 0
  HWY_INLINE Vector add(Vector sum, Vector x) const {
    const Vector difference = hn::Sub(x, hn::Set(Floats(), about_));
    return hn::MulAdd(difference, difference, sum);
  }

 private:
  float about_;
};

float in_one(Vector lanes) { return hn::GetLane(hn::SumOfLanes(Floats(), lanes)); }

float sum(const float* x, Index count) { return in_one(folded(count, Sum(), x)); }

float dot(const float* a, const float* b, Index count) { return in_one(folded(count, Sum(), a, b)); }

// ---- norms ----

class Normalized {
 public:
  Normalized(float mean, float scale) : mean_(mean), scale_(scale) {}
  HWY_INLINE Vector operator()(Vector x) const {
    const Floats d;
    return hn::Mul(hn::Sub(x, hn::Set(d, mean_)), hn::Set(d, scale_));
  }
  HWY_INLINE Vector operator()(Vector x, Vector weight) const { return hn::Mul((*this)(x), weight); }
  HWY_INLINE Vector operator()(Vector x, Vector weight, Vector bias) const {
    return hn::MulAdd((*this)(x), weight, bias);
  }

 private:
  float mean_, scale_;
};

struct Added {
  HWY_INLINE Vector operator()(Vector a, Vector b) const { return hn::Add(a, b); }
};

void add(float* x, const float* y, Index count) { transform(count, Added(), x, x, y); }

void normalize(const NormRule& rule, const Norm& norm, const float* x, float* y, Index width) {
  const auto n = static_cast<float>(width);
  const float mean = rule.kind == NormKind::layer ? sum(x, width) / n : 0.0F;
  const float squares = in_one(folded(width, Squares(mean), x)) / n;
  const Normalized normalized(mean, 1.0F / std::sqrt(squares + rule.eps));
  const float* weight = norm.weight.data();
  const float* bias = norm.bias.data();
  if (norm.weight.empty()) {
    transform(width, normalized, y, x);
    if (!norm.bias.empty()) add(y, bias, width);
  } else if (norm.bias.empty()) {
    transform(width, normalized, y, x, weight);
  } else {
    transform(width, normalized, y, x, weight, bias);
  }
}

// ---- value by value ----

struct Multiplied {
  HWY_INLINE Vector operator()(Vector a, Vector b) const { return hn::Mul(a, b); }
};

void multiply(float* x, const float* y, Index count) { transform(count, Multiplied(), x, x, y); }

// By comparisons, which a NaN fails, where minimum and maximum would take the other value.
class Clamped {
 public:
  explicit Clamped(float limit) : limit_(limit) {}
  HWY_INLINE Vector operator()(Vector x) const {
    const Vector high = hn::Set(Floats(), limit_), low = hn::Neg(high);
    return hn::IfThenElse(hn::Gt(x, high), high, hn::IfThenElse(hn::Lt(x, low), low, x));
  }

 private:
  float limit_;
};

void clamp(float* x, Index count, float limit) { transform(count, Clamped(limit), x, x); }

// ---- softmax ----

constexpr float kLowest = -std::numeric_limits<float>::infinity();

// NaNs may get lost here; the sum finds them.
struct Largest {
  [[nodiscard]] HWY_INLINE Vector start() const { return hn::Set(Floats(), kLowest); }
  [[nodiscard]] HWY_INLINE float rest() const { return kLowest; }
  HWY_INLINE Vector add(Vector largest, Vector x) const { return hn::Max(largest, x); }
  HWY_INLINE Vector join(Vector a, Vector b) const { return hn::Max(a, b); }
};

// e^(x - largest)
class Raised {
 public:
  explicit Raised(float largest) : largest_(largest) {}
  HWY_INLINE Vector operator()(Vector x) const { return exponential(hn::Sub(x, hn::Set(Floats(), largest_))); }

 private:
  float largest_;
};

float exponentials(float* scores, Index count) {
  const float largest = hn::GetLane(hn::MaxOfLanes(Floats(), folded(count, Largest(), scores)));
  transform(count, Raised(largest), scores, scores);
  return sum(scores, count);
}

}  // namespace
}  // namespace mlbench::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mlbench::cpu {
namespace {
HWY_EXPORT(sum);
HWY_EXPORT(dot);
HWY_EXPORT(normalize);
HWY_EXPORT(add);
HWY_EXPORT(multiply);
HWY_EXPORT(clamp);
HWY_EXPORT(exponentials);
}  // namespace

float sum(const float* x, Index count) { return HWY_DYNAMIC_DISPATCH(sum)(x, count); }

float dot(const float* a, const float* b, Index count) { return HWY_DYNAMIC_DISPATCH(dot)(a, b, count); }

void normalize(const NormRule& rule, const Norm& norm, const float* x, float* y, Index width) {
  HWY_DYNAMIC_DISPATCH(normalize)(rule, norm, x, y, width);
}

void add(float* x, const float* y, Index count) { HWY_DYNAMIC_DISPATCH(add)(x, y, count); }

void multiply(float* x, const float* y, Index count) { HWY_DYNAMIC_DISPATCH(multiply)(x, y, count); }

void clamp(float* x, Index count, float limit) { HWY_DYNAMIC_DISPATCH(clamp)(x, count, limit); }

float exponentials(float* scores, Index count) { return HWY_DYNAMIC_DISPATCH(exponentials)(scores, count); }

}  // namespace mlbench::cpu
#endif
