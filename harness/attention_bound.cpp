// Section "Attention" of docs/error-bounds.md: scores, softmax (after Blanchard, Higham and Higham, "Accurately
// computing the log-sum-exp and softmax functions", IMA J. Numer. Anal. 41, 2021) and the weighted sum.
#include <algorithm>
#include <cmath>
#include <vector>

#include "harness/error_model.h"
#include "harness/rounding.h"
#include "reference/rope.h"

namespace mlbench::harness {
namespace {

using ref::Tensor;

// What one row of one head sees.
struct Row {
  std::vector<Index> slots;    // of the visible entries
  std::vector<Index> entries;  // their places in the sequence
};

Row visible(const ref::ForwardPlan& plan, Index t) {
  const auto& row = plan.rows[static_cast<std::size_t>(t)];
  const auto& sequence = plan.sequences[static_cast<std::size_t>(row.sequence)];
  Row out;
  for (Index entry = 0; entry < row.prefix; ++entry) out.entries.push_back(entry);
  out.entries.insert(out.entries.end(), row.path.begin(), row.path.end());
  for (const Index entry : out.entries) out.slots.push_back(sequence.slots[static_cast<std::size_t>(entry)]);
  return out;
}

// The keys of one sequence as they meet a query: as they are stored, or, where the cache keeps them unrotated, rotated
// by their index now (section "Rotation").
class Keys {
 public:
  Keys(const ref::PagedKvCache& cache, const RopeConfig& rope, const backends::Arithmetic& arithmetic, Index total)
      : cache_(cache), arithmetic_(arithmetic), exact_(rope, ref::RopeCompat::f64) {
    if (cache.shape().rope_mode == RopeMode::in_line) frequencies_ = exact_.frequencies(total);
  }

  struct Key {
    std::vector<double> value, error;
  };
  [[nodiscard]] Key at(Index layer, Index slot, Index head, Index index, const RopeConfig& rope) const {
    const auto stored = cache_.key(layer, slot, head);
    Key key{{stored.begin(), stored.end()}, std::vector<double>(stored.size())};
    if (frequencies_.empty()) return key;
    const ref::Rope::Angles angles = exact_.angles(index, frequencies_);
    const Index half = rope.rotary_dim / 2;
    const double u = unit_roundoff(arithmetic_.accumulation);
    for (Index i = 0; i < half; ++i) {
      const auto first = static_cast<std::size_t>(i), second = static_cast<std::size_t>(i + half);
      const double a = stored[first], b = stored[second], c = angles.cos[first], s = angles.sin[first];
      key.value[first] = a * c - b * s;
      key.value[second] = b * c + a * s;
      const double angle = angle_error(rope, i, static_cast<double>(index) * frequencies_[first]);
      // Cosine and sine are rounded too, hence one rounding more than where they are taps.
      key.error[first] = 3.0 * u * (std::fabs(a * c) + std::fabs(b * s)) + angle * (std::fabs(a) + std::fabs(b));
      key.error[second] = 3.0 * u * (std::fabs(b * c) + std::fabs(a * s)) + angle * (std::fabs(a) + std::fabs(b));
    }
    return key;
  }

 private:
  [[nodiscard]] double angle_error(const RopeConfig& rope, Index pair, double angle) const {
    if (!arithmetic_.f32_rope_angles) return 0.0;
    return exact_.attention_scaling() * f32_angle_error(rope, pair, angle);
  }

  const ref::PagedKvCache& cache_;
  const backends::Arithmetic& arithmetic_;
  ref::Rope exact_;
  std::vector<double> frequencies_;  // empty: keys are stored as they are used
};

// The scores of one row, and how far each may be off.
struct Scores {
  struct Roundings {
    double alpha;   // the scale
    double sum;     // of a sum of d products
    double narrow;  // of a query on its way into the product
    double below;   // what that loses below the type's normal range
    double u;       // of the accumulation
  };
  std::vector<double> values, errors;

