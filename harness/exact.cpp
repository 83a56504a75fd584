#include "harness/exact.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <memory>
#include <numeric>
#include <string>

#include <fmt/format.h>

#include "core/hash.h"
#include "harness/rounding.h"
#include "models/tensor_inventory.h"
#include "reference/ops.h"

namespace mlbench::harness {
namespace {

using ref::Tensor;

// The largest integer below which all are exact in every type: bf16's 8 bits.
constexpr double kExactSum = 256.0;

std::int64_t integer_between(std::int64_t low, std::int64_t high, std::uint64_t random) {
  return low + static_cast<std::int64_t>(random % static_cast<std::uint64_t>(high - low + 1));
}

// Rows that each pick one column; with a step that shares no factor with the width, neighbouring rows pick columns far
// apart, and `width` rows pick every one.
void fill_selection(std::vector<double>& values, Index rows, Index cols, std::uint64_t seed) {
  Index step = cols / 2 + 1;
  while (std::gcd(step, cols) != 1) ++step;
  const auto first = static_cast<Index>(scattered(seed, 0) % static_cast<std::uint64_t>(cols));
  for (Index r = 0; r < rows; ++r) {
    const std::uint64_t random = scattered(seed, static_cast<std::uint64_t>(r) + 1);
    const double scale = std::ldexp((random & 1U) != 0 ? -1.0 : 1.0, static_cast<int>((random >> 8U) % 3U) - 1);
    values[static_cast<std::size_t>(r * cols + (first + r * step) % cols)] = scale;
  }
}

// A few integers in each row: at most 8 of at most 4, so that rows of integers up to 4 sum to at most 128.
void fill_integers(std::vector<double>& values, Index rows, Index cols, std::uint64_t seed) {
  for (Index r = 0; r < rows; ++r) {
    for (Index i = 0; i < std::min<Index>(8, cols); ++i) {
      const std::uint64_t random = scattered(seed, static_cast<std::uint64_t>(r * 8 + i));
      const auto column = static_cast<Index>((random >> 16U) % static_cast<std::uint64_t>(cols));
      values[static_cast<std::size_t>(r * cols + column)] = static_cast<double>(integer_between(-4, 4, random & 0xffU));
    }
  }
}

std::vector<double> values_of(const TensorSpec& spec, bool last_layer) {
  std::vector<double> values(static_cast<std::size_t>(element_count(spec.shape)));
  const std::uint64_t seed = fnv1a(spec.name);
  const Index cols = spec.shape.back(), rows = element_count(spec.shape) / cols;
  switch (spec.role) {
    case TensorRole::norm:
      if (!spec.bias) std::ranges::fill(values, 1.0);
      break;
    case TensorRole::token_embedding:
    case TensorRole::position_embedding:
    case TensorRole::lm_head:
      if (!spec.bias) fill_integers(values, rows, cols, seed);
      break;
    case TensorRole::q_proj:
    case TensorRole::k_proj:
    case TensorRole::v_proj:
    case TensorRole::qkv_proj:
      if (!spec.bias && !last_layer) fill_selection(values, rows, cols, seed);
      break;
    default:
      if (!spec.bias) fill_selection(values, rows, cols, seed);
  }
  return values;
}

void put(Weights& weights, const TensorSpec& spec, DType dtype, const std::vector<double>& values) {
  const std::shared_ptr<std::byte[]> bytes(new std::byte[values.size() * size_bytes(dtype)]);
  narrow(dtype, values, bytes.get());
  weights.keep(bytes);
  const Index cols = spec.shape.back();
  weights.put(spec.name,
              {.dtype = dtype, .rows = static_cast<Index>(values.size()) / cols, .cols = cols, .data = bytes.get()});
}

// ---- what must be exact ----

bool is_power_of_two(double value) {
  int exponent = 0;
  return value != 0.0 && std::fabs(std::frexp(value, &exponent)) == 0.5;
}

double narrowed_to(DType type, double value) {
  return HostTensor(type, Tensor(Shape{1}, {value})).widened().values()[0];
}

bool is_integer(double value) { return value == std::floor(value); }

// The sum of products where no order rounds: one power of two, or integers that stay small. NaN: it may be rounded.
double exact_dot(std::span<const double> w, std::span<const double> x) {
  double sum = 0.0, magnitude = 0.0;
  Index terms = 0;
  bool integers = true, power = true;
  for (std::size_t i = 0; i < w.size(); ++i) {
    if (w[i] == 0.0) continue;
    ++terms;
    sum += w[i] * x[i];
    magnitude += std::fabs(w[i] * x[i]);
    integers = integers && is_integer(w[i]) && is_integer(x[i]);
    power = power && is_power_of_two(w[i]);
  }
  const bool exact = terms == 0 || (terms == 1 && power) || (integers && magnitude <= kExactSum);
  return exact ? sum : std::nan("");
}

Known exact_product(TapId id, Known out, const Tensor& x, const ErrorModel& errors) {
  const Weights& weights = *errors.model().weights;
  const std::string module = errors.module_of(id);
  const ref::Linear layer = ref::bind_linear(weights, module, weights.has(module + ".bias"));
  if (std::ranges::any_of(layer.bias, [](double b) { return b != 0.0; })) return out;
  const backends::Arithmetic& a = errors.arithmetic();
  const bool narrowed = unit_roundoff(a.product_inputs) > unit_roundoff(a.activations);
  const Tensor rows = narrowed ? HostTensor(a.product_inputs, x).widened() : x;
  std::vector<double> w(static_cast<std::size_t>(layer.weight.cols));
  const Index count = layer.weight.rows;
  for (Index n = 0; n < count; ++n) {
    layer.weight.widen_row(n, w);
    for (Index t = 0; t < rows.rows(); ++t) {
      const double sum = exact_dot(w, rows.row(t));
      // A result that its own type cannot hold is rounded, by as little as its bound says.
      if (std::isnan(sum) || narrowed_to(errors.type_of(id.tap), sum) != sum) continue;
      const auto at = static_cast<std::size_t>(t * count + n);
      out.value.values()[at] = sum;
      out.error.values()[at] = 0.0;
    }
  }
  return out;
}

// What a row sees, where that must be exact: equal scores, 2^k entries, integer values of a small sum.
bool attends_exactly(std::span<const double> query, const ref::ForwardPlan& plan, const AttentionInputs& attention,
                     Index t, Index kv_head) {
  const auto& row = plan.rows[static_cast<std::size_t>(t)];
  const auto& slots = plan.sequences[static_cast<std::size_t>(row.sequence)].slots;
  const auto count = static_cast<std::uint64_t>(row.prefix) + row.path.size();
  if (!std::has_single_bit(count) || !row.path.empty()) return false;
  if (std::ranges::any_of(query, [](double q) { return q != 0.0; })) return false;
  std::vector<double> magnitude(query.size());
  for (Index entry = 0; entry < row.prefix; ++entry) {
    const auto value = attention.cache->value(attention.layer, slots[static_cast<std::size_t>(entry)], kv_head);
    for (std::size_t i = 0; i < value.size(); ++i) {
      if (!is_integer(value[i])) return false;
      magnitude[i] += std::fabs(value[i]);
    }
  }
  return std::ranges::all_of(magnitude, [](double m) { return m <= kExactSum; });
}

Known exact_attention(TapId id, Known out, const Known& q, const AttentionInputs& attention, const ErrorModel& errors) {
  const ModelConfig& config = errors.model().config;
  const Index group = config.num_heads / config.num_kv_heads, d = config.head_dim;
  for (Index h = 0; h < config.num_heads; ++h) {
    for (Index t = 0; t < attention.rows; ++t) {
      if (!attends_exactly(q.value.row(h * attention.rows + t), attention.cache->plan(), attention, t, h / group))
        continue;
      const auto bounds = id.tap == Tap::probs
                              ? out.error.row(h * attention.rows + t)
                              : out.error.row(t).subspan(static_cast<std::size_t>(h * d), static_cast<std::size_t>(d));
      std::ranges::fill(bounds, 0.0);
    }
  }
  return out;
}

}  // namespace

Model make_exact(const ModelConfig& config, DType dtype) {
  auto weights = std::make_shared<Weights>();
  for (const TensorSpec& spec : global_tensors(config)) put(*weights, spec, dtype, values_of(spec, false));
  for (Index layer = 0; layer < config.num_layers; ++layer) {
    for (const TensorSpec& spec : layer_tensors(config, layer))
      put(*weights, spec, dtype, values_of(spec, layer + 1 == config.num_layers));
  }
  if (config.tie_word_embeddings) weights->put(kLmHeadName, weights->get(embedding_name(config)));
  Model model;
  model.config = config;
  model.weights = std::move(weights);
  model.origin = fmt::format("selections and small integers, {}", name(dtype));
  return model;
}

Tensor integer_rows(Index rows, Index width, std::uint64_t seed) {
  Tensor out(Shape{rows, width});
  for (std::size_t i = 0; i < out.values().size(); ++i)
    out.values()[i] = static_cast<double>(integer_between(-4, 4, scattered(seed, i)));
  return out;
}

Tensor integer_entries(const ModelConfig& config, Index count, std::uint64_t seed) {
  Tensor out(Shape{config.num_layers, count, config.num_kv_heads, config.head_dim});
  for (std::size_t i = 0; i < out.values().size(); ++i)
    out.values()[i] = static_cast<double>(integer_between(-3, 3, scattered(seed, i)));
  return out;
}

Known exact_tap(TapId id, const Tensor& y, const Tensor& bound, const KnownTaps& known,
                const AttentionInputs& attention, const ErrorModel& errors) {
  Known out{y, bound};
  const auto given = [&](Tap tap) -> const Known* {  // by the backend itself: nothing is carried over
    const auto it = known.find(tap);
    return it != known.end() && it->second.error.size() == 0 ? &it->second : nullptr;
  };
  if (const auto input = product_input(id.tap, errors.model().config)) {
    const Known* x = given(*input);
    return x == nullptr ? out : exact_product(id, std::move(out), x->value, errors);
  }
  if (id.tap != Tap::probs && id.tap != Tap::context) return out;
  const Known* q = given(Tap::q);
  return q == nullptr ? out : exact_attention(id, std::move(out), *q, attention, errors);
}

}  // namespace mlbench::harness
