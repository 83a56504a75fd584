// The rules of docs/error-bounds.md; the section of each is named beside it. Every rule ends with the rounding to the
// tap's type and passes on the errors of what it was computed from.
#include "harness/error_model.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <functional>

#include <fmt/format.h>

#include "harness/rounding.h"
#include "models/tensor_inventory.h"
#include "reference/ops.h"
#include "reference/product.h"

namespace mlbench::harness {
namespace {

using ref::Tensor;

double error_at(const Known& x, Index i) {
  return x.error.size() == 0 ? 0.0 : x.error.values()[static_cast<std::size_t>(i)];
}
double value_at(const Known& x, Index i) { return x.value.values()[static_cast<std::size_t>(i)]; }

// The bound of each element from its flat index and value.
template <class Rule>
Tensor by_element(const Tensor& y, const Rule& rule) {
  Tensor out(y.shape());
  for (Index i = 0; i < y.size(); ++i) {
    const auto at = static_cast<std::size_t>(i);
    out.values()[at] = kSecondOrder * rule(i, y.values()[at]);
  }
  return out;
}

// [T, H * d] -> [H, T, d]
Tensor heads_of(const Tensor& rows, Index heads) {
  if (rows.size() == 0) return rows;
  const Index count = rows.rows(), width = rows.cols() / heads;
  Tensor out({heads, count, width});
  for (Index t = 0; t < count; ++t) {
    for (Index h = 0; h < heads; ++h) {
      const auto from = rows.row(t).subspan(static_cast<std::size_t>(h * width), static_cast<std::size_t>(width));
      std::ranges::copy(from, out.row(h * count + t).begin());
    }
  }
  return out;
}

TensorRole role_of(Tap tap) {
  switch (tap) {
    case Tap::qkv_proj: return TensorRole::qkv_proj;
    case Tap::q_proj: return TensorRole::q_proj;
    case Tap::k_proj: return TensorRole::k_proj;
    case Tap::v_proj: return TensorRole::v_proj;
    case Tap::attn_out: return TensorRole::attn_out;
    case Tap::gate: return TensorRole::mlp_gate;
    case Tap::up: return TensorRole::mlp_up;
    case Tap::mlp_out: return TensorRole::mlp_down;
    case Tap::logits: return TensorRole::lm_head;
    default: return TensorRole::norm;
  }
}

// Which of a layer's norms, in the order of the inventory, a tap is.
std::size_t norm_index(Tap tap, bool phi) {
  switch (tap) {
    case Tap::q_norm: return 1;
    case Tap::k_norm: return 2;
    case Tap::mlp_norm: return phi ? 0 : 1;
    default: return 0;
  }
}

std::string without_weight(const std::string& name) {
  constexpr std::string_view kSuffix = ".weight";
  assert(name.ends_with(kSuffix));
  return name.substr(0, name.size() - kSuffix.size());
}

}  // namespace

std::optional<Tap> product_input(Tap tap, const ModelConfig& config) {
  switch (tap) {
    case Tap::qkv_proj:
    case Tap::q_proj:
    case Tap::k_proj:
    case Tap::v_proj: return Tap::attn_norm;
    case Tap::attn_out: return Tap::context;
    case Tap::gate:
    case Tap::up: return config.architecture == Architecture::phi ? Tap::attn_norm : Tap::mlp_norm;
    case Tap::mlp_out: return config.gated_mlp() ? Tap::mlp_hidden : Tap::act;
    case Tap::logits: return kPartInput;
    default: return std::nullopt;
  }
}

DType type_of(Tap tap, const backends::Arithmetic& arithmetic) {
  switch (tap) {
    case Tap::k:
    case Tap::v: return arithmetic.kv_cache;
    case Tap::logits: return arithmetic.logits;
    case Tap::rope_cos:
    case Tap::rope_sin: return arithmetic.accumulation;
    default: return arithmetic.activations;
  }
}

ErrorModel::ErrorModel(const Model& model, const backends::Arithmetic& arithmetic, Workers& workers, Bounds bounds)
    : model_(model), arithmetic_(arithmetic), workers_(&workers), bounds_(bounds) {}

std::string ErrorModel::module_of(TapId id) const {
  if (id.tap == Tap::logits) return without_weight(kLmHeadName);
  const auto specs = id.layer < 0 ? global_tensors(model_.config) : layer_tensors(model_.config, id.layer);
  const TensorRole role = role_of(id.tap);
  std::size_t skip = role == TensorRole::norm ? norm_index(id.tap, model_.config.architecture == Architecture::phi) : 0;
  for (const TensorSpec& spec : specs) {
    if (spec.role == role && !spec.bias && skip-- == 0) return without_weight(spec.name);
  }
  return "";  // a norm without tensors
}

Tensor ErrorModel::bound(TapId id, const Tensor& y, const KnownTaps& known, const AttentionInputs& attention) const {
  const auto input = [&](Tap tap) -> const Known& { return known.at(tap); };
  if (const auto rows = product_input(id.tap, model_.config)) return linear(id, y, input(*rows));
  const bool phi = model_.config.architecture == Architecture::phi;
  switch (id.tap) {
    case Tap::embed_token:
    case Tap::embed_position:
    case Tap::embed: return embedding(id, y);
    case Tap::rope_cos:
    case Tap::rope_sin: return rotation(id.tap, y, attention);
    case Tap::attn_norm:
    case Tap::final_norm: return norm(id, y, input(kPartInput));
    case Tap::mlp_norm: return norm(id, y, input(Tap::attn_residual));
    case Tap::q_norm: return head_norm(id, y, input(Tap::q_proj));
    case Tap::k_norm: return head_norm(id, y, input(Tap::k_proj));
    case Tap::q:
    case Tap::k: return rotated(id, y, known);
    case Tap::v: return value_heads(id, y, known);
    case Tap::probs:
    case Tap::context: return this->attention(id.tap, y, input(Tap::q), attention);
    case Tap::attn_residual: return sum(id.tap, y, {&input(kPartInput), &input(Tap::attn_out)});
    case Tap::act: return activation(id.tap, y, input(model_.config.gated_mlp() ? Tap::gate : Tap::up));
    case Tap::mlp_hidden: return gated(y, input(Tap::act), input(Tap::up));
    case Tap::layer_out:
      if (phi) return sum(id.tap, y, {&input(kPartInput), &input(Tap::attn_out), &input(Tap::mlp_out)});
      return sum(id.tap, y, {&input(Tap::attn_residual), &input(Tap::mlp_out)});
    default: return {};  // products, above
  }
}

// Section "Embeddings": rows are copied; GPT BigCode's sum of two rounds once.
Tensor ErrorModel::embedding(TapId id, const Tensor& y) const {
  const bool summed = id.tap == Tap::embed && model_.config.architecture == Architecture::gpt_bigcode;
  const bool narrowed = unit_roundoff(type_of(id.tap)) > unit_roundoff(arithmetic_.weights);
  const double u = summed ? unit_roundoff(arithmetic_.accumulation) : 0.0;
  return by_element(y, [&](Index, double value) {
    const double rounding = summed || narrowed ? rounding_error(type_of(id.tap), value) : 0.0;
    return rounding + u * std::fabs(value);
  });
}

// Section "Rotary angles". From exact angles the function and the rounding cost two roundings. Where angles are built
// in float32, w_i = theta^(-2i/D) has a relative error of (2i/D ln theta + kSteps) u: the exponent is rounded, and so
// are the power, the reciprocal and the steps of scaling; p w_i is rounded once more, and an angle's error is the most
// that its cosine and sine can change by.
double f32_angle_error(const RopeConfig& rope, Index pair, double angle) {
  constexpr double kSteps = 16.0;
  const double u = unit_roundoff(DType::f32);
  const double exponent = 2.0 * static_cast<double>(pair) / static_cast<double>(rope.rotary_dim);
  return angle * u * (exponent * std::log(rope.theta) + kSteps + 1.0) + 2.0 * u;
}

Tensor ErrorModel::rotation(Tap tap, const Tensor& y, const AttentionInputs& attention) const {
  const RopeConfig& rope = model_.config.rope;
  const ref::Rope exact(rope, ref::RopeCompat::f64);
  const Index half = rope.rotary_dim / 2;
  const auto& plan = attention.cache->plan();
  std::vector<std::vector<double>> frequencies;
  for (const auto& sequence : plan.sequences) frequencies.push_back(exact.frequencies(sequence.total));
  return by_element(y, [&](Index i, double value) {
    const double rounding =
        rounding_error(type_of(tap), value) + unit_roundoff(arithmetic_.accumulation) * std::fabs(value);
    if (!arithmetic_.f32_rope_angles) return rounding;
    const auto& row = plan.rows[static_cast<std::size_t>(i / y.cols())];
    const Index pair = i % y.cols() % half;
    const double angle = static_cast<double>(row.position) *
                         frequencies[static_cast<std::size_t>(row.sequence)][static_cast<std::size_t>(pair)];
    return rounding + exact.attention_scaling() * f32_angle_error(rope, pair, angle);
  });
}

namespace {

struct NormWeights {
  ref::Norm norm;
  [[nodiscard]] double gain(std::size_t i) const { return norm.weight.empty() ? 1.0 : std::fabs(norm.weight[i]); }
};

// One row of a norm: what rounding in the accumulation adds, and what the error `e` of the row x becomes.
// Section "RMSNorm".
void rms_norm_row(std::span<const double> x, std::span<const double> e, const NormWeights& w, double eps, DType sums,
                  std::span<double> out) {
  const auto n = static_cast<double>(x.size());
  const double u = unit_roundoff(sums);
  double squares = 0.0, crossed = 0.0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    squares += x[i] * x[i];
    if (!e.empty()) crossed += std::fabs(x[i]) * e[i];
  }
  const double mean_square = squares / n + eps;
  const double scale = 1.0 / std::sqrt(mean_square);
  // All terms of the sum are positive: its error is relative; the root halves it.
  const double relative = 0.5 * (worst_case_gamma(static_cast<Index>(x.size()), sums) + 3.0 * u) + 5.0 * u;
  const double passed_on = crossed / n / mean_square;  // relative change of the scale
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double own = e.empty() ? 0.0 : e[i];
    out[i] = w.gain(i) * scale * (std::fabs(x[i]) * (relative + passed_on) + own);
  }
}

