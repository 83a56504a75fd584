#include "backends/cpu/session.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace mlbench::cpu {
namespace {

std::size_t float_bytes(Index count) { return static_cast<std::size_t>(count) * sizeof(float); }

}  // namespace

backends::Arithmetic arithmetic_of(DType dtype) {
  const bool rounds_inputs = dtype == DType::bf16 && Products::native(dtype);
  return {.weights = dtype, .kv_cache = dtype, .product_inputs = rounds_inputs ? DType::bf16 : DType::f32};
}

Session::Session(const Model& model, const backends::RunConfig& run, int threads)
    : stack::Session("cpu", model.config, run), arithmetic_(arithmetic_of(run.dtype)), decoder_(model, run, threads) {
  arithmetic_.shards = run.tensor_parallel;
}

std::unique_ptr<stack::PagedCache> Session::make_cache(const KvLimits& limits) {
  return std::make_unique<PagedKvCache>(stack::kv_shape(config(), dtype()), limits);
}

void Session::embed_rows(std::span<const std::int32_t> ids, std::byte* out) {
  const Index count = static_cast<Index>(ids.size()) * config().hidden_size;
  float* rows = x_.floats(count);
  decoder_.embed(ids, rows);
  std::memcpy(out, rows, float_bytes(count));
}

// All caches of a session's shape are its own.
void Session::begin(stack::PagedCache& cache) { decoder_.begin(dynamic_cast<PagedKvCache&>(cache)); }

void Session::set_rows(const std::byte* x, Index count) {
  rows_ = x_.floats(count * config().hidden_size);
  if (count > 0) std::memcpy(rows_, x, float_bytes(count * config().hidden_size));
}

void Session::get_rows(std::byte* out, Index count) {
  if (count > 0) std::memcpy(out, rows_, float_bytes(count * config().hidden_size));
}

void Session::enter(backends::TapSink* sink) {
  Taps taps(sink);
  decoder_.enter(rows_, taps);
}

void Session::layer(Index index, backends::TapSink* sink) {
  Taps taps(sink);
  decoder_.layer(index, rows_, taps);
}

void Session::final_norm(backends::TapSink* sink) {
  Taps taps(sink);
  decoder_.final_norm(rows_, taps);
}

void Session::write_logits(const stack::RowChoice& rows, std::byte* out, backends::TapSink* sink) {
  Taps taps(sink);
  const Index h = config().hidden_size;
  const float* hidden = rows_ + rows.first * h;
  if (!rows.chosen.empty()) {
    float* chosen = chosen_.floats(rows.count * h);
    for (Index i = 0; i < rows.count; ++i)
      std::copy_n(rows_ + rows.chosen[static_cast<std::size_t>(i)] * h, h, chosen + i * h);
    hidden = chosen;
  }
  if (reinterpret_cast<std::uintptr_t>(out) % alignof(float) == 0)
    return decoder_.logits(hidden, rows.count, reinterpret_cast<float*>(out), taps);
  const Index count = rows.count * config().vocab_size;
  float* logits = logits_.floats(count);
  decoder_.logits(hidden, rows.count, logits, taps);
  std::memcpy(out, logits, float_bytes(count));
}

}  // namespace mlbench::cpu
