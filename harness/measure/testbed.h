// One point of a sweep, ready to be timed: a cache that holds its depth, the tokens, room for every output. What a
// repetition costs beside what is timed is undone by popn, so that each begins where the one before did.
#pragma once

#include <array>
#include <chrono>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "backends/backend.h"
#include "backends/parallel/worker_times.h"
#include "core/bench_results.h"
#include "core/tensor_view.h"
#include "harness/measure/energy.h"
#include "models/config.h"

namespace mlbench::measure {

// What one method took in one repetition.
struct TimedMethod {
  double seconds = 0.0;          // of all its calls: embedding, begin_forward to end_forward, synchronisation
  std::vector<double> steps;     // decode: of each call
  std::optional<double> joules;  // that the processors used meanwhile
  std::vector<parallel::WorkerTimes> workers;  // of a split model, whose work was measured
};

// Rows of one call, kept to be checked: of sequence s, the token at position `positions[s]`.
struct KeptOutput {
  std::size_t method = 0;  // index into the point's methods
  Index step = 0;          // decode
  HostTensor rows;         // logits f32 [b, V], or hidden rows T [b, h]
};

[[nodiscard]] bool decodes(backends::Method method);

// "prefill takes one sequence"; "" where the method can run such a batch.
[[nodiscard]] std::string why_not(backends::Method method, const BenchPoint& point);

class Testbed {
 public:
  // `session` must outlive this. Methods in the order in which they are timed: those that take the prompt, then those
  // that decode. Throws what the backend throws.
  Testbed(backends::Session& session, const ModelConfig& config, const BenchPoint& point,
          std::vector<backends::Method> methods, std::uint64_t seed);

  // Runs every method once. Times by method. Every other repetition takes other tokens, as many: a result that was left
  // from the one before shows.
  std::vector<TimedMethod> repeat();

  // Of sequence s in the first repetition: depth, prompt and what decoding is fed.
  [[nodiscard]] const std::vector<std::int32_t>& tokens(Index sequence) const {
    return tokens_[0][static_cast<std::size_t>(sequence)];
  }
  [[nodiscard]] const BenchPoint& point() const { return point_; }
  [[nodiscard]] const std::vector<backends::Method>& methods() const { return methods_; }
  [[nodiscard]] backends::Session& session() const { return session_; }
  [[nodiscard]] const ModelConfig& config() const { return config_; }

  // The first repetition's outputs (some steps' of a long decode), and how far those of later ones lie from the first
  // of the same tokens: the largest |difference|, infinite where one is no number.
  [[nodiscard]] const std::vector<KeptOutput>& outputs() const { return first_[0]; }
  [[nodiscard]] double later_difference() const { return later_difference_; }
  // Other tokens gave the same rows.
  [[nodiscard]] bool repeats_itself(std::size_t method) const { return repeats_itself_.contains(method); }

  [[nodiscard]] static KvLimits limits_of(const BenchPoint& point);

 private:
  void fill(Index from, Index count);
  void take_other_tokens(Index from, std::uint64_t seed);
  void look_at(std::vector<KeptOutput> outputs);
  void popn(Index count);
  [[nodiscard]] double run(backends::Method method, Index from, Index count, const TensorView& out);
  [[nodiscard]] bool keeps(Index step) const;
  [[nodiscard]] HostTensor result_rows(backends::Method method, const HostTensor& out) const;
  [[nodiscard]] std::vector<parallel::WorkerTimes> worker_times(bool with_events);
  [[nodiscard]] std::optional<double> joules() { return energy_ ? energy_->joules() : std::nullopt; }
  TimedMethod prompt_once(std::size_t method, std::vector<KeptOutput>& outputs);
  TimedMethod decode_once(std::size_t method, std::vector<KeptOutput>& outputs);

  backends::Session& session_;
  const ModelConfig& config_;
  BenchPoint point_;
  std::vector<backends::Method> methods_;
  DType activations_;
  std::unique_ptr<backends::KvCache> cache_;
  std::vector<SeqId> ids_;
  std::array<std::vector<std::vector<std::int32_t>>, 2> tokens_;  // in turns
  std::size_t turn_ = 0;                                          // of the next repetition
  HostTensor rows_;                                               // embedded
  std::optional<EnergyMeter> energy_ = EnergyMeter::find();
  std::array<std::vector<KeptOutput>, 2> first_;  // by turn
  double later_difference_ = 0.0;
  std::set<std::size_t> repeats_itself_;  // methods
};

}  // namespace mlbench::measure
