#include "harness/chained_reference.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "harness/check_tap.h"

namespace mlbench::harness {

using ref::Tensor;

namespace {

constexpr std::uint64_t kPart = std::uint64_t{1} << 32U;  // between the noise of one part and the next

}  // namespace

class ChainedReference::Sink final : public ref::TapSink {
 public:
  // `place`: where in the run the noise is drawn.
  Sink(ChainedReference& run, TapRows rows, const ref::PagedKvCache* cache, std::uint64_t place, Show show)
      : run_(run), rows_(std::move(rows)), cache_(cache), place_(place), show_(std::move(show)) {}

  [[nodiscard]] bool wants(TapId) const override { return true; }

  void take(TapId id, const Tensor& value) override {
    const TapSpec& spec = spec_of(run_.specs_, id.tap);
    const Index replicas = run_.replicas_.count();
    if (replicas == 1) return show_(id, rows_, value, {});
    Tensor moved = value;
    if (id.tap == Tap::rope_cos || id.tap == Tap::rope_sin) move_angles(id, moved);
    run_.perturbation_.apply(id, spec.layout, replicas, place_, moved);
    const Tensor exact = replica_of(moved, spec.layout, replicas, 0);
    show_(id, rows_, exact, limits(id, spec, exact, moved));
    moved_ = std::move(moved);
  }
  std::optional<Tensor> replacement(TapId) override { return std::move(moved_); }

 private:
  // Angles in float32 err the same way in every run: anywhere within their bound.
  void move_angles(TapId id, Tensor& value) const {
    if (!run_.error_model_.arithmetic().f32_rope_angles) return;
    const Tensor exact = replica_of(value, TapLayout::rows, run_.replicas_.count(), 0);
    const Tensor bound = run_.error_model_.bound(id, exact, {}, {cache_, -1, 0});
    const Index rows = bound.rows();
    if (rows == 0) return;
    for (Index r = rows; r < value.rows(); ++r) {
      Noise noise(run_.calls_ * 7919U + static_cast<std::uint64_t>(r));
      const auto most = bound.row(r % rows);
      for (std::size_t i = 0; i < most.size(); ++i) value.row(r)[i] += most[i] * (2.0 * noise.uniform() - 1.0);
    }
  }

  // By row of tokens: the largest deviation of each moved run, over all heads, and what follows for one run more.
  std::vector<double> limits(TapId id, const TapSpec& spec, const Tensor& exact, const Tensor& moved) {
    const Index replicas = run_.replicas_.count();
    const Index rows = spec.layout == TapLayout::rows ? exact.rows() : exact.dim(1);
    std::vector<std::vector<double>> deviations(static_cast<std::size_t>(rows),
                                                std::vector<double>(static_cast<std::size_t>(replicas - 1)));
    for (Index r = 1; r < replicas; ++r) {
      const Tensor other = replica_of(moved, spec.layout, replicas, r);
      for (Index row = 0; row < exact.rows(); ++row) {
        double& largest = deviations[static_cast<std::size_t>(row % rows)][static_cast<std::size_t>(r - 1)];
        for (std::size_t i = 0; i < exact.row(row).size(); ++i) {
          largest = std::max(largest, std::fabs(other.row(row)[i] - exact.row(row)[i]));
        }
      }
    }
    for (const auto& row : deviations) run_.floor_.add(id.tap, row);
    std::vector<double> out;
    for (const auto& row : deviations) out.push_back(run_.floor_.limit(id.tap, row));
    return out;
  }

  ChainedReference& run_;
  TapRows rows_;
  const ref::PagedKvCache* cache_;
  std::uint64_t place_;
  Show show_;
  std::optional<Tensor> moved_;
};

ChainedReference::ChainedReference(const ref::Reference& reference, const Model& model, const ErrorModel& error_model,
                                   std::uint64_t seed, const KvLimits& limits, Index moved, Index logits_together)
    : reference_(reference),
      error_model_(error_model),
      specs_(tap_specs(reference.config())),
      replicas_(reference, limits, moved + 1),
      perturbation_(model, error_model, seed),
      logits_together_(logits_together) {}

void ChainedReference::run(const Call& call, const Show& show, const Tensor* own_rows) {
  ++calls_;
  replicas_.begin(call);
  const TapRows rows{replicas_.positions(call), call.row_sequences()};
  const Tensor x = replicas_.tiled(own_rows != nullptr ? *own_rows : reference_.embed(call.tokens));
  Sink sink(*this, rows, &replicas_.cache(), calls_, show);
  const Tensor hidden =
      reference_.batch_forward_to_last_hidden_states(x.reshaped({1, x.rows(), x.cols()}), replicas_.cache(), &sink)
          .reshaped({x.rows(), x.cols()});
  replicas_.end();
  if (backends::returns_hidden(call.method)) return;

  show_logits(call, rows, hidden, show);
}

// Part by part: all logits of all runs would take more memory than everything else.
void ChainedReference::show_logits(const Call& call, const TapRows& rows, const Tensor& hidden, const Show& show) {
  const std::vector<std::int32_t> result_rows = call.result_rows();
  const auto count = static_cast<Index>(result_rows.size()), vocab = reference_.config().vocab_size;
  const Index part = std::max<Index>(1, logits_together_ / (replicas_.count() * vocab));
  Tensor logits({count, vocab});
  std::vector<double> limits;
  TapRows shown;
  std::uint64_t place = calls_;
  for (Index begin = 0; begin < count; begin += part, place += kPart) {
    std::vector<std::int32_t> chosen;
    for (Index r = 0; r < replicas_.count(); ++r) {
      for (Index i = begin; i < std::min(count, begin + part); ++i) {
        const std::int32_t row = result_rows[static_cast<std::size_t>(i)];
        chosen.push_back(static_cast<std::int32_t>(r * call.rows()) + row);
        if (r > 0) continue;
        shown.positions.push_back(rows.positions[static_cast<std::size_t>(row)]);
        shown.row_sequence.push_back(rows.row_sequence[static_cast<std::size_t>(row)]);
      }
    }
    const Tensor inputs = reference_.batch_select_last_hidden_states(hidden, chosen);
    perturbation_.note_product_input(inputs);
    Sink output(*this, {}, nullptr, place, [&](TapId, const TapRows&, const Tensor& exact, const auto& of_part) {
      std::ranges::copy(exact.values(), logits.values().begin() + begin * vocab);
      limits.insert(limits.end(), of_part.begin(), of_part.end());
    });
    (void)reference_.output_layer(inputs, &output);
  }
  show({Tap::logits, -1}, shown, logits, limits);
}

}  // namespace mlbench::harness
