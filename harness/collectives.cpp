#include "harness/collectives.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "harness/rounding.h"
#include "reference/ops.h"
#include "reference/product.h"

namespace mlbench::harness {
namespace {

using ref::Tensor;

Tap part_of(Tap product) { return product == Tap::attn_out ? Tap::attn_part : Tap::mlp_part; }

// Columns that are another shard's become 0.
Tensor own_columns(const Tensor& x, Index shard, Index shards) {
  Tensor out(x.shape());
  const auto width = static_cast<std::size_t>(x.cols() / shards), first = static_cast<std::size_t>(shard) * width;
  for (Index row = 0; row < x.rows(); ++row)
    std::ranges::copy(x.row(row).subspan(first, width), out.row(row).subspan(first, width).begin());
  return out;
}

// The sum over shards, of values or of magnitudes.
Tensor over_shards(const Tensor& parts, double (*of)(double)) {
  Tensor out({parts.dim(1), parts.dim(2)});
  for (Index i = 0; i < parts.size(); ++i)
    out.values()[static_cast<std::size_t>(i % out.size())] += of(parts.values()[static_cast<std::size_t>(i)]);
  return out;
}
double itself(double value) { return value; }
double magnitude(double value) { return std::fabs(value); }

// S - 1 additions in any order.
Tensor sum_error(const Tensor& parts, const backends::Arithmetic& arithmetic) {
  const double relative = worst_case_gamma(parts.dim(0), arithmetic.accumulation);
  Tensor out = over_shards(parts, magnitude);
  for (double& value : out.values()) value = kSecondOrder * (relative * value + underflow(arithmetic.accumulation));
  return out;
}

TapSpec spec_of_parts(Tap tap, TapLayout layout, const Tensor& values) {
  const bool of_shards = layout == TapLayout::heads;
  return {tap, layout, of_shards ? values.dim(0) : 0, values.cols(), of_shards ? "[S, T, h]" : "[T, h]", ""};
}

}  // namespace

std::optional<Tensor> CollectiveChecks::find(Tap tap, Index layer) const {
  const HostTensor* given = given_.find({tap, layer});
  if (given == nullptr) return std::nullopt;
  return given->widened();
}

bool CollectiveChecks::adds_blocks() const { return model_.model().config.architecture == Architecture::phi; }

void CollectiveChecks::report(TapId id, TapLayout layout, const std::string& name, const Tensor& expected,
                              const Tensor& got, const Tensor& bound) const {
  if (got.shape() != expected.shape()) throw wrong_tap_shape(id, expected.shape(), got.shape());
  const std::function<double(Index)> limit = limit_by_element(bound);
  TapCheck check = check_tap(place_, spec_of_parts(id.tap, layout, expected), id, model_.arithmetic().accumulation,
                             expected, got, limit);
  check.tap = fmt::format("layers.{}.{}", id.layer, name);
  check.kind = name;
  const Sight sight{std::nullopt, expected, got, limit};
  report_(std::move(check), &sight);
}

void CollectiveChecks::check_parts(TapId product, const KnownTaps& known) const {
  const TapId id{part_of(product.tap), product.layer};
  const std::optional<Tensor> got = find(id.tap, id.layer);
  if (!got) return;
  const Known& x = known.at(*product_input(product.tap, model_.model().config));
  const std::string module = model_.module_of(product);
  const Weights& weights = *model_.model().weights;
  ref::Linear layer = ref::bind_linear(weights, module, weights.has(module + ".bias"));
  const Index shards = got->dim(0);
  for (double& value : layer.bias) value /= static_cast<double>(shards);
  Tensor expected(got->shape()), bound(got->shape());
  for (Index shard = 0; shard < shards; ++shard) {
    const Known own{own_columns(x.value, shard, shards),
                    x.error.size() == 0 ? Tensor() : own_columns(x.error, shard, shards)};
    const Tensor y = ref::product(model_.workers(), own.value, layer.weight, layer.bias);
    const Tensor error = model_.bound(product, y, {{*product_input(product.tap, model_.model().config), own}}, {});
    std::ranges::copy(y.values(), expected.values().begin() + shard * y.size());
    std::ranges::copy(error.values(), bound.values().begin() + shard * y.size());
  }
  report(id, TapLayout::heads, std::string(name(id.tap)), expected, *got, bound);
}

void CollectiveChecks::check_sums(Index layer) const {
  for (const Tap product : {Tap::attn_out, Tap::mlp_out}) check_sum_of({product, layer});
  check_block(layer);
}

void CollectiveChecks::check_sum_of(TapId product) const {
  if (!adds_blocks()) check_sum(part_of(product.tap), product.tap, product.layer);
}

void CollectiveChecks::check_block(Index layer) const {
  if (!adds_blocks()) return;
  const auto attention = find(Tap::attn_part, layer), mlp = find(Tap::mlp_part, layer),
             block = find(Tap::block_part, layer);
  if (attention && mlp && block) {
    Tensor expected = *attention, bound(expected.shape());
    for (std::size_t i = 0; i < expected.values().size(); ++i) {
      expected.values()[i] += mlp->values()[i];
      bound.values()[i] = rounding_error(model_.arithmetic().accumulation, expected.values()[i]);
    }
    report({Tap::block_part, layer}, TapLayout::heads, std::string(name(Tap::block_part)), expected, *block, bound);
  }
  check_sum(Tap::block_part, Tap::block_sum, layer);
}

void CollectiveChecks::check_sum(Tap parts, Tap sum, Index layer) const {
  const auto summands = find(parts, layer), got = find(sum, layer);
  if (!summands || !got) return;
  report({sum, layer}, TapLayout::rows, fmt::format("{}.all_reduce", name(sum)), over_shards(*summands, itself), *got,
         sum_error(*summands, model_.arithmetic()));
}

void CollectiveChecks::check_transfer(Index layer) const {
  const auto got = find(Tap::stage_in, layer), sent = find(Tap::layer_out, layer - 1);
  if (!got || !sent) return;
  report({Tap::stage_in, layer}, TapLayout::rows, std::string(name(Tap::stage_in)), *sent, *got, Tensor(sent->shape()));
}

Tensor CollectiveChecks::block_error(Index layer) const {
  const auto parts = find(Tap::block_part, layer);
  if (!parts) return {};
  Tensor out = sum_error(*parts, model_.arithmetic());
  const Tensor magnitudes = over_shards(*parts, magnitude);
  const double u = unit_roundoff(model_.arithmetic().accumulation);
  for (std::size_t i = 0; i < out.values().size(); ++i) out.values()[i] += kSecondOrder * u * magnitudes.values()[i];
  return out;
}

}  // namespace mlbench::harness
