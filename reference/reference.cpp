#include "reference/reference.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include <fmt/format.h>

#include "core/error.h"

namespace mlbench::ref {
namespace {

std::unique_ptr<Decoder> make_decoder(const Model& model, Ops ops, RopeCompat compat) {
  switch (model.config.architecture) {
    case Architecture::llama: return make_llama(model, ops, compat);
    case Architecture::orion: return make_orion(model, ops, compat);
    case Architecture::olmo: return make_olmo(model, ops, compat);
    case Architecture::phi: return make_phi(model, ops, compat);
    case Architecture::gpt_bigcode: return make_gpt_bigcode(model, ops);
  }
  return nullptr;
}

Error wrong_shape(const char* method, const char* expected, const Shape& got) {
  return request_error("input.shape", fmt::format("{}: expected {}, got {}", method, expected, to_string(got)));
}

void require_prefill_shape(const char* method, const Tensor& x) {
  if (x.shape().size() != 3 || x.dim(0) != 1) throw wrong_shape(method, "[1, n, h]", x.shape());
}

void require_decode_shape(const char* method, const Tensor& x) {
  if (x.shape().size() != 3 || x.dim(1) != 1) throw wrong_shape(method, "[b, 1, h]", x.shape());
}

void require_one_row(const char* method, const Tensor& x) {
  if (x.shape().size() != 3 || x.dim(0) != 1 || x.dim(1) != 1) throw wrong_shape(method, "[1, 1, h]", x.shape());
}

// Rows of a matrix, or the matrix with rows appended that nobody may rely on.
Tensor first_rows(const Tensor& x, Index count) {
  Tensor out({count, x.cols()});
  std::copy_n(x.values().begin(), out.size(), out.values().begin());
  return out;
}

Tensor padded_to(const Tensor& rows, Index count) {
  if (rows.rows() == count) return rows;
  Tensor out({count, rows.cols()}, std::numeric_limits<double>::quiet_NaN());
  std::ranges::copy(rows.values(), out.values().begin());
  return out;
}

Shape with_width(Shape shape, Index width) {
  shape.back() = width;
  return shape;
}

void check_positions(const char* method, std::span<const std::int32_t> positions, Index rows) {
  for (std::size_t i = 0; i < positions.size(); ++i) {
    if (positions[i] < 0 || positions[i] >= rows) {
      throw request_error(
          "input.logit_position",
          fmt::format("{}: logit position {} at index {}: must lie within 0..{}", method, positions[i], i, rows - 1));
    }
  }
}

Tensor gather_rows(const Tensor& x, std::span<const std::int32_t> positions) {
  Tensor out({static_cast<Index>(positions.size()), x.cols()});
  for (std::size_t i = 0; i < positions.size(); ++i) {
    std::ranges::copy(x.row(positions[i]), out.row(static_cast<Index>(i)).begin());
  }
  return out;
}

}  // namespace

Reference::Reference(Model model, Workers& workers, RopeCompat compat)
    : model_(std::move(model)), ops_(workers), decoder_(make_decoder(model_, ops_, compat)) {}

PagedKvCache Reference::create_paged_kv_cache(const KvLimits& limits) const {
  return PagedKvCache({.num_layers = config().num_layers,
                       .num_kv_heads = config().num_kv_heads,
                       .head_dim = config().head_dim,
                       .rope_mode = decoder_->rope() == nullptr ? RopeMode::none : RopeMode::normal},
                      limits);
}

Tensor Reference::embed(std::span<const std::int32_t> ids) const { return decoder_->embed(ids); }

Tensor Reference::get_logits(const Tensor& hidden) const {
  if (hidden.shape().size() != 2 || hidden.cols() != config().hidden_size) {
    throw wrong_shape("get_logits", "[n, h]", hidden.shape());
  }
  return decoder_->logits(hidden, Taps(nullptr));
}

Tensor Reference::batch_select_last_hidden_states(const Tensor& hidden, std::span<const std::int32_t> positions) const {
  if (hidden.shape().size() != 2) throw wrong_shape("batch_select_last_hidden_states", "[n, h]", hidden.shape());
  check_positions("batch_select_last_hidden_states", positions, hidden.rows());
  return gather_rows(hidden, positions);
}

// The announced rows of x through all layers and the final norm: [N, h].
Tensor Reference::stack(const Tensor& x, PagedKvCache& cache, TapSink* taps) const {
  ForwardPass pass = this->pass(cache);
  const bool prefill_shape = x.shape().size() == 3 && x.dim(0) == 1;
  const bool decode_shape = x.shape().size() == 3 && x.dim(1) == 1;
  const bool enough = x.rows() == pass.rows() || (prefill_shape && x.rows() > pass.rows());
  if ((!prefill_shape && !decode_shape) || x.cols() != config().hidden_size || !enough) {
    throw request_error("input.shape",
                        fmt::format("forward: expected {0} rows of {1} values as [1, n >= {0}, {1}] or [{0}, 1, {1}], "
                                    "got {2}",
                                    pass.rows(), config().hidden_size, to_string(x.shape())));
  }
  Tensor rows = enter(first_rows(x, pass.rows()), pass, taps);
  for (Index index = 0; index < config().num_layers; ++index) rows = layer(index, rows, pass, taps);
  return final_norm(rows, taps);
}

ForwardPass Reference::pass(PagedKvCache& cache) const { return {cache, decoder_->rope(), ops_}; }

Tensor Reference::enter(const Tensor& x, ForwardPass& pass, TapSink* taps) const {
  const Taps tap(taps);
  Tensor rows = tap(Tap::embed, decoder_->enter(x, pass, tap));
  if (decoder_->rope() != nullptr) {
    Tensor cos = tap(Tap::rope_cos, pass.cos());
    pass.set_rotation(std::move(cos), tap(Tap::rope_sin, pass.sin()));
  }
  return rows;
}

Tensor Reference::layer(Index index, const Tensor& x, ForwardPass& pass, TapSink* taps) const {
  return decoder_->layer(index, x, pass, Taps(taps).in_layer(index));
}

Tensor Reference::final_norm(const Tensor& x, TapSink* taps) const { return decoder_->final_norm(x, Taps(taps)); }

Tensor Reference::output_layer(const Tensor& hidden, TapSink* taps) const {
  return decoder_->logits(hidden, Taps(taps));
}

Tensor Reference::batch_forward(const Tensor& x, PagedKvCache& cache,
                                const std::optional<std::span<const std::int32_t>>& logit_positions,
                                TapSink* taps) const {
  if (logit_positions) check_positions("batch_forward", *logit_positions, static_cast<Index>(cache.plan().rows.size()));
  const Tensor hidden = stack(x, cache, taps);
  if (logit_positions) {
    const Tensor chosen = gather_rows(hidden, *logit_positions);
    return decoder_->logits(chosen, Taps(taps)).reshaped({1, chosen.rows(), config().vocab_size});
  }
  return padded_to(decoder_->logits(hidden, Taps(taps)), x.rows()).reshaped(with_width(x.shape(), config().vocab_size));
}

Tensor Reference::batch_forward_to_last_hidden_states(const Tensor& x, PagedKvCache& cache, TapSink* taps) const {
  return padded_to(stack(x, cache, taps), x.rows()).reshaped(x.shape());
}

Tensor Reference::prefill(const Tensor& x, PagedKvCache& cache, TapSink* taps) const {
  require_prefill_shape("prefill", x);
  const std::int32_t last[] = {static_cast<std::int32_t>(cache.plan().rows.size()) - 1};
  return batch_forward(x, cache, last, taps);
}

Tensor Reference::decode(const Tensor& x, PagedKvCache& cache, TapSink* taps) const {
  require_one_row("decode", x);
  return batch_forward(x, cache, std::nullopt, taps);
}

Tensor Reference::batch_prefill(const Tensor& x, std::span<const std::int32_t> logit_positions, PagedKvCache& cache,
                                TapSink* taps) const {
  require_prefill_shape("batch_prefill", x);
  return batch_forward(x, cache, logit_positions, taps);
}

Tensor Reference::batch_decode(const Tensor& x, PagedKvCache& cache, TapSink* taps) const {
  require_decode_shape("batch_decode", x);
  return batch_forward(x, cache, std::nullopt, taps);
}

Tensor Reference::batch_verify(const Tensor& x, PagedKvCache& cache, TapSink* taps) const {
  require_prefill_shape("batch_verify", x);
  return batch_forward(x, cache, std::nullopt, taps);
}

Tensor Reference::prefill_to_last_hidden_states(const Tensor& x, PagedKvCache& cache, TapSink* taps) const {
  require_prefill_shape("prefill_to_last_hidden_states", x);
  return batch_forward_to_last_hidden_states(x, cache, taps);
}

Tensor Reference::decode_to_last_hidden_states(const Tensor& x, PagedKvCache& cache, TapSink* taps) const {
  require_one_row("decode_to_last_hidden_states", x);
  return batch_forward_to_last_hidden_states(x, cache, taps);
}

Tensor Reference::batch_prefill_to_last_hidden_states(const Tensor& x, PagedKvCache& cache, TapSink* taps) const {
  require_prefill_shape("batch_prefill_to_last_hidden_states", x);
  return batch_forward_to_last_hidden_states(x, cache, taps);
}

Tensor Reference::batch_decode_to_last_hidden_states(const Tensor& x, PagedKvCache& cache, TapSink* taps) const {
  require_decode_shape("batch_decode_to_last_hidden_states", x);
  return batch_forward_to_last_hidden_states(x, cache, taps);
}

Tensor Reference::batch_verify_to_last_hidden_states(const Tensor& x, PagedKvCache& cache, TapSink* taps) const {
  require_prefill_shape("batch_verify_to_last_hidden_states", x);
  return batch_forward_to_last_hidden_states(x, cache, taps);
}

}  // namespace mlbench::ref
