// The float64 truth: a model and every inference method (spec methods.md, section 3), with its shapes. Values are
// float64 throughout; where an engine returns float32 logits, these are what it rounds.
//
// T rows of a call, N rows announced by the cache's last begin_forward, b logit positions, h hidden, V vocabulary.
// A forward takes its rows in prefill shape [1, n, h] with n >= N (rows beyond N are padding: their results are NaN)
// or, where the method says so, in decode shape [n, 1, h] with n = N. Errors are request errors: input.shape,
// input.token_range, input.position_range, input.logit_position and kv.state.
#pragma once

#include <memory>
#include <optional>
#include <span>

#include "core/workers.h"
#include "models/weights.h"
#include "reference/decoder.h"
#include "reference/paged_kv_cache.h"
#include "reference/rope.h"
#include "reference/taps.h"

namespace mlbench::ref {

class Reference {
 public:
  // `workers` must outlive this. Results do not depend on how many there are.
  Reference(Model model, Workers& workers, RopeCompat compat = RopeCompat::f64);

  [[nodiscard]] const ModelConfig& config() const { return model_.config; }
  [[nodiscard]] PagedKvCache create_paged_kv_cache(const KvLimits& limits) const;

  // [n] -> [n, h]
  [[nodiscard]] Tensor embed(std::span<const std::int32_t> ids) const;
  // [n, h] -> [n, V]
  [[nodiscard]] Tensor get_logits(const Tensor& hidden) const;
  // [n, h], b positions in [0, n) -> [b, h]
  [[nodiscard]] Tensor batch_select_last_hidden_states(const Tensor& hidden,
                                                       std::span<const std::int32_t> positions) const;

  // [1, n, h] -> [1, 1, V]: logits of row N - 1
  Tensor prefill(const Tensor& x, PagedKvCache& cache, TapSink* taps = nullptr) const;
  // [1, 1, h] -> [1, 1, V]
  Tensor decode(const Tensor& x, PagedKvCache& cache, TapSink* taps = nullptr) const;
  // [1, n, h], b positions in [0, N) -> [1, b, V]
  Tensor batch_prefill(const Tensor& x, std::span<const std::int32_t> logit_positions, PagedKvCache& cache,
                       TapSink* taps = nullptr) const;
  // [b, 1, h] -> [b, 1, V]
  Tensor batch_decode(const Tensor& x, PagedKvCache& cache, TapSink* taps = nullptr) const;
  // [1, n, h] -> [1, n, V]: logits of every row
  Tensor batch_verify(const Tensor& x, PagedKvCache& cache, TapSink* taps = nullptr) const;

  // The same stacks up to the final norm: the shape of x.
  Tensor prefill_to_last_hidden_states(const Tensor& x, PagedKvCache& cache, TapSink* taps = nullptr) const;
  Tensor decode_to_last_hidden_states(const Tensor& x, PagedKvCache& cache, TapSink* taps = nullptr) const;
  Tensor batch_prefill_to_last_hidden_states(const Tensor& x, PagedKvCache& cache, TapSink* taps = nullptr) const;
  Tensor batch_decode_to_last_hidden_states(const Tensor& x, PagedKvCache& cache, TapSink* taps = nullptr) const;
  Tensor batch_verify_to_last_hidden_states(const Tensor& x, PagedKvCache& cache, TapSink* taps = nullptr) const;

  // The internal functions that the above are made of. Without positions every row's logits, in the shape of x.
  Tensor batch_forward(const Tensor& x, PagedKvCache& cache,
                       const std::optional<std::span<const std::int32_t>>& logit_positions,
                       TapSink* taps = nullptr) const;
  Tensor batch_forward_to_last_hidden_states(const Tensor& x, PagedKvCache& cache, TapSink* taps = nullptr) const;

  // The pieces of a forward, for one that looks at them one by one: a pass over the rows that `cache` announced, what
  // makes embedded rows [N, h] the input of layer 0, one layer, and the final norm.
  [[nodiscard]] ForwardPass pass(PagedKvCache& cache) const;
  Tensor enter(const Tensor& x, ForwardPass& pass, TapSink* taps) const;
  Tensor layer(Index index, const Tensor& x, ForwardPass& pass, TapSink* taps) const;
  Tensor final_norm(const Tensor& x, TapSink* taps) const;
  // [n, h] -> [n, V], shown to `taps`.
  Tensor output_layer(const Tensor& hidden, TapSink* taps) const;

 private:
  Tensor stack(const Tensor& x, PagedKvCache& cache, TapSink* taps) const;

  Model model_;
  Ops ops_;
  std::unique_ptr<Decoder> decoder_;
};

}  // namespace mlbench::ref