// Section "LayerNorm": the mean's error shifts all values, and the variance about a shifted mean is larger by its
// square.
void layer_norm_row(std::span<const double> x, std::span<const double> e, const NormWeights& w, double eps, DType sums,
                    std::span<double> out) {
  const auto n = static_cast<double>(x.size());
  const double u = unit_roundoff(sums);
  double sum = 0.0, magnitude = 0.0, errors = 0.0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    sum += x[i];
    magnitude += std::fabs(x[i]);
    if (!e.empty()) errors += e[i];
  }
  const double mean = sum / n;
  double squares = 0.0, crossed = 0.0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    squares += (x[i] - mean) * (x[i] - mean);
    if (!e.empty()) crossed += std::fabs(x[i] - mean) * e[i];
  }
  const double variance = squares / n;
  const double scale = 1.0 / std::sqrt(variance + eps);
  const double g = worst_case_gamma(static_cast<Index>(x.size()), sums);
  const double shift = (g + u) * magnitude / n;
  const double relative_variance = (shift * shift + (g + 3.0 * u) * variance) / (variance + eps) + u;
  const double relative = 0.5 * relative_variance + 6.0 * u;
  const double passed_on = crossed / n / (variance + eps);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double centred = std::fabs(x[i] - mean);
    const double own = e.empty() ? 0.0 : e[i] + errors / n;
    out[i] = w.gain(i) * scale * (shift + centred * (relative + passed_on + u) + own);
  }
}

}  // namespace

