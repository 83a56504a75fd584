#include "harness/selftest/subject_rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace mlbench::selftest {
namespace {

// The first row of the same sequence in this forward.
std::size_t first_row(const paging::ForwardPlan& plan, std::size_t row) {
  while (row > 0 && plan.rows[row - 1].sequence == plan.rows[row].sequence) --row;
  return row;
}

double yarn_dimension(const RopeConfig& c, double turns) {
  const double wavelengths = static_cast<double>(c.original_max_positions) / (turns * 2.0 * std::numbers::pi);
  return static_cast<double>(c.rotary_dim) * std::log(wavelengths) / (2.0 * std::log(c.theta));
}

double yarn_magnitude(double factor, double a) { return factor <= 1.0 ? 1.0 : 1.0 + 0.1 * a * std::log(factor); }

}  // namespace

// ---- frequencies ----

double Rope::theta(Index total) const {
  const RopeConfig& c = config_.rope;
  if (c.theta != 10000.0 && planted_.at(Mistake::rope_theta_default)) return 10000.0;
  if (c.kind != RopeKind::dynamic || total <= c.max_positions) return c.theta;
  if (planted_.at(Mistake::rope_dynamic_ignored)) return c.theta;
  const double growth = c.factor * static_cast<double>(total) / static_cast<double>(c.max_positions) - (c.factor - 1.0);
  const auto d = static_cast<double>(c.rotary_dim);
  return c.theta * std::pow(growth, d / (d - 2.0));
}

double Rope::llama3(double w) const {
  const RopeConfig& c = config_.rope;
  if (planted_.at(Mistake::rope_llama3_ignored)) return w;
  const double turns = static_cast<double>(c.original_max_positions) * w / (2.0 * std::numbers::pi);
  const double share = (turns - c.low_freq_factor) / (c.high_freq_factor - c.low_freq_factor);
  if (share <= 0.0) return w / c.factor;
  if (share >= 1.0 || planted_.at(Mistake::rope_llama3_no_blend)) return w;
  return share * w + (1.0 - share) * w / c.factor;
}

double Rope::yarn(Index i, double w) const {
  const RopeConfig& c = config_.rope;
  double low = yarn_dimension(c, c.beta_fast);
  double high = yarn_dimension(c, c.beta_slow);
  if (c.truncate && !planted_.at(Mistake::rope_yarn_no_whole_dims)) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(c.rotary_dim - 1));
  if (low == high) high += 0.001;
  const double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
  return ramp * w / c.factor + (1.0 - ramp) * w;
}

double Rope::longrope(Index i, double w, Index total) const {
  const RopeConfig& c = config_.rope;
  const bool beyond = total > c.original_max_positions;
  const bool is_long = beyond && !planted_.at(Mistake::rope_longrope_always_short);
  return w / (is_long ? c.long_factor : c.short_factor)[static_cast<std::size_t>(i)];
}

double Rope::frequency(Index i, double theta, Index total) const {
  const RopeConfig& c = config_.rope;
  const bool of_head = c.rotary_dim != config_.head_dim && planted_.at(Mistake::rope_head_size_in_exponent);
  const auto size = static_cast<double>(of_head ? config_.head_dim : c.rotary_dim);
  const double w = std::pow(theta, -2.0 * static_cast<double>(i) / size);
  switch (c.kind) {
    case RopeKind::linear: return w / (planted_.at(Mistake::rope_linear_twice) ? c.factor * c.factor : c.factor);
    case RopeKind::llama3: return llama3(w);
    case RopeKind::yarn: return yarn(i, w);
    case RopeKind::longrope: return longrope(i, w, total);
    default: return w;
  }
}

