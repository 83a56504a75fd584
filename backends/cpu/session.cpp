#include "backends/cpu/session.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include <fmt/format.h>

#include "backends/cpu/checks.h"
#include "core/error.h"

namespace mlbench::cpu {
namespace {

using backends::Method;
using backends::Part;
using backends::Support;

std::size_t float_bytes(Index count) { return static_cast<std::size_t>(count) * sizeof(float); }

void copy_row(const std::byte* from, Index from_row, std::byte* to, Index to_row, Index width) {
  std::memcpy(to + float_bytes(to_row * width), from + float_bytes(from_row * width), float_bytes(width));
}

Index rows_of(const ConstTensorView& matrix) { return matrix.shape.empty() ? 0 : matrix.shape[0]; }

}  // namespace

backends::Arithmetic arithmetic_of(DType dtype) {
  const bool rounds_inputs = dtype == DType::bf16 && Products::native(dtype);
  return {.weights = dtype, .kv_cache = dtype, .product_inputs = rounds_inputs ? DType::bf16 : DType::f32};
}

Session::Session(const Model& model, DType dtype, int threads) : dtype_(dtype), decoder_(model, dtype, threads) {}

Support Session::gives(Tap tap) const {
  for (const TapSpec& spec : tap_specs(config())) {
    if (spec.tap == tap) return {};
  }
  return Support::no(fmt::format("{} has no tap {}", mlbench::name(config().architecture), mlbench::name(tap)));
}

KvShape Session::kv_shape() const {
  return {.layers = config().num_layers, .heads = config().num_kv_heads, .width = config().head_dim, .dtype = dtype_};
}

std::unique_ptr<backends::KvCache> Session::create_paged_kv_cache(const KvLimits& limits) {
  if (limits.support_sliding_window && config().rope.kind != RopeKind::none) {
    throw request_error("kv.unsupported",
                        fmt::format("support_sliding_window: {} rotates keys when they are stored, a window would move "
                                    "them to other positions; the cpu backend has windows for gpt_bigcode alone",
                                    mlbench::name(config().architecture)));
  }
  return std::make_unique<PagedKvCache>(kv_shape(), limits);
}

PagedKvCache& Session::own(backends::KvCache& cache) const {
  auto* own = dynamic_cast<PagedKvCache*>(&cache);
  if (own == nullptr || own->shape() != kv_shape()) {
    throw request_error("kv.state", "the cache was made by another session: take one from create_paged_kv_cache");
  }
  return *own;
}

void Session::embed(std::span<const std::int32_t> ids, const TensorView& out) {
  require_tokens(ids, config().vocab_size);
  const auto n = static_cast<Index>(ids.size());
  require_shape("embed, result", out, {n, config().hidden_size});
  float* rows = x_.floats(n * config().hidden_size);
  decoder_.embed(ids, rows);
  if (n > 0) std::memcpy(out.data, rows, float_bytes(n * config().hidden_size));
}

void Session::get_logits(const ConstTensorView& hidden, const TensorView& out) {
  const Index n = rows_of(hidden);
  require_shape("get_logits", hidden, {n, config().hidden_size});
  require_shape("get_logits, result", out, {n, config().vocab_size});
  Taps none(nullptr);
  write_logits(take(hidden, n), n, out, none);
}

void Session::batch_select_last_hidden_states(const ConstTensorView& hidden, std::span<const std::int32_t> positions,
                                              const TensorView& out) {
  const char* where = "batch_select_last_hidden_states";
  const Index h = config().hidden_size;
  require_shape(where, hidden, {rows_of(hidden), h});
  require_logit_positions(where, positions, rows_of(hidden));
  require_shape("batch_select_last_hidden_states, result", out, {static_cast<Index>(positions.size()), h});
  for (std::size_t i = 0; i < positions.size(); ++i) {
    copy_row(hidden.data, positions[i], out.data, static_cast<Index>(i), h);
  }
}

void Session::require_result(Method method, const ConstTensorView& x, Index positions, const TensorView& out) const {
  Shape shape = x.shape;
  if (!backends::returns_hidden(method)) {
    shape[2] = config().vocab_size;
    if (method == Method::prefill) shape[1] = 1;
    if (method == Method::batch_prefill) shape[1] = positions;
  }
  require_shape(fmt::format("{}, result", backends::name(method)), out, shape);
}

float* Session::take(const ConstTensorView& x, Index rows) {
  float* out = x_.floats(rows * config().hidden_size);
  if (rows > 0) std::memcpy(out, x.data, float_bytes(rows * config().hidden_size));
  return out;
}

void Session::write_logits(const float* hidden, Index rows, const TensorView& out, Taps& taps) {
  if (reinterpret_cast<std::uintptr_t>(out.data) % alignof(float) == 0) {
    decoder_.logits(hidden, rows, reinterpret_cast<float*>(out.data), taps);
    return;
  }
  const Index count = rows * config().vocab_size;
  float* logits = logits_.floats(count);
  decoder_.logits(hidden, rows, logits, taps);
  std::memcpy(out.data, logits, float_bytes(count));
}

void Session::forward(Method method, const ConstTensorView& x, std::span<const std::int32_t> logit_positions,
                      backends::KvCache& cache, const TensorView& out, backends::TapSink* sink) {
  PagedKvCache& kv = own(cache);
  const auto rows = static_cast<Index>(kv.plan().rows.size());
  const Index h = config().hidden_size;
  require_rows(method, x, rows, h);
  if (method == Method::batch_prefill) require_logit_positions("batch_prefill", logit_positions, rows);
  require_result(method, x, static_cast<Index>(logit_positions.size()), out);

  Taps taps(sink);
  decoder_.begin(kv);
  float* hidden = take(x, rows);
  decoder_.enter(hidden, taps);
  for (Index layer = 0; layer < config().num_layers; ++layer) decoder_.layer(layer, hidden, taps);
  decoder_.final_norm(hidden, taps);

  if (backends::returns_hidden(method)) {
    std::memcpy(out.data, hidden, float_bytes(rows * h));
    return;
  }
  if (method == Method::prefill) return write_logits(hidden + (rows - 1) * h, 1, out, taps);
  if (method != Method::batch_prefill) return write_logits(hidden, rows, out, taps);
  const auto count = static_cast<Index>(logit_positions.size());
  float* chosen = chosen_.floats(count * h);
  for (Index i = 0; i < count; ++i) {
    std::copy_n(hidden + logit_positions[static_cast<std::size_t>(i)] * h, h, chosen + i * h);
  }
  write_logits(chosen, count, out, taps);
}

void Session::run_part(const Part& part, const ConstTensorView& x, backends::KvCache& cache, const TensorView& out,
                       backends::TapSink* sink) {
  PagedKvCache& kv = own(cache);
  const Shape shape = {static_cast<Index>(kv.plan().rows.size()), config().hidden_size};
  require_shape("run_part", x, shape);
  require_shape("run_part, result", out, shape);
  if (part.kind == Part::Kind::layer && (part.layer < 0 || part.layer >= config().num_layers)) {
    throw request_error("input.shape", fmt::format("run_part: layer {}: the model has layers 0..{}", part.layer,
                                                   config().num_layers - 1));
  }
  Taps taps(sink);
  decoder_.begin(kv);
  float* rows = take(x, shape[0]);
  switch (part.kind) {
    case Part::Kind::enter: decoder_.enter(rows, taps); break;
    case Part::Kind::layer: decoder_.layer(part.layer, rows, taps); break;
    case Part::Kind::final_norm: decoder_.final_norm(rows, taps); break;
  }
  std::memcpy(out.data, rows, float_bytes(element_count(shape)));
}

}  // namespace mlbench::cpu
