#include "backends/stack/session.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include <fmt/format.h>

#include "backends/stack/checks.h"
#include "backends/stack/part_taps.h"
#include "core/error.h"

namespace mlbench::stack {
namespace {

using backends::Method;
using backends::Part;
using backends::Support;

Index rows_of(const ConstTensorView& matrix) { return matrix.shape.empty() ? 0 : matrix.shape[0]; }

std::size_t float_bytes(Index count) { return static_cast<std::size_t>(count) * sizeof(float); }

// The last axis of attention's probabilities.
Index visible_entries(const paging::ForwardPlan& plan) {
  Index longest = 0;
  for (const paging::PlannedSequence& sequence : plan.sequences) longest = std::max(longest, sequence.total);
  return longest;
}

}  // namespace

Session::Session(std::string backend, ModelConfig config, backends::RunConfig run)
    : backend_(std::move(backend)), config_(std::move(config)), run_(std::move(run)) {
  if (run_.group == nullptr && run_.tensor_parallel * run_.pipeline_parallel > 1)
    throw request_error("config.unsupported", "load: a part of a model, without a group where its workers meet");
}

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
  std::unique_ptr<PagedCache> cache = make_cache(limits);
  if (run_.transports != nullptr) cache->connect(run_.transports->next());
  return cache;
}

PagedCache& Session::own(backends::KvCache& cache) const {
  auto* own = dynamic_cast<PagedCache*>(&cache);
  if (own == nullptr || own->shape() != kv_shape(config_, dtype())) {
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
  if (run_.is_first_stage()) enter(taps);
  for (Index index = 0; index < config_.num_layers; ++index) layer(index, taps);
  if (run_.is_last_stage()) final_norm(taps);
}

void Session::take_rows(const std::byte* x, Index count, backends::TapSink* taps) {
  if (run_.is_first_stage()) return set_rows(x, count);
  passed_.resize(float_bytes(count * config_.hidden_size));
  run_.group->receive(passed_);
  if (const TapId received{Tap::stage_in, 0}; taps != nullptr && taps->wants(received))
    taps->take(received, {DType::f32, {count, config_.hidden_size}, passed_.data()});
  set_rows(passed_.data(), count);
}

void Session::pass_rows_on(Index count) {
  passed_.resize(float_bytes(count * config_.hidden_size));
  get_rows(passed_.data(), count);
  run_.group->send_on(passed_);
}

void Session::run_pieces(PagedCache& cache, Index pieces, const std::byte* x, backends::TapSink* taps) {
  const auto rows = static_cast<Index>(cache.whole_plan().rows.size());
  if (pieces > 1) begin(cache);  // refuses all of them or none
  hidden_.resize(pieces > 1 && run_.is_last_stage() ? float_bytes(rows * config_.hidden_size) : 0);
  for (Index piece = 0; piece < pieces; ++piece) {
    const Index first = rows * piece / pieces, count = rows * (piece + 1) / pieces - first;
    const std::size_t offset = float_bytes(first * config_.hidden_size);
    cache.look_at(first, count);
    begin(cache);
    take_rows(x == nullptr ? nullptr : x + offset, count, taps);
    run_stack(taps);
    if (!run_.is_last_stage()) {
      pass_rows_on(count);
    } else if (pieces > 1) {
      get_rows(hidden_.data() + offset, count);
    }
  }
  cache.look_at(0, rows);
}

void Session::forward(Method method, const ConstTensorView& x, std::span<const std::int32_t> logit_positions,
                      backends::KvCache& cache, const TensorView& out, backends::TapSink* taps) {
  PagedCache& kv = own(cache);
  const auto rows = static_cast<Index>(kv.whole_plan().rows.size());
  require_rows(method, x, rows, config_.hidden_size);
  if (method == Method::batch_prefill) require_logit_positions("batch_prefill", logit_positions, rows);
  require_result(method, x, static_cast<Index>(logit_positions.size()), out);

  const Index wanted = run_.micro_batches == 0 ? run_.pipeline_parallel : run_.micro_batches;
  const Index pieces = std::clamp<Index>(wanted, 1, rows);
  if (taps != nullptr && (pieces > 1 || run_.first_layer > 0)) {
    PartTaps of_model(*taps, run_.first_layer, pieces, visible_entries(kv.whole_plan()));
    run_pieces(kv, pieces, x.data, &of_model);
    of_model.finish();
  } else {
    run_pieces(kv, pieces, x.data, taps);
  }
  if (!run_.is_last_stage() || out.data == nullptr) return;
  if (pieces > 1) set_rows(hidden_.data(), rows);
  if (backends::returns_hidden(method)) return get_rows(out.data, rows);
  if (method == Method::prefill) return write_logits({.first = rows - 1, .count = 1, .chosen = {}}, out.data, taps);
  if (method != Method::batch_prefill) return write_logits({.first = 0, .count = rows, .chosen = {}}, out.data, taps);
  const auto count = static_cast<Index>(logit_positions.size());
  write_logits({.first = 0, .count = count, .chosen = logit_positions}, out.data, taps);
}

void Session::require_here(const Part& part) const {
  const Index first = run_.first_layer, last = first + config_.num_layers - 1;
  if (part.kind == Part::Kind::layer && (part.layer < first || part.layer > last)) {
    throw request_error("input.shape",
                        fmt::format("run_part: layer {}: layers {}..{} are here", part.layer, first, last));
  }
  if (part.kind == Part::Kind::enter && !run_.is_first_stage())
    throw request_error("input.shape", "run_part: only the first stage has what stands before the layers");
  if (part.kind == Part::Kind::final_norm && !run_.is_last_stage())
    throw request_error("input.shape", "run_part: only the last stage has the final norm");
}

void Session::run_part(const Part& part, const ConstTensorView& x, backends::KvCache& cache, const TensorView& out,
                       backends::TapSink* taps) {
  PagedCache& kv = own(cache);
  const Shape shape = {static_cast<Index>(kv.whole_plan().rows.size()), config_.hidden_size};
  require_shape("run_part", x, shape);
  require_shape("run_part, result", out, shape);
  require_here(part);
  begin(kv);
  set_rows(x.data, shape[0]);
  std::optional<PartTaps> of_model;
  if (taps != nullptr && run_.first_layer > 0)
    taps = &of_model.emplace(*taps, run_.first_layer, 1, visible_entries(kv.whole_plan()));
  switch (part.kind) {
    case Part::Kind::enter: enter(taps); break;
    case Part::Kind::layer: layer(part.layer - run_.first_layer, taps); break;
    case Part::Kind::final_norm: final_norm(taps); break;
  }
  get_rows(out.data, shape[0]);
}

}  // namespace mlbench::stack
