// Monte Carlo arithmetic (Parker, "Monte Carlo arithmetic", UCLA CSD-970002, 1997): the reference's values moved at
// random as far as a backend's rounding moves them. Runs that were moved show how much of that reaches each tap.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "harness/error_model.h"

namespace mlbench::harness {

// Random numbers from a seed and a place in the run: the same whatever ran before.
class Noise {
 public:
  explicit Noise(std::uint64_t seed) : state_(seed) {}
  double uniform();  // in [0, 1)
  double normal();   // mean 0, variance 1: a sum of four uniform numbers, below 3.47 in magnitude

 private:
  std::uint64_t state_;
};

// `value` rounded to one of its two neighbours in `type`, with a chance that makes the mean right.
[[nodiscard]] double rounded_at_random(double value, DType type, Noise& noise);

class Perturbation {
 public:
  Perturbation(const Model& model, const ErrorModel& error_model, std::uint64_t seed);

  // Moves rows of the tap's value in place: those of replica 1 on, each on its own. `rows` per replica.
  void apply(TapId id, TapLayout layout, Index replicas, std::uint64_t call, ref::Tensor& value);

  // The rows that the next products take, where they are not a whole tap.
  void note_product_input(const ref::Tensor& rows);

 private:
  using Vector = std::vector<double>;

  // How far sums and functions move an element: the standard deviation. For products with the 2-norms of the weight's
  // row and of the input's, otherwise with the row's root mean square.
  [[nodiscard]] double spread(Tap tap, double value, double row_size, const double* weight_norm) const;
  [[nodiscard]] double truncated_part() const;
  const Vector& weight_norms(TapId id);
  // The residual rows that the next LayerNorm takes: how far its mean's error moves all values of a row.
  void note_residual(const ref::Tensor& rows);
  const Vector& gains(TapId id, Index width);

  const Model& model_;
  const ErrorModel& error_model_;
  std::uint64_t seed_;
  std::map<std::string, Vector> weight_norms_;  // by module: the 2-norm of each row
  Vector input_norms_;                          // of the rows that the next products take
  Index input_width_ = 0;
  Vector mean_shifts_;                   // of the rows that the next LayerNorm takes: standard deviations, before gains
  std::map<std::string, Vector> gains_;  // by module: the weights of a norm
};

}  // namespace mlbench::harness
