#include "harness/perturbation.h"

#include <cmath>

#include "core/hash.h"
#include "harness/rounding.h"

namespace mlbench::harness {
namespace {

bool is_product(Tap tap) {
  switch (tap) {
    case Tap::qkv_proj:
    case Tap::q_proj:
    case Tap::k_proj:
    case Tap::v_proj:
    case Tap::attn_out:
    case Tap::gate:
    case Tap::up:
    case Tap::mlp_out:
    case Tap::logits: return true;
    default: return false;
  }
}

bool feeds_product(Tap tap, bool gated) {
  switch (tap) {
    case Tap::attn_norm:
    case Tap::context:
    case Tap::mlp_norm:
    case Tap::mlp_hidden:
    case Tap::final_norm: return true;
    case Tap::act: return !gated;
    default: return false;
  }
}

bool is_norm(Tap tap) { return tap == Tap::attn_norm || tap == Tap::mlp_norm || tap == Tap::final_norm; }

double norm2(std::span<const double> values) {
  double sum = 0.0;
  for (const double value : values) sum += value * value;
  return std::sqrt(sum);
}

// Bits of the significand, the leading one included, and the smallest exponent (of frexp) that a value has in full.
struct Format {
  int digits, least_exponent;
};

Format format_of(DType type) {
  switch (type) {
    case DType::f64: return {53, -1021};
    case DType::f32: return {24, -125};
    case DType::bf16: return {8, -125};
    case DType::f16: return {11, -13};
  }
  return {};
}

}  // namespace

double Noise::uniform() {
  state_ = scattered(state_);
  return static_cast<double>(state_ >> 11U) * 0x1p-53;
}

double Noise::normal() {
  const double sum = uniform() + uniform() + uniform() + uniform();
  return (sum - 2.0) * std::sqrt(3.0);  // four variances of 1/12
}

double rounded_at_random(double value, DType type, Noise& noise) {
  if (type == DType::f64 || value == 0.0 || !std::isfinite(value)) return value;
  int exponent = 0;
  (void)std::frexp(value, &exponent);
  const Format format = format_of(type);
  const double step = std::ldexp(1.0, std::max(exponent, format.least_exponent) - format.digits);
  return std::floor(value / step + noise.uniform()) * step;
}

Perturbation::Perturbation(const Model& model, const ErrorModel& error_model, std::uint64_t seed)
    : model_(model), error_model_(error_model), seed_(seed) {}

const Perturbation::Vector& Perturbation::weight_norms(TapId id) {
  const std::string module = error_model_.module_of(id);
  const auto [it, is_new] = weight_norms_.try_emplace(module);
  if (!is_new) return it->second;
  const WeightView& weight = model_.weights->get(module + ".weight");
  Vector row(static_cast<std::size_t>(weight.cols));
  for (Index r = 0; r < weight.rows; ++r) {
    weight.widen_row(r, row);
    it->second.push_back(norm2(row));
  }
  return it->second;
}

// The standard deviation of an element's error before it is rounded to its type. A sum of K products in a row rounds
// every partial sum: for terms of random signs that adds up to u |w| |x| / sqrt(6), for terms of one sign to sqrt(K) /
// 3 u |y|; sums in blocks err less. Truncation takes u from every partial sum: u |w| |x| sqrt(K / 3) for random signs,
// and for terms of one sign a part of the whole row (truncated_part()). Other operators take two or three roundings.
double Perturbation::spread(Tap tap, double value, double row_size, const double* weight_norm) const {
  const double u = unit_roundoff(error_model_.arithmetic().accumulation);
  if (weight_norm != nullptr) {
    const auto terms = static_cast<double>(input_width_);
    const backends::Summation& sum = error_model_.arithmetic().product_sums;
    const auto fused = static_cast<double>(sum.fused);
    const double any_sign = sum.truncates ? std::sqrt(terms / 3.0) / fused : 1.0 / std::sqrt(6.0 * fused);
    const double same_sign = std::sqrt(terms / fused) / 3.0;
    return u * (*weight_norm * row_size * any_sign + same_sign * std::fabs(value));
  }
  switch (tap) {
    case Tap::embed_token:
    case Tap::embed_position: return 0.0;
    case Tap::embed: return model_.config.architecture == Architecture::gpt_bigcode ? u * std::fabs(value) : 0.0;
    case Tap::v: return 0.0;
    case Tap::context: return 3.0 * u * row_size;
    default: return 2.0 * u * std::fabs(value);
  }
}

// What truncating all partial sums of a sum of terms of one sign takes of it: u / 2 for each.
double Perturbation::truncated_part() const {
  const backends::Arithmetic& arithmetic = error_model_.arithmetic();
  if (!arithmetic.product_sums.truncates) return 0.0;
  return unit_roundoff(arithmetic.accumulation) * 0.5 * static_cast<double>(input_width_) /
         static_cast<double>(arithmetic.product_sums.fused);
}

void Perturbation::note_product_input(const ref::Tensor& rows) {
  input_norms_.clear();
  for (Index r = 0; r < rows.rows(); ++r) input_norms_.push_back(norm2(rows.row(r)));
  input_width_ = rows.cols();
}

// A LayerNorm's mean is off by its own sum's error, in proportion to the mean magnitude; where that is large beside the
// spread, as in rows far from 0, this is what moves the result, all values of a row alike.
void Perturbation::note_residual(const ref::Tensor& rows) {
  const auto n = static_cast<double>(rows.cols());
  const double u = unit_roundoff(error_model_.arithmetic().accumulation);
  mean_shifts_.clear();
  for (Index r = 0; r < rows.rows(); ++r) {
    double sum = 0.0, magnitude = 0.0, squares = 0.0;
    for (const double x : rows.row(r)) {
      sum += x;
      magnitude += std::fabs(x);
    }
    for (const double x : rows.row(r)) squares += (x - sum / n) * (x - sum / n);
    const double shift = u * (std::sqrt(n) / 3.0 + 1.0) * magnitude / n;
    mean_shifts_.push_back(shift / std::sqrt(squares / n + model_.config.norm_eps));
  }
}

const Perturbation::Vector& Perturbation::gains(TapId id, Index width) {
  const std::string module = error_model_.module_of(id);
  const auto [it, is_new] = gains_.try_emplace(module);
  if (is_new && module.empty()) it->second.assign(static_cast<std::size_t>(width), 1.0);
  if (is_new && !module.empty()) it->second = model_.weights->get(module + ".weight").widened();
  return it->second;
}

void Perturbation::apply(TapId id, TapLayout layout, Index replicas, std::uint64_t call, ref::Tensor& value) {
  if (value.size() == 0) return;
  const backends::Arithmetic& arithmetic = error_model_.arithmetic();
  const Vector* norms = is_product(id.tap) ? &weight_norms(id) : nullptr;
  const bool normed = is_norm(id.tap);
  const bool shifted = normed && model_.config.architecture != Architecture::llama && !mean_shifts_.empty();
  const double root = std::sqrt(static_cast<double>(value.cols()));
  const Vector* shifts = shifted ? &gains(id, value.cols()) : nullptr;
  const bool query = id.tap == Tap::q;
  const bool narrows = feeds_product(id.tap, model_.config.gated_mlp()) || query;
  const DType next = query ? arithmetic.attention_inputs : arithmetic.product_inputs;
  const bool narrower = narrows && unit_roundoff(next) > unit_roundoff(arithmetic.activations);
  const DType own = error_model_.type_of(id.tap);
  const Index in_replicas = layout == TapLayout::rows ? value.rows() : value.dim(1);  // T of all replicas
  const Index rows = in_replicas / replicas;
  const std::uint64_t place =
      scattered(seed_ ^ scattered(call * 1000003U + static_cast<std::uint64_t>((id.layer + 1) * 64) +
                                  static_cast<std::uint64_t>(id.tap)));
  for (Index r = 0; r < value.rows(); ++r) {
    const Index t = r % in_replicas;
    if (t < rows) continue;
    Noise noise(scattered(place + static_cast<std::uint64_t>(r)));
    const auto elements = value.row(r);
    // The mean of n squares is off by u sqrt(n) / 3, and with it the scale of the whole row by half of that.
    const double of_row = normed             ? unit_roundoff(arithmetic.accumulation) * root / 6.0
                          : norms != nullptr ? truncated_part()
                                             : 0.0;
    const double stretch = of_row > 0.0 ? of_row * noise.normal() : 0.0;
    const double shift = shifts == nullptr ? 0.0 : mean_shifts_[static_cast<std::size_t>(t)] * noise.normal();
    const double size = norms != nullptr ? input_norms_[static_cast<std::size_t>(t)]
                                         : norm2(elements) / std::sqrt(static_cast<double>(elements.size()));
    for (std::size_t i = 0; i < elements.size(); ++i) {
      double& x = elements[i];
      const double sigma = spread(id.tap, x, size, norms == nullptr ? nullptr : norms->data() + i);
      x += stretch * x;
      if (sigma > 0.0) x += sigma * noise.normal();
      if (shifts != nullptr) x += shift * (*shifts)[i];
      x = rounded_at_random(x, own, noise);
      if (narrower) x = rounded_at_random(x, next, noise);
    }
  }
  if (feeds_product(id.tap, model_.config.gated_mlp())) note_product_input(value);
  if (id.tap == Tap::embed || id.tap == Tap::attn_residual || id.tap == Tap::layer_out) note_residual(value);
}

}  // namespace mlbench::harness
