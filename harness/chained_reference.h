// The reference running freely, and beside it runs of it whose values are moved at random by a backend's rounding: what
// each tap is, and how far an honest backend may stray from it.
#pragma once

#include <functional>

#include "harness/check_tap.h"
#include "harness/error_model.h"
#include "harness/noise_floor.h"
#include "harness/perturbation.h"
#include "harness/replicas.h"

namespace mlbench::harness {

// How many runs are moved. Few, because each costs an evaluation; the factor that follows is NoiseFloor's.
inline constexpr Index kMoved = 8;

// Logits that are computed at a time, of all runs: 32 MiB.
inline constexpr Index kLogitsTogether = Index{1} << 22U;

class ChainedReference {
 public:
  // `moved` 0: exact values alone. All references must outlive this. `logits_together`: at most, but of one row.
  ChainedReference(const ref::Reference& reference, const Model& model, const ErrorModel& error_model,
                   std::uint64_t seed, const KvLimits& limits, Index moved, Index logits_together = kLogitsTogether);

  // Sees the exact tap and, where runs are moved, how far each row (of tokens) may stray.
  using Show =
      std::function<void(TapId id, const TapRows& rows, const ref::Tensor& exact, const std::vector<double>& limits)>;

  // Runs the next call of a story, on `rows` [N, h] in place of the embedded tokens where they are given. Logits are
  // those of the rows that the method returns; none for hidden forms.
  void run(const Call& call, const Show& show, const ref::Tensor* rows = nullptr);

 private:
  class Sink;

  void show_logits(const Call& call, const TapRows& rows, const ref::Tensor& hidden, const Show& show);

  const ref::Reference& reference_;
  const ErrorModel& error_model_;
  std::vector<TapSpec> specs_;
  Replicas replicas_;
  Perturbation perturbation_;
  NoiseFloor floor_;
  Index logits_together_;
  std::uint64_t calls_ = 0;
};

}  // namespace mlbench::harness
