// The table of functions that mlbench calls: checks what comes in, and lets no exception out.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <memory>

#include <mlbench/plugin.h>

#include "cache.h"
#include "llama.h"
#include "request_error.h"

// The two handles are ours to define.
struct mlbench_session {
  example::Llama model;
  std::int32_t stored;
};
struct mlbench_cache {
  example::Cache cache;
};

namespace {

using example::Cache;
using example::Floats;
using example::RequestError;

// ---- errors ----

std::int32_t fail(mlbench_error* error, std::int32_t status, const char* code, const char* message) {
  std::snprintf(error->code, sizeof error->code, "%s", code);
  std::snprintf(error->message, sizeof error->message, "%s", message);
  return status;
}

template <class Do>
std::int32_t guarded(mlbench_error* error, Do run) {
  try {
    run();
    return MLBENCH_OK;
  } catch (const RequestError& wrong) {
    return fail(error, MLBENCH_REQUEST, wrong.code(), wrong.what());
  } catch (const std::exception& failure) {
    return fail(error, MLBENCH_FAILED, "backend.failed", failure.what());
  }
}

std::int32_t no(mlbench_support* support, const std::string& reason) {
  support->ok = 0;
  std::snprintf(support->reason, sizeof support->reason, "%s", reason.c_str());
  return MLBENCH_OK;
}

// ---- tensors ----

template <class Tensor>
std::int64_t elements(const Tensor& tensor) {
  std::int64_t count = 1;
  for (std::int32_t i = 0; i < tensor.rank; ++i) count *= tensor.shape[i];
  return count;
}

// The first `rows` rows of an input whose last axis must be `width`.
Floats rows_of(const mlbench_const_tensor& tensor, std::int64_t rows, std::int64_t width) {
  if (tensor.dtype != MLBENCH_F32 || tensor.rank < 1 || tensor.shape[tensor.rank - 1] != width ||
      elements(tensor) < rows * width)
    throw RequestError("input.shape",
                       "an input must be f32, " + std::to_string(rows) + " rows of " + std::to_string(width));
  Floats out(static_cast<std::size_t>(rows * width));
  std::memcpy(out.data(), tensor.data, out.size() * sizeof(float));
  return out;
}

// Rows behind those of `values` are padding and stay as they are.
void write(const Floats& values, const mlbench_tensor& out) {
  if (out.dtype != MLBENCH_F32 || elements(out) < static_cast<std::int64_t>(values.size()))
    throw RequestError("input.shape", "a result is f32 and has more values than there is room for");
  std::memcpy(out.data, values.data(), values.size() * sizeof(float));
}

Floats chosen(const Floats& rows, std::int64_t width, const std::int32_t* positions, std::int64_t count) {
  Floats out;
  for (std::int64_t i = 0; i < count; ++i) {
    if (positions[i] < 0 || (positions[i] + 1) * width > static_cast<std::int64_t>(rows.size()))
      throw RequestError("input.logit_position", "position " + std::to_string(positions[i]) + " is no row");
    const auto from = rows.begin() + positions[i] * width;
    out.insert(out.end(), from, from + width);
  }
  return out;
}

// ---- the backend ----

std::int32_t version(char* text, std::uint64_t capacity, mlbench_error*) {
  std::snprintf(text, capacity, "plain C++");
  return MLBENCH_OK;
}

std::int32_t devices(mlbench_device* found, std::uint64_t capacity, std::uint64_t* count, mlbench_error*) {
  *count = 1;
  if (capacity < 1) return MLBENCH_OK;
  found[0] = {};
  std::snprintf(found[0].id, sizeof found[0].id, "cpu");
  std::snprintf(found[0].description, sizeof found[0].description, "one thread");
  return MLBENCH_OK;
}

std::int32_t why_none(char* text, std::uint64_t capacity, mlbench_error*) {
  std::snprintf(text, capacity, "%s", "");
  return MLBENCH_OK;
}

std::int32_t supports(const mlbench_config* config, const mlbench_run* run, mlbench_support* support, mlbench_error*) {
  if (config->architecture != MLBENCH_LLAMA) return no(support, "another architecture: only llama is implemented");
  if (config->activation != MLBENCH_SILU) return no(support, "activation: only silu is implemented");
  if (config->attention_bias != 0 || config->mlp_bias != 0) return no(support, "biases: this example has none");
  if (config->rope->kind != MLBENCH_ROPE_DEFAULT && config->rope->kind != MLBENCH_ROPE_LLAMA3)
    return no(support, "RoPE scaling: only default and llama3 are implemented");
  if (run->dtype != MLBENCH_F32 && run->dtype != MLBENCH_BF16) return no(support, "weights are kept as f32 or bf16");
  if (run->tensor_parallel != 1 || run->pipeline_parallel != 1) return no(support, "only whole models are held");
  if (run->device[0] != '\0' && std::strcmp(run->device, "cpu") != 0) return no(support, "the one device is cpu");
  return MLBENCH_OK;
}

std::int32_t memory(const mlbench_config* c, const mlbench_run* run, const mlbench_kv_limits* limits,
                    mlbench_memory* memory, mlbench_error*) {
  const double width = static_cast<double>(c->num_heads + c->num_kv_heads) * static_cast<double>(c->head_dim);
  const auto h = static_cast<double>(c->hidden_size), mlp = static_cast<double>(c->intermediate_size);
  const auto layers = static_cast<double>(c->num_layers), vocabulary = static_cast<double>(c->vocab_size);
  const double parameters = layers * h * (2 * width + 3 * mlp + 2) + (2 * vocabulary + 1) * h;
  const double entry = 2 * layers * static_cast<double>(c->num_kv_heads * c->head_dim) * sizeof(float);
  memory->weights_bytes = static_cast<std::uint64_t>(parameters * (run->dtype == MLBENCH_F32 ? 4 : 2));
  memory->cache_bytes = static_cast<std::uint64_t>(entry * static_cast<double>(limits->max_total_seq_len));
  memory->scratch_bytes = static_cast<std::uint64_t>((6 * h + 4 * width + 4 * mlp + vocabulary) * sizeof(float) *
                                                     static_cast<double>(limits->prefill_chunk_size));
  return MLBENCH_OK;
}

std::int32_t load(const mlbench_model* model, const mlbench_run* run, mlbench_session** out, mlbench_error* error) {
  return guarded(error, [&] { *out = new mlbench_session{example::Llama(*model, run->dtype), run->dtype}; });
}

// ---- sessions ----

void destroy_session(mlbench_session* session) { delete session; }

// Weights are widened to float32 before they are multiplied; everything else is float32 throughout.
std::int32_t arithmetic(mlbench_session* session, mlbench_arithmetic* out, mlbench_error*) {
  constexpr std::int32_t f32 = MLBENCH_F32;
  *out = {out->struct_size, session->stored, f32, f32, f32, f32, f32, f32, 0, 1, 0, 1, 0};
  return MLBENCH_OK;
}

std::int32_t gives(mlbench_session*, std::int32_t tap, mlbench_support* support, mlbench_error*) {
  const bool others = tap == MLBENCH_TAP_EMBED_TOKEN || tap == MLBENCH_TAP_EMBED_POSITION ||
                      tap == MLBENCH_TAP_QKV_PROJ || tap == MLBENCH_TAP_Q_NORM || tap == MLBENCH_TAP_K_NORM;
  return others || tap >= MLBENCH_NUM_TAPS ? no(support, "llama has no such tap") : MLBENCH_OK;
}

std::int32_t isolates_layers(mlbench_session*, mlbench_support*, mlbench_error*) { return MLBENCH_OK; }

std::int32_t create_cache(mlbench_session* session, const mlbench_kv_limits* limits, mlbench_cache** out,
                          mlbench_error* error) {
  return guarded(error, [&] { *out = new mlbench_cache{Cache(session->model.cache_shape(), *limits)}; });
}

std::int32_t embed(mlbench_session* session, const std::int32_t* ids, std::int64_t count, const mlbench_tensor* out,
                   mlbench_error* error) {
  return guarded(error, [&] { write(session->model.embed(ids, count), *out); });
}

std::int32_t get_logits(mlbench_session* session, const mlbench_const_tensor* hidden, const mlbench_tensor* out,
                        mlbench_error* error) {
  return guarded(error, [&] {
    const std::int64_t h = session->model.config().hidden_size;
    write(session->model.logits(rows_of(*hidden, elements(*hidden) / h, h), nullptr), *out);
  });
}

std::int32_t batch_select(mlbench_session* session, const mlbench_const_tensor* hidden, const std::int32_t* positions,
                          std::int64_t count, const mlbench_tensor* out, mlbench_error* error) {
  return guarded(error, [&] {
    const std::int64_t h = session->model.config().hidden_size;
    write(chosen(rows_of(*hidden, elements(*hidden) / h, h), h, positions, count), *out);
  });
}

std::int32_t forward(mlbench_session* session, std::int32_t method, const mlbench_const_tensor* x,
                     const std::int32_t* positions, std::int64_t count, mlbench_cache* cache, const mlbench_tensor* out,
                     const mlbench_tap_sink* taps, mlbench_error* error) {
  return guarded(error, [&] {
    const example::Llama& model = session->model;
    const std::int64_t h = model.config().hidden_size;
    const auto n = static_cast<std::int64_t>(cache->cache.rows().size());
    Floats rows = model.enter(rows_of(*x, n, h), cache->cache, taps);
    for (std::int64_t l = 0; l < model.config().num_layers; ++l)
      rows = model.layer(l, std::move(rows), cache->cache, taps);
    rows = model.final_norm(rows, taps);
    if (method >= MLBENCH_PREFILL_TO_LAST_HIDDEN_STATES) return write(rows, *out);
    const auto last = static_cast<std::int32_t>(n - 1);
    if (method == MLBENCH_PREFILL) rows = chosen(rows, h, &last, 1);
    if (method == MLBENCH_BATCH_PREFILL) rows = chosen(rows, h, positions, count);
    write(model.logits(rows, taps), *out);
  });
}

std::int32_t run_part(mlbench_session* session, std::int32_t part, std::int64_t layer, const mlbench_const_tensor* x,
                      mlbench_cache* cache, const mlbench_tensor* out, const mlbench_tap_sink* taps,
                      mlbench_error* error) {
  return guarded(error, [&] {
    const example::Llama& model = session->model;
    const auto n = static_cast<std::int64_t>(cache->cache.rows().size());
    Floats rows = rows_of(*x, n, model.config().hidden_size);
    if (part == MLBENCH_PART_ENTER) return write(model.enter(std::move(rows), cache->cache, taps), *out);
    if (part == MLBENCH_PART_FINAL_NORM) return write(model.final_norm(rows, taps), *out);
    if (layer < 0 || layer >= model.config().num_layers) throw RequestError("input.shape", "there is no such layer");
    write(model.layer(layer, std::move(rows), cache->cache, taps), *out);
  });
}

// ---- caches ----

void destroy_cache(mlbench_cache* cache) { delete cache; }

std::int32_t add_sequence(mlbench_cache* cache, std::int64_t id, mlbench_error* error) {
  return guarded(error, [&] { cache->cache.add_sequence(id); });
}
std::int32_t remove_sequence(mlbench_cache* cache, std::int64_t id, mlbench_error* error) {
  return guarded(error, [&] { cache->cache.remove_sequence(id); });
}
std::int32_t fork_sequence(mlbench_cache* cache, std::int64_t parent, std::int64_t child, std::int64_t pos,
                           mlbench_error* error) {
  return guarded(error, [&] { cache->cache.fork_sequence(parent, child, pos); });
}
std::int32_t popn(mlbench_cache* cache, std::int64_t id, std::int64_t count, mlbench_error* error) {
  return guarded(error, [&] { cache->cache.popn(id, count); });
}
std::int32_t enable_sliding_window(mlbench_cache*, std::int64_t, std::int64_t, std::int64_t, mlbench_error* error) {
  return fail(error, MLBENCH_REQUEST, "kv.unsupported", "sliding windows: this example has none");
}

Cache::Numbers list(const std::int64_t* numbers, std::int64_t count) {
  return {numbers, static_cast<std::size_t>(count)};
}

std::int32_t begin_forward(mlbench_cache* cache, const std::int64_t* ids, std::int64_t num_ids,
                           const std::int64_t* lengths, std::int64_t num_lengths, const std::int64_t* parents,
                           std::int64_t num_parents, mlbench_error* error) {
  return guarded(error, [&] {
    std::optional<Cache::Numbers> tree;
    if (parents != nullptr) tree = list(parents, num_parents);
    cache->cache.begin_forward(list(ids, num_ids), list(lengths, num_lengths), tree);
  });
}
std::int32_t end_forward(mlbench_cache* cache, mlbench_error* error) {
  return guarded(error, [&] { cache->cache.end_forward(); });
}
std::int32_t commit_tree(mlbench_cache* cache, const std::int64_t* ids, std::int64_t num_ids,
                         const std::int64_t* leaves, std::int64_t num_leaves, mlbench_error* error) {
  return guarded(error, [&] { cache->cache.commit_tree(list(ids, num_ids), list(leaves, num_leaves)); });
}
std::int32_t get_query_positions(mlbench_cache* cache, std::int32_t* out, std::int64_t capacity, std::int64_t* count,
                                 mlbench_error* error) {
  return guarded(error, [&] {
    *count = 0;
    for (const example::Row& row : cache->cache.rows()) {
      if (*count < capacity) out[*count] = static_cast<std::int32_t>(row.position);
      ++*count;
    }
  });
}
std::int32_t clear(mlbench_cache* cache, mlbench_error* error) {
  return guarded(error, [&] { cache->cache.clear(); });
}
std::int32_t empty(mlbench_cache* cache, std::int32_t* out, mlbench_error*) {
  *out = cache->cache.empty() ? 1 : 0;
  return MLBENCH_OK;
}
std::int32_t num_available_pages(mlbench_cache* cache, std::int64_t* out, mlbench_error*) {
  *out = cache->cache.num_available_pages();
  return MLBENCH_OK;
}
std::int32_t total_sequence_length(mlbench_cache* cache, std::int64_t* out, mlbench_error*) {
  *out = cache->cache.total_sequence_length();
  return MLBENCH_OK;
}
std::int32_t sequence_length(mlbench_cache* cache, std::int64_t id, std::int64_t* out, mlbench_error* error) {
  return guarded(error, [&] { *out = cache->cache.sequence_length(id); });
}

// Values of [L, count, Hkv, d].
std::size_t entry_values(const Cache& cache, std::int64_t count) {
  return static_cast<std::size_t>(cache.shape().layers * cache.shape().width * std::max<std::int64_t>(count, 0));
}
std::int32_t debug_get_kv(mlbench_cache* cache, std::int64_t id, std::int64_t begin, std::int64_t end,
                          const mlbench_tensor* keys, const mlbench_tensor* values, mlbench_error* error) {
  return guarded(error, [&] {
    Floats k(entry_values(cache->cache, end - begin)), v = k;
    cache->cache.get_entries(id, begin, end, k.data(), v.data());
    write(k, *keys);
    write(v, *values);
  });
}
std::int32_t debug_set_kv(mlbench_cache* cache, std::int64_t id, std::int64_t begin, const mlbench_const_tensor* keys,
                          const mlbench_const_tensor* values, mlbench_error* error) {
  return guarded(error, [&] {
    const std::int64_t count = keys->rank == 4 ? keys->shape[1] : 0, d = keys->rank == 4 ? keys->shape[3] : 0;
    const auto size = static_cast<std::int64_t>(entry_values(cache->cache, count));
    if (d < 1 || elements(*keys) != size) throw RequestError("input.shape", "keys are [L, n, Hkv, d]");
    const Floats k = rows_of(*keys, size / d, d), v = rows_of(*values, size / d, d);
    cache->cache.set_entries(id, begin, begin + count, k.data(), v.data());
  });
}

constexpr mlbench_plugin kTable = {
    .abi_version = MLBENCH_PLUGIN_ABI_VERSION,
    .struct_size = sizeof(mlbench_plugin),
    .name = "example",
    .version = version,
    .devices = devices,
    .why_none = why_none,
    .supports = supports,
    .memory = memory,
    .load = load,
    .destroy_session = destroy_session,
    .arithmetic = arithmetic,
    .gives = gives,
    .isolates_layers = isolates_layers,
    .create_cache = create_cache,
    .embed = embed,
    .get_logits = get_logits,
    .batch_select_last_hidden_states = batch_select,
    .forward = forward,
    .run_part = run_part,
    .synchronize = nullptr,  // every call is done when it returns
    .destroy_cache = destroy_cache,
    .add_sequence = add_sequence,
    .remove_sequence = remove_sequence,
    .fork_sequence = fork_sequence,
    .popn = popn,
    .enable_sliding_window = enable_sliding_window,
    .begin_forward = begin_forward,
    .end_forward = end_forward,
    .commit_tree = commit_tree,
    .get_query_positions = get_query_positions,
    .clear = clear,
    .empty = empty,
    .num_available_pages = num_available_pages,
    .total_sequence_length = total_sequence_length,
    .sequence_length = sequence_length,
    .debug_get_kv = debug_get_kv,
    .debug_set_kv = debug_set_kv,
    .measure_rates = nullptr,  // not offered
};

}  // namespace

const mlbench_plugin* mlbench_plugin_entry(void) { return &kTable; }
