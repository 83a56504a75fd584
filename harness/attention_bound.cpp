// Section "Attention" of docs/error-bounds.md: scores, softmax (after Blanchard, Higham and Higham, "Accurately
// computing the log-sum-exp and softmax functions", IMA J. Numer. Anal. 41, 2021) and the weighted sum.
#include <algorithm>
#include <cmath>
#include <vector>

#include "harness/error_model.h"
#include "harness/rounding.h"

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
  const bool scaled = config.architecture != Architecture::gpt_bigcode || config.scale_attn_weights;
  const double alpha = scaled ? 1.0 / std::sqrt(static_cast<double>(d)) : 1.0;
  const double u_q = narrowing(arithmetic_.attention_inputs, arithmetic_.activations);
  const double u_p = narrowing(arithmetic_.attention_inputs, sums);
  // What these roundings lose below the type's normal range.
  const double below_q = u_q > 0.0 ? underflow(arithmetic_.attention_inputs) : 0.0;
  const double below_p = underflow(sums) + (u_p > 0.0 ? underflow(arithmetic_.attention_inputs) : 0.0);
  Tensor out(y.shape());

  workers_->each(heads * T, [&](Index item) {
    const Index h = item / T, t = item % T;
    const Row row = visible(plan, t);
    const auto query = q.value.row(h * T + t);
    std::vector<double> scores(row.slots.size()), errors(row.slots.size());
    for (std::size_t j = 0; j < row.slots.size(); ++j) {
      const auto key = cache.key(attention.layer, row.slots[j], h / group);
      double score = 0.0, magnitude = 0.0, passed_on = 0.0;
      for (std::size_t i = 0; i < key.size(); ++i) {
        score += query[i] * key[i];
        magnitude += std::fabs(query[i] * key[i]);
        passed_on += below_q * std::fabs(key[i]);
        if (q.error.size() != 0) passed_on += q.error.row(h * T + t)[i] * std::fabs(key[i]);
      }
      scores[j] = alpha * score;
      errors[j] = alpha * ((gamma(d, sums) + u_q) * magnitude + passed_on) + 2.0 * u * std::fabs(scores[j]);
    }
    const Softmax weights = softmax(scores, errors, sums);
    const double tiny = underflow(sums);
    if (tap == Tap::probs) {
      for (std::size_t j = 0; j < row.slots.size(); ++j) {
        const double p = weights.p[j];
        out.row(h * T + t)[static_cast<std::size_t>(row.entries[j])] =
            kSecondOrder * (p * weights.relative[j] + tiny + rounding_error(type_of(tap), p));
      }
      return;
    }
    const double sum = worst_case_gamma(static_cast<Index>(row.slots.size()) + 1, sums) + u_p;
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
