// Componentwise bounds on how far an honest backend's tap may lie from the exact one, from the arithmetic that it
// declares. docs/error-bounds.md derives them; a rule stands here for every operator, and no other tolerance anywhere.
//
// The bound of a tap is about one operator: what it was computed from is known, because the backend gave it, or, where
// the backend gave none, is known up to an error that was bounded before and is passed on.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "backends/backend.h"
#include "core/workers.h"
#include "harness/rounding.h"
#include "models/weights.h"
#include "reference/forward_pass.h"
#include "reference/tensor.h"

namespace mlbench::harness {

// A value and how far it may be from the backend's own; an empty error: not at all.
struct Known {
  ref::Tensor value;
  ref::Tensor error;
};

// What is known in one part of the stack, in the layouts of models/taps.h. The part's input stands under kPartInput,
// the rotation under rope_cos and rope_sin in every layer.
using KnownTaps = std::map<Tap, Known>;
inline constexpr Tap kPartInput = Tap::embed;

// Rows of the call, and the cache in which their keys and values stand: what attention reads.
struct AttentionInputs {
  const ref::PagedKvCache* cache = nullptr;
  Index layer = -1;
  Index rows = 0;  // the first rows of the cache's plan that are looked at
};

// How far an angle p w_i of pair i may be off, as built in float32, and with it its cosine and sine before scaling.
[[nodiscard]] double f32_angle_error(const RopeConfig& rope, Index pair, double angle);

// The tap whose rows a product with weights takes; nothing for taps that are none.
[[nodiscard]] std::optional<Tap> product_input(Tap tap, const ModelConfig& config);

// The type that a tap's values are rounded to.
[[nodiscard]] DType type_of(Tap tap, const backends::Arithmetic& arithmetic);

class ErrorModel {
 public:
  // `model` has the weights that the backend uses, rounded to its storage type. It and `workers` must outlive this.
  ErrorModel(const Model& model, const backends::Arithmetic& arithmetic, Workers& workers,
             Bounds bounds = Bounds::probabilistic);

  // The bound of every element of `y`, the exact value of tap `id` for what is known. Taps that it is computed from
  // must be known.
  [[nodiscard]] ref::Tensor bound(TapId id, const ref::Tensor& y, const KnownTaps& known,
                                  const AttentionInputs& attention) const;

  [[nodiscard]] const Model& model() const { return model_; }
  [[nodiscard]] const backends::Arithmetic& arithmetic() const { return arithmetic_; }
  [[nodiscard]] Workers& workers() const { return *workers_; }
  [[nodiscard]] DType type_of(Tap tap) const { return harness::type_of(tap, arithmetic_); }
  // The name of a norm's or product's weights without ".weight"; empty for a norm without tensors.
  [[nodiscard]] std::string module_of(TapId id) const;

 private:
  using Tensor = ref::Tensor;

  // One rule for each kind of operator.
  [[nodiscard]] Tensor embedding(TapId id, const Tensor& y) const;
  [[nodiscard]] Tensor rotation(Tap tap, const Tensor& y, const AttentionInputs& attention) const;
  [[nodiscard]] Tensor norm(TapId id, const Tensor& y, const Known& x) const;
  [[nodiscard]] Tensor head_norm(TapId id, const Tensor& y, const Known& projection) const;
  [[nodiscard]] Tensor linear(TapId id, const Tensor& y, const Known& x) const;
  [[nodiscard]] Tensor rotated(TapId id, const Tensor& y, const KnownTaps& known) const;
  [[nodiscard]] Tensor value_heads(TapId id, const Tensor& y, const KnownTaps& known) const;
  [[nodiscard]] Tensor attention(Tap tap, const Tensor& y, const Known& q, const AttentionInputs& attention) const;
  [[nodiscard]] Tensor activation(Tap tap, const Tensor& y, const Known& x) const;
  [[nodiscard]] Tensor gated(const Tensor& y, const Known& act, const Known& up) const;
  [[nodiscard]] Tensor sum(Tap tap, const Tensor& y, const std::vector<const Known*>& terms) const;

  [[nodiscard]] Known heads_before_rotation(Tap tap, const KnownTaps& known) const;

  const Model& model_;
  backends::Arithmetic arithmetic_;
  Workers* workers_;
  Bounds bounds_;
};

}  // namespace mlbench::harness