double Rope::magnitude() const {
  const RopeConfig& c = config_.rope;
  if (c.kind != RopeKind::yarn && c.kind != RopeKind::longrope) return 1.0;
  if (c.attention_factor) return *c.attention_factor;
  if (c.kind == RopeKind::longrope) {
    if (c.factor <= 1.0) return 1.0;
    return std::sqrt(1.0 + std::log(c.factor) / std::log(static_cast<double>(c.original_max_positions)));
  }
  if (planted_.at(Mistake::rope_yarn_no_magnitude)) return 1.0;
  const bool given = c.mscale != 0.0 && c.mscale_all_dim != 0.0;
  return given ? yarn_magnitude(c.factor, c.mscale) / yarn_magnitude(c.factor, c.mscale_all_dim)
               : yarn_magnitude(c.factor, 1.0);
}

// ---- angles ----

Angles Rope::angles(Index position, Index total) const {
  const double base = theta(total);
  const double m = magnitude();
  Angles out;
  for (Index i = 0; i < config_.rope.rotary_dim / 2; ++i) {
    const double w = frequency(i, base, total);
    double angle = static_cast<double>(position) * w;
    if (planted_.at(Mistake::rope_angles_single)) angle = static_cast<float>(position) * static_cast<float>(w);
    out.cos.push_back(static_cast<float>(m * std::cos(angle)));
    out.sin.push_back(static_cast<float>(m * std::sin(angle)));
    if (!planted_.at(Mistake::rope_table_bf16)) continue;
    out.cos.back() = rounded_to_bf16(out.cos.back());
    out.sin.back() = rounded_to_bf16(out.sin.back());
  }
  return out;
}

Index position_of(const paging::ForwardPlan& plan, std::size_t row, const Planted& planted) {
  const paging::PlannedRow& planned = plan.rows[row];
  const bool one_each = plan.rows.size() > 1 && plan.rows.size() == plan.sequences.size();
  if (planted.at(Mistake::rope_position_one_further)) return planned.position + 1;
  if (one_each && planted.at(Mistake::rope_position_of_batch_row)) return static_cast<Index>(row);
  if (planned.position > static_cast<Index>(row) && planted.at(Mistake::rope_position_of_chunk)) {
    return static_cast<Index>(row - first_row(plan, row));
  }
  if (!planned.path.empty() && planted.at(Mistake::tree_position_is_entry)) return planned.entry;
  return planned.position;
}

std::vector<Angles> Rope::angles(const paging::ForwardPlan& plan) const {
  Index longest = 0;
  for (const paging::PlannedSequence& sequence : plan.sequences) longest = std::max(longest, sequence.total);
  std::vector<Angles> out;
  for (std::size_t row = 0; row < plan.rows.size(); ++row) {
    Index total = plan.sequences[static_cast<std::size_t>(plan.rows[row].sequence)].total;
    if (total < longest && planted_.at(Mistake::rope_dynamic_of_batch)) total = longest;
    out.push_back(angles(position_of(plan, row, planted_), total));
  }
  return out;
}

// ---- rotation ----

void Rope::rotate(float* head, const Angles& angles) const {
  Index half = config_.rope.rotary_dim / 2;
  const Index size = config_.rope.rotary_dim;
  const bool neighbours = planted_.at(Mistake::rope_pairs_neighbours);
  const bool across = size != config_.head_dim && planted_.at(Mistake::rope_pairs_across_head);
  if (size != config_.head_dim && planted_.at(Mistake::rope_half_of_part)) half /= 2;
  const float direction = planted_.at(Mistake::rope_turns_back) ? -1.0F : 1.0F;
  for (Index i = 0; i < half; ++i) {
    const auto at = static_cast<std::size_t>(i);
    float& low = head[neighbours ? 2 * i : i];
    float& high = head[neighbours ? 2 * i + 1 : i + (across ? config_.head_dim / 2 : half)];
    const float a = low, b = high, sine = direction * angles.sin[at];
    low = a * angles.cos[at] - b * sine;
    high = b * angles.cos[at] + a * sine;
  }
}

}  // namespace mlbench::selftest