Tensor ErrorModel::norm(TapId id, const Tensor& y, const Known& x) const {
  const ModelConfig& config = model_.config;
  const bool rms = config.architecture == Architecture::llama;
  const std::string module = module_of(id);
  NormWeights w;
  if (!module.empty()) w.norm = ref::bind_norm(*model_.weights, module, !rms);
  Tensor out(y.shape());
  workers_->each(y.rows(), [&](Index r) {
    const auto e = x.error.size() == 0 ? std::span<const double>() : x.error.row(r);
    (rms ? rms_norm_row : layer_norm_row)(x.value.row(r), e, w, config.norm_eps, arithmetic_.accumulation, out.row(r));
    // The bias is added with one rounding more.
    for (std::size_t i = 0; i < out.row(r).size(); ++i) {
      const double value = y.row(r)[i];
      out.row(r)[i] = kSecondOrder * (out.row(r)[i] + unit_roundoff(arithmetic_.accumulation) * std::fabs(value) +
                                      rounding_error(type_of(id.tap), value));
    }
  });
  return out;
}

// Phi's norms over the d values of each head; y is [H, T, d].
Tensor ErrorModel::head_norm(TapId id, const Tensor& y, const Known& projection) const {
  const Index heads = y.dim(0);
  return norm(id, y, {heads_of(projection.value, heads), heads_of(projection.error, heads)});
}