  void add(std::span<const double> query, std::span<const double> query_error, const Keys::Key& key,
           const Roundings& r) {
    double score = 0.0, magnitude = 0.0, passed_on = 0.0;
    for (std::size_t i = 0; i < key.value.size(); ++i) {
      const double k = std::fabs(key.value[i]), e = key.error[i];
      score += query[i] * key.value[i];
      magnitude += std::fabs(query[i]) * k;
      passed_on += r.below * k + std::fabs(query[i]) * (e > 0.0 ? e + r.narrow * k : 0.0);
      if (!query_error.empty()) passed_on += query_error[i] * (k + e);
    }
    values.push_back(r.alpha * score);
    errors.push_back(r.alpha * ((r.sum + r.narrow) * magnitude + passed_on) + 2.0 * r.u * std::fabs(values.back()));
  }
};

struct Softmax {
  std::vector<double> p;         // exact
  std::vector<double> relative;  // how far each may be off, relative to itself
};

// Scores known up to `errors`: p_j changes by at most a factor of exp(e_j) for its own score and of sum_l p_l exp(e_l)
// for the normaliser. Rounding adds: the difference from the maximum, twice (as it is formed, and as the exponent of a
// power of two); the exponential and
// the division; the sum, whose terms are of one sign.
Softmax softmax(const std::vector<double>& scores, const std::vector<double>& errors, DType sums) {
  constexpr double kSteps = 8.0;  // exponential, division, rescaling by a later maximum
  const double u = unit_roundoff(sums);
  const double largest = *std::max_element(scores.begin(), scores.end());
  Softmax out{std::vector<double>(scores.size()), std::vector<double>(scores.size())};
  double total = 0.0;
  for (std::size_t j = 0; j < scores.size(); ++j) total += out.p[j] = std::exp(scores[j] - largest);
  double shift = 0.0;
  for (std::size_t j = 0; j < scores.size(); ++j) {
    out.p[j] /= total;
    // Every exponential's own rounding moves the normaliser too.
    shift += out.p[j] * std::exp(errors[j] + u * (2.0 * (largest - scores[j]) + kSteps));
  }
  const double sum = worst_case_gamma(static_cast<Index>(scores.size()), sums);
  for (std::size_t j = 0; j < scores.size(); ++j) {
    out.relative[j] = std::expm1(errors[j] + std::log(shift)) + sum + u * (2.0 * (largest - scores[j]) + kSteps);
  }
  return out;
}

double narrowing(DType inputs, DType values) {
  return unit_roundoff(inputs) > unit_roundoff(values) ? unit_roundoff(inputs) : 0.0;
}

}  // namespace

Tensor ErrorModel::attention(Tap tap, const Tensor& y, const Known& q, const AttentionInputs& attention) const {
  const ModelConfig& config = model_.config;
  const ref::PagedKvCache& cache = *attention.cache;
  const ref::ForwardPlan& plan = cache.plan();
  const Index d = config.head_dim, heads = config.num_heads, group = heads / config.num_kv_heads, T = attention.rows;
  const DType sums = arithmetic_.accumulation;
  const double u = unit_roundoff(sums);
  const double of_score = gamma(d, arithmetic_.attention_sums, sums, bounds_);
  const bool scaled = config.architecture != Architecture::gpt_bigcode || config.scale_attn_weights;
  const double alpha = scaled ? 1.0 / std::sqrt(static_cast<double>(d)) : 1.0;
  const double u_q = narrowing(arithmetic_.attention_inputs, arithmetic_.activations);
  const double u_p = narrowing(arithmetic_.attention_inputs, sums);
  // What these roundings lose below the type's normal range.
  const double below_q = u_q > 0.0 ? underflow(arithmetic_.attention_inputs) : 0.0;
  const double below_p = underflow(sums) + (u_p > 0.0 ? underflow(arithmetic_.attention_inputs) : 0.0);
  Tensor out(y.shape());
  std::vector<Keys> keys;
  for (const auto& sequence : plan.sequences) keys.emplace_back(cache, config.rope, arithmetic_, sequence.total);

  workers_->each(heads * T, [&](Index item) {
    const Index h = item / T, t = item % T;
    const Row row = visible(plan, t);
    const Keys& of_sequence = keys[static_cast<std::size_t>(plan.rows[static_cast<std::size_t>(t)].sequence)];
    const auto query_error = q.error.size() == 0 ? std::span<const double>() : q.error.row(h * T + t);
    Scores scores;
    for (std::size_t j = 0; j < row.slots.size(); ++j) {
      const Keys::Key key = of_sequence.at(attention.layer, row.slots[j], h / group, row.entries[j], config.rope);
      scores.add(q.value.row(h * T + t), query_error, key, {alpha, of_score, u_q, below_q, u});
    }
    const Softmax weights = softmax(scores.values, scores.errors, sums);
    const double tiny = underflow(sums);
    if (tap == Tap::probs) {
      for (std::size_t j = 0; j < row.slots.size(); ++j) {
        const double p = weights.p[j];
        out.row(h * T + t)[static_cast<std::size_t>(row.entries[j])] =
            kSecondOrder * (p * weights.relative[j] + tiny + rounding_error(type_of(tap), p));
      }
      return;
    }
    const auto terms = static_cast<Index>(row.slots.size()) + 1;
    const double sum = gamma(terms, arithmetic_.attention_sums, sums, Bounds::deterministic) + u_p;
    const auto bounds = out.row(t).subspan(static_cast<std::size_t>(h * d), static_cast<std::size_t>(d));
    for (std::size_t j = 0; j < row.slots.size(); ++j) {
      const auto value = cache.value(attention.layer, row.slots[j], h / group);
      const double weight = weights.p[j] * (weights.relative[j] + sum) + below_p;
      for (std::size_t i = 0; i < value.size(); ++i) bounds[i] += weight * std::fabs(value[i]);
    }
    const auto exact = y.row(t).subspan(static_cast<std::size_t>(h * d), static_cast<std::size_t>(d));
    for (std::size_t i = 0; i < bounds.size(); ++i) {
      bounds[i] = kSecondOrder * (bounds[i] + rounding_error(type_of(tap), exact[i]));
    }
  });
  return out;
}

}  // namespace mlbench::harness
