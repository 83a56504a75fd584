// Rotary position embedding (Su et al., arXiv:2104.09864) with the scaling kinds of Hugging Face transformers.
#pragma once

#include <vector>

#include "models/config.h"

namespace mlbench::ref {

// f64: the reference. f32: frequencies and angles rounded to float32 as engines build them (exponent 2i/D, theta^e, the
// reciprocal, the scaled frequency and p * w each rounded), so that a backend can be judged without that difference.
enum class RopeCompat { f64, f32 };

class Rope {
 public:
  Rope(RopeConfig config, RopeCompat compat);

  [[nodiscard]] Index rotary_dim() const { return config_.rotary_dim; }  // D

  // w_i, i in [0, D/2), for a sequence whose length after this call's append is `total_length`. Only dynamic and
  // longrope depend on it; no state is kept between calls.
  [[nodiscard]] std::vector<double> frequencies(Index total_length) const;

  // m, which multiplies cosines and sines; 1 except for yarn and longrope.
  [[nodiscard]] double attention_scaling() const;

  // m cos(p w_i) and m sin(p w_i), i in [0, D/2).
  struct Angles {
    std::vector<double> cos, sin;
  };
  [[nodiscard]] Angles angles(Index position, const std::vector<double>& frequencies) const;

 private:
  [[nodiscard]] double base_frequency(double theta, Index i) const;
  [[nodiscard]] double rounded(double value) const;

  RopeConfig config_;
  RopeCompat compat_;
};

// Rotates one head of width d >= D in place. Pairs are (i, i + D/2), the order of Hugging Face's checkpoints ("rotate
// half"), not neighbours as in the paper: y[i] = x[i] c - x[i + D/2] s, y[i + D/2] = x[i + D/2] c + x[i] s; values from
// D on stay.
void rotate(double* head, const double* cos, const double* sin, Index rotary_dim);

}  // namespace mlbench::ref