// Section "Linear layers": K products and a bias, summed in any order; rows rounded where they enter; |W| e passed on.
// Section "Shards": S - 1 additions more, of biases that were divided.
Tensor ErrorModel::linear(TapId id, const Tensor& y, const Known& x) const {
  const std::string module = module_of(id);
  const ref::Linear layer = ref::bind_linear(*model_.weights, module, model_.weights->has(module + ".bias"));
  const double u_inputs = unit_roundoff(arithmetic_.product_inputs) > unit_roundoff(arithmetic_.activations)
                              ? unit_roundoff(arithmetic_.product_inputs)
                              : 0.0;
  const bool summed = arithmetic_.shards > 1 && (id.tap == Tap::attn_out || id.tap == Tap::mlp_out);
  const double of_shards = summed ? worst_case_gamma(arithmetic_.shards, arithmetic_.accumulation) : 0.0;
  const double relative =
      gamma(layer.weight.cols + 1, arithmetic_.product_sums, arithmetic_.accumulation, bounds_) + of_shards + u_inputs;
  const double lost = static_cast<double>(layer.weight.cols) * underflow(arithmetic_.accumulation);
  Tensor out = ref::product_magnitude(*workers_, x.value, layer.weight, layer.bias);
  const Tensor passed_on =
      x.error.size() == 0 ? Tensor() : ref::product_magnitude(*workers_, x.error, layer.weight, {});
  // What rounding the rows loses below the type's normal range reaches the result times |W|.
  const Tensor one(Shape{1, layer.weight.cols}, u_inputs > 0.0 ? underflow(arithmetic_.product_inputs) : 0.0);
  const Tensor below = u_inputs > 0.0 ? ref::product_magnitude(*workers_, one, layer.weight, {}) : Tensor();
  for (std::size_t i = 0; i < out.values().size(); ++i) {
    double& bound = out.values()[i];
    bound = relative * bound + lost + rounding_error(type_of(id.tap), y.values()[i]);
    if (passed_on.size() != 0) bound += passed_on.values()[i];
    if (below.size() != 0) bound += below.values()[i % below.values().size()];
    bound *= kSecondOrder;
  }
  return out.reshaped(y.shape());
}

// Query or key heads as they enter the rotation, [H, T, d]. Clipping moves no value further than it was.
Known ErrorModel::heads_before_rotation(Tap tap, const KnownTaps& known) const {
  const Tap norm = tap == Tap::q ? Tap::q_norm : Tap::k_norm;
  if (const auto it = known.find(norm); it != known.end()) return it->second;
  const Known& projection = known.at(tap == Tap::q ? Tap::q_proj : Tap::k_proj);
  const Index heads = tap == Tap::q ? model_.config.num_heads : model_.config.num_kv_heads;
  Known out{heads_of(projection.value, heads), heads_of(projection.error, heads)};
  if (model_.config.clip_qkv) {
    const double limit = *model_.config.clip_qkv;
    for (double& value : out.value.values()) value = std::clamp(value, -limit, limit);
  }
  return out;
}

