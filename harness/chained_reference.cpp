#include "harness/chained_reference.h"

#include <algorithm>
#include <cmath>

#include "harness/check_tap.h"

namespace mlbench::harness {

using ref::Tensor;

class ChainedReference::Sink final : public ref::TapSink {
 public:
  Sink(ChainedReference& run, const TapRows& rows, const ref::PagedKvCache* cache, const Show& show)
      : run_(run), rows_(rows), cache_(cache), show_(show) {}

  [[nodiscard]] bool wants(TapId) const override { return true; }

  void take(TapId id, const Tensor& value) override {
    const TapSpec& spec = spec_of(run_.specs_, id.tap);
    const Index replicas = run_.replicas_.count();
    if (replicas == 1) return show_(id, rows_, value, {});
    Tensor moved = value;
    if (id.tap == Tap::rope_cos || id.tap == Tap::rope_sin) move_angles(id, moved);
    run_.perturbation_.apply(id, spec.layout, replicas, run_.calls_, moved);
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
    for (Index r = bound.rows(); r < value.rows(); ++r) {
      Noise noise(run_.calls_ * 7919U + static_cast<std::uint64_t>(r));
      const auto most = bound.row(r % bound.rows());
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
  const TapRows& rows_;
  const ref::PagedKvCache* cache_;
  const Show& show_;
  std::optional<Tensor> moved_;
};

ChainedReference::ChainedReference(const ref::Reference& reference, const Model& model, const ErrorModel& error_model,
                                   std::uint64_t seed, const KvLimits& limits, Index moved)
    : reference_(reference),
      error_model_(error_model),
      specs_(tap_specs(reference.config())),
      replicas_(reference, limits, moved + 1),
      perturbation_(model, error_model, seed) {}

void ChainedReference::run(const Call& call, const Show& show, const Tensor* own_rows) {
  ++calls_;
  replicas_.begin(call);
  const TapRows rows{replicas_.positions(call), call.row_sequences()};
  const Tensor x = replicas_.tiled(own_rows != nullptr ? *own_rows : reference_.embed(call.tokens));
  Sink sink(*this, rows, &replicas_.cache(), show);
  const Tensor hidden =
      reference_.batch_forward_to_last_hidden_states(x.reshaped({1, x.rows(), x.cols()}), replicas_.cache(), &sink)
          .reshaped({x.rows(), x.cols()});
  replicas_.end();
  if (backends::returns_hidden(call.method)) return;

  std::vector<std::int32_t> chosen;
  TapRows chosen_rows;
  for (const std::int32_t row : call.result_rows()) {
    chosen_rows.positions.push_back(rows.positions[static_cast<std::size_t>(row)]);
    chosen_rows.row_sequence.push_back(rows.row_sequence[static_cast<std::size_t>(row)]);
  }
  for (Index r = 0; r < replicas_.count(); ++r) {
    for (const std::int32_t row : call.result_rows()) {
      chosen.push_back(static_cast<std::int32_t>(r * call.rows()) + row);
    }
  }
  const Tensor inputs = reference_.batch_select_last_hidden_states(hidden, chosen);
  perturbation_.note_product_input(inputs);
  Sink output(*this, chosen_rows, nullptr, show);
  (void)reference_.output_layer(inputs, &output);
}

}  // namespace mlbench::harness
