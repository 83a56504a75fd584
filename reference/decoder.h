// One architecture in float64: what it does with token ids, with rows of a layer's input, and with its last rows.
// The schedule around it (caches, batches, methods) is methods.h's.
#pragma once

#include <memory>
#include <optional>
#include <span>

#include "models/weights.h"
#include "reference/forward_pass.h"
#include "reference/ops.h"
#include "reference/rope.h"
#include "reference/taps.h"

namespace mlbench::ref {

class Decoder {
 public:
  virtual ~Decoder() = default;

  // Its rotation; null where positions enter otherwise.
  [[nodiscard]] virtual const Rope* rope() const = 0;
  // Rows of the token embedding, [n, h].
  [[nodiscard]] virtual Tensor embed(std::span<const std::int32_t> ids) const = 0;
  // The input of layer 0 for embedded tokens x [T, h]: GPT BigCode adds its position embedding, the others nothing.
  // Throws input.position_range for a position that has no embedding.
  [[nodiscard]] virtual Tensor enter(const Tensor& x, const ForwardPass& pass, const Taps& tap) const = 0;
  // Layer `index` applied to its input x [T, h]; keys and values go into the pass's cache. `tap` stands in the layer.
  [[nodiscard]] virtual Tensor layer(Index index, const Tensor& x, ForwardPass& pass, const Taps& tap) const = 0;
  // "hidden": the final norm of the last layer's output [n, h].
  [[nodiscard]] virtual Tensor final_norm(const Tensor& x, const Taps& tap) const = 0;
  // The output layer: hidden [n, h] -> [n, V].
  [[nodiscard]] virtual Tensor logits(const Tensor& hidden, const Taps& tap) const = 0;
};

// One function per architecture, each in the file of its name. The weights are bound by name and must outlive the
// decoder.
[[nodiscard]] std::unique_ptr<Decoder> make_llama(const Model& model, Ops ops, RopeCompat compat);
[[nodiscard]] std::unique_ptr<Decoder> make_orion(const Model& model, Ops ops, RopeCompat compat);
[[nodiscard]] std::unique_ptr<Decoder> make_olmo(const Model& model, Ops ops, RopeCompat compat);
[[nodiscard]] std::unique_ptr<Decoder> make_phi(const Model& model, Ops ops, RopeCompat compat);
[[nodiscard]] std::unique_ptr<Decoder> make_gpt_bigcode(const Model& model, Ops ops);

// Rows `ids` of an embedding [V, h]. An id outside [0, V) is input.token_range.
[[nodiscard]] Tensor gather_embedding(const WeightView& embedding, std::span<const std::int32_t> ids);

}  // namespace mlbench::ref