// Section "Rotation": two products and a sum, each rounded. GPT BigCode only cuts its projection into heads.
Tensor ErrorModel::rotated(TapId id, const Tensor& y, const KnownTaps& known) const {
  const DType type = type_of(id.tap);
  const bool narrowed = unit_roundoff(type) > unit_roundoff(arithmetic_.activations);
  if (model_.config.rope.kind == RopeKind::none) {
    return by_element(y, [&](Index, double value) { return narrowed ? rounding_error(type, value) : 0.0; });
  }
  const Known x = heads_before_rotation(id.tap, known);
  const Known& cos = known.at(Tap::rope_cos);
  const Known& sin = known.at(Tap::rope_sin);
  const double u = unit_roundoff(arithmetic_.accumulation);
  const Index rotary = model_.config.rope.rotary_dim, half = rotary / 2, width = y.cols(), rows = y.dim(1);
  return by_element(y, [&](Index i, double value) {
    const Index column = i % width, row = i / width % rows;
    if (column >= rotary) return (narrowed ? rounding_error(type, value) : 0.0) + error_at(x, i);
    const Index other = column < half ? i + half : i - half;
    const Index angle = row * rotary + column;
    const double a = std::fabs(value_at(x, i)), b = std::fabs(value_at(x, other));
    const double c = std::fabs(value_at(cos, angle)), s = std::fabs(value_at(sin, angle));
    const double e_cos = error_at(cos, angle), e_sin = error_at(sin, angle);
    return 2.0 * u * (a * c + b * s) + rounding_error(type, value) + a * e_cos + b * e_sin +
           (c + e_cos) * error_at(x, i) + (s + e_sin) * error_at(x, other);
  });
}

// Values are cut into heads, clipped, and stored: exact but for the cache's type. What GPT BigCode's missing projection
// would pass on is not known by element; it always is given where attention is judged.
Tensor ErrorModel::value_heads(TapId id, const Tensor& y, const KnownTaps& known) const {
  const DType type = type_of(id.tap);
  const bool narrowed = unit_roundoff(type) > unit_roundoff(arithmetic_.activations);
  const auto projection = known.find(Tap::v_proj);
  const Known x =
      projection == known.end() ? Known{} : Known{{}, heads_of(projection->second.error, model_.config.num_kv_heads)};
  return by_element(
      y, [&](Index i, double value) { return (narrowed ? rounding_error(type, value) : 0.0) + error_at(x, i); });
}

// Section "Activations". kBlind is what a function of two or three float32 steps may be off by, in roundings.
Tensor ErrorModel::activation(Tap tap, const Tensor& y, const Known& x) const {
  const Activation kind = model_.config.activation;
  const double u = unit_roundoff(arithmetic_.accumulation);
  const double tiny = underflow(arithmetic_.accumulation);
  return by_element(y, [&](Index i, double value) {
    const double in = std::fabs(value_at(x, i)), size = std::fabs(value);
    const double rounding = rounding_error(type_of(tap), value);
    switch (kind) {
      case Activation::relu: return (unit_roundoff(type_of(tap)) > u ? rounding : 0.0) + error_at(x, i);
      // x / (1 + e^-x): all positive, so every step is relative, and an exponent that was rounded (x log2(e), for a
      // power of two) errs by |x| u; e^-x overflows where the result is below |x| tiny.
      case Activation::silu: return rounding + (8.0 + 2.0 * in) * u * size + in * tiny + 1.1 * error_at(x, i);
      // x/2 (1 + f): f near -1 cancels, which leaves an absolute error of a few u times |x|.
      default: return rounding + u * (4.0 * in + 2.0 * size) + 1.13 * error_at(x, i);
    }
  });
}

// Section "Sums and products of two".
Tensor ErrorModel::gated(const Tensor& y, const Known& act, const Known& up) const {
  const double u = unit_roundoff(arithmetic_.accumulation);
  return by_element(y, [&](Index i, double value) {
    return u * std::fabs(value) + rounding_error(type_of(Tap::mlp_hidden), value) +
           std::fabs(value_at(act, i)) * error_at(up, i) + std::fabs(value_at(up, i)) * error_at(act, i) +
           error_at(act, i) * error_at(up, i);
  });
}

Tensor ErrorModel::sum(Tap tap, const Tensor& y, const std::vector<const Known*>& terms) const {
  const double u = unit_roundoff(arithmetic_.accumulation);
  return by_element(y, [&](Index i, double value) {
    double magnitude = 0.0, passed_on = 0.0;
    for (const Known* term : terms) {
      magnitude += std::fabs(value_at(*term, i));
      passed_on += error_at(*term, i);
    }
    const double sums = terms.size() > 2 ? 2.0 * u * magnitude : u * std::fabs(value);
    return sums + rounding_error(type_of(tap), value) + passed_on;
  });
}

}  // namespace mlbench::harness
