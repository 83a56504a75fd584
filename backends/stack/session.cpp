#include "backends/stack/session.h"

#include <cstring>

#include <fmt/format.h>

#include "backends/stack/checks.h"
#include "core/error.h"

namespace mlbench::stack {
namespace {

using backends::Method;
using backends::Part;
using backends::Support;

Index rows_of(const ConstTensorView& matrix) { return matrix.shape.empty() ? 0 : matrix.shape[0]; }

}  // namespace

Session::Session(std::string backend, ModelConfig config, DType dtype)
    : backend_(std::move(backend)), config_(std::move(config)), dtype_(dtype) {}

Support Session::gives(Tap tap) const {
  for (const TapSpec& spec : tap_specs(config_)) {
    if (spec.tap == tap) return {};
  }
  return Support::no(fmt::format("{} has no tap {}", mlbench::name(config_.architecture), mlbench::name(tap)));
}

std::unique_ptr<backends::KvCache> Session::create_paged_kv_cache(const KvLimits& limits) {
  if (limits.support_sliding_window && config_.rope.kind != RopeKind::none) {
    throw request_error("kv.unsupported",
                        fmt::format("support_sliding_window: {} rotates keys when they are stored, a window would move "
                                    "them to other positions; the {} backend has windows for gpt_bigcode alone",
                                    mlbench::name(config_.architecture), backend_));
  }
  return make_cache(limits);
}

PagedCache& Session::own(backends::KvCache& cache) const {
  auto* own = dynamic_cast<PagedCache*>(&cache);
  if (own == nullptr || own->shape() != kv_shape(config_, dtype_)) {
    throw request_error("kv.state", "the cache was made by another session: take one from create_paged_kv_cache");
  }
  return *own;
}

void Session::embed(std::span<const std::int32_t> ids, const TensorView& out) {
  require_tokens(ids, config_.vocab_size);
  require_shape("embed, result", out, {static_cast<Index>(ids.size()), config_.hidden_size});
  if (!ids.empty()) embed_rows(ids, out.data);
}

void Session::get_logits(const ConstTensorView& hidden, const TensorView& out) {
  const Index n = rows_of(hidden);
  require_shape("get_logits", hidden, {n, config_.hidden_size});
  require_shape("get_logits, result", out, {n, config_.vocab_size});
  set_rows(hidden.data, n);
  write_logits({.first = 0, .count = n, .chosen = {}}, out.data, nullptr);
}

void Session::batch_select_last_hidden_states(const ConstTensorView& hidden, std::span<const std::int32_t> positions,
                                              const TensorView& out) {
  const char* where = "batch_select_last_hidden_states";
  const Index h = config_.hidden_size;
  require_shape(where, hidden, {rows_of(hidden), h});
  require_logit_positions(where, positions, rows_of(hidden));
  require_shape("batch_select_last_hidden_states, result", out, {static_cast<Index>(positions.size()), h});
  const std::size_t bytes = static_cast<std::size_t>(h) * sizeof(float);
  for (std::size_t i = 0; i < positions.size(); ++i)
    std::memcpy(out.data + i * bytes, hidden.data + static_cast<std::size_t>(positions[i]) * bytes, bytes);
}

void Session::require_result(Method method, const ConstTensorView& x, Index positions, const TensorView& out) const {
  Shape shape = x.shape;
  if (!backends::returns_hidden(method)) {
    shape[2] = config_.vocab_size;
    if (method == Method::prefill) shape[1] = 1;
    if (method == Method::batch_prefill) shape[1] = positions;
  }
  require_shape(fmt::format("{}, result", backends::name(method)), out, shape);
}

void Session::run_stack(backends::TapSink* taps) {
  enter(taps);
  for (Index index = 0; index < config_.num_layers; ++index) layer(index, taps);
  final_norm(taps);
}

void Session::forward(Method method, const ConstTensorView& x, std::span<const std::int32_t> logit_positions,
                      backends::KvCache& cache, const TensorView& out, backends::TapSink* taps) {
  PagedCache& kv = own(cache);
  const auto rows = static_cast<Index>(kv.plan().rows.size());
  require_rows(method, x, rows, config_.hidden_size);
  if (method == Method::batch_prefill) require_logit_positions("batch_prefill", logit_positions, rows);
  require_result(method, x, static_cast<Index>(logit_positions.size()), out);

  begin(kv);
  set_rows(x.data, rows);
  run_stack(taps);
  if (backends::returns_hidden(method)) return get_rows(out.data, rows);
  if (method == Method::prefill) return write_logits({.first = rows - 1, .count = 1, .chosen = {}}, out.data, taps);
  if (method != Method::batch_prefill) return write_logits({.first = 0, .count = rows, .chosen = {}}, out.data, taps);
  const auto count = static_cast<Index>(logit_positions.size());
  write_logits({.first = 0, .count = count, .chosen = logit_positions}, out.data, taps);
}

void Session::run_part(const Part& part, const ConstTensorView& x, backends::KvCache& cache, const TensorView& out,
                       backends::TapSink* taps) {
  PagedCache& kv = own(cache);
  const Shape shape = {static_cast<Index>(kv.plan().rows.size()), config_.hidden_size};
  require_shape("run_part", x, shape);
  require_shape("run_part, result", out, shape);
  if (part.kind == Part::Kind::layer && (part.layer < 0 || part.layer >= config_.num_layers)) {
    throw request_error("input.shape", fmt::format("run_part: layer {}: the model has layers 0..{}", part.layer,
                                                   config_.num_layers - 1));
  }
  begin(kv);
  set_rows(x.data, shape[0]);
  switch (part.kind) {
    case Part::Kind::enter: enter(taps); break;
    case Part::Kind::layer: layer(part.layer, taps); break;
    case Part::Kind::final_norm: final_norm(taps); break;
  }
  get_rows(out.data, shape[0]);
}

}  // namespace mlbench::stack
