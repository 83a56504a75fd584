#include "backends/plugin/exporter.h"

#include <algorithm>
#include <optional>

#include <fmt/format.h>

#include "backends/plugin/c_group.h"
#include "backends/plugin/calls.h"

// The handles that plugin.h leaves to whoever implements it.
// NOLINTNEXTLINE(readability-identifier-naming): a name of C
struct mlbench_session {
  mlbench::Model model;
  bool is_part = false;
  std::unique_ptr<mlbench::backends::Session> session;
};
// NOLINTNEXTLINE(readability-identifier-naming): a name of C
struct mlbench_cache {
  std::unique_ptr<mlbench::backends::KvCache> cache;
};

namespace mlbench::plugin {
namespace {

using backends::Backend;
using backends::Support;

void put(const Support& support, mlbench_support* out) {
  out->ok = support.ok ? 1 : 0;
  copy_text(support.reason, out->reason, sizeof out->reason);
}

template <class T>
std::span<const T> list_of(const T* data, std::int64_t count) {
  if (count < 0) throw request_error("input.shape", fmt::format("a list of {}", count));
  return {data, static_cast<std::size_t>(count)};
}

class Sink final : public backends::TapSink {
 public:
  explicit Sink(const mlbench_tap_sink& to) : to_(to) {}
  [[nodiscard]] bool wants(TapId id) const override {
    return to_.wants(to_.context, static_cast<std::int32_t>(id.tap), id.layer) != 0;
  }
  void take(TapId id, const ConstTensorView& value) override {
    const mlbench_const_tensor c = to_c(value);
    to_.take(to_.context, static_cast<std::int32_t>(id.tap), id.layer, &c);
  }

 private:
  const mlbench_tap_sink& to_;
};

// ---- sessions ----

void destroy_session(mlbench_session* session) { delete session; }  // NOLINT(cppcoreguidelines-owning-memory)

std::int32_t arithmetic(mlbench_session* session, mlbench_arithmetic* out, mlbench_error* error) {
  return guarded(error, [&] {
    const backends::Arithmetic a = session->session->arithmetic();
    const auto number = [](DType type) { return static_cast<std::int32_t>(type); };
    const auto fused = [](const backends::Summation& sum) { return static_cast<std::int32_t>(sum.fused); };
    const auto truncates = [](const backends::Summation& sum) { return sum.truncates ? 1 : 0; };
    *out = {out->struct_size,           number(a.weights),        number(a.activations),      number(a.kv_cache),
            number(a.logits),           number(a.product_inputs), number(a.attention_inputs), number(a.accumulation),
            a.f32_rope_angles ? 1 : 0,  fused(a.product_sums),    truncates(a.product_sums),  fused(a.attention_sums),
            truncates(a.attention_sums)};
  });
}

std::int32_t gives(mlbench_session* session, std::int32_t tap, mlbench_support* out, mlbench_error* error) {
  return guarded(error, [&] {
    if (tap < 0 || tap >= MLBENCH_NUM_TAPS_OF_WORKERS) return put(Support::no("unknown here"), out);
    put(session->session->gives(static_cast<Tap>(tap)), out);
  });
}

std::int32_t isolates_layers(mlbench_session* session, mlbench_support* out, mlbench_error* error) {
  return guarded(error, [&] { put(session->session->isolates_layers(), out); });
}

std::int32_t create_cache(mlbench_session* session, const mlbench_kv_limits* limits, mlbench_cache** out,
                          mlbench_error* error) {
  return guarded(error, [&] {
    auto cache = session->session->create_paged_kv_cache(limits_of(*limits));
    *out = std::make_unique<mlbench_cache>(mlbench_cache{std::move(cache)}).release();
  });
}

std::int32_t embed(mlbench_session* session, const std::int32_t* ids, std::int64_t count, const mlbench_tensor* out,
                   mlbench_error* error) {
  return guarded(error, [&] { session->session->embed(list_of(ids, count), view_of(*out)); });
}

std::int32_t get_logits(mlbench_session* session, const mlbench_const_tensor* hidden, const mlbench_tensor* out,
                        mlbench_error* error) {
  return guarded(error, [&] { session->session->get_logits(view_of(*hidden), view_of(*out)); });
}

std::int32_t batch_select(mlbench_session* session, const mlbench_const_tensor* hidden, const std::int32_t* positions,
                          std::int64_t count, const mlbench_tensor* out, mlbench_error* error) {
  return guarded(error, [&] {
    session->session->batch_select_last_hidden_states(view_of(*hidden), list_of(positions, count), view_of(*out));
  });
}

// Calls run(sink), null where there is none.
template <class Run>
void with_sink(const mlbench_tap_sink* taps, Run run) {
  if (taps == nullptr) return run(nullptr);
  Sink sink(*taps);
  run(&sink);
}

std::int32_t forward(mlbench_session* session, std::int32_t method, const mlbench_const_tensor* x,
                     const std::int32_t* positions, std::int64_t count, mlbench_cache* cache, const mlbench_tensor* out,
                     const mlbench_tap_sink* taps, mlbench_error* error) {
  return guarded(error, [&] {
    if (method < 0 || method >= backends::kNumMethods)
      throw request_error("input.shape", fmt::format("method {}: not known here", method));
    with_sink(taps, [&](backends::TapSink* sink) {
      const bool is_part = session->is_part;
      session->session->forward(static_cast<backends::Method>(method), is_part ? form_of(*x) : view_of(*x),
                                list_of(positions, count), *cache->cache, is_part ? form_of(*out) : view_of(*out),
                                sink);
    });
  });
}

std::int32_t run_part(mlbench_session* session, std::int32_t part, std::int64_t layer, const mlbench_const_tensor* x,
                      mlbench_cache* cache, const mlbench_tensor* out, const mlbench_tap_sink* taps,
                      mlbench_error* error) {
  return guarded(error, [&] {
    if (part < MLBENCH_PART_ENTER || part > MLBENCH_PART_FINAL_NORM)
      throw request_error("input.shape", fmt::format("run_part: part {}: not known here", part));
    with_sink(taps, [&](backends::TapSink* sink) {
      session->session->run_part({static_cast<backends::Part::Kind>(part), layer}, view_of(*x), *cache->cache,
                                 view_of(*out), sink);
    });
  });
}

std::int32_t synchronize(mlbench_session* session, mlbench_error* error) {
  return guarded(error, [&] { session->session->synchronize(); });
}

// ---- caches ----

void destroy_cache(mlbench_cache* cache) { delete cache; }  // NOLINT(cppcoreguidelines-owning-memory)

std::int32_t add_sequence(mlbench_cache* cache, std::int64_t id, mlbench_error* error) {
  return guarded(error, [&] { cache->cache->add_sequence(id); });
}
std::int32_t remove_sequence(mlbench_cache* cache, std::int64_t id, mlbench_error* error) {
  return guarded(error, [&] { cache->cache->remove_sequence(id); });
}
std::int32_t fork_sequence(mlbench_cache* cache, std::int64_t parent, std::int64_t child, std::int64_t pos,
                           mlbench_error* error) {
  return guarded(error, [&] { cache->cache->fork_sequence(parent, child, pos); });
}
std::int32_t popn(mlbench_cache* cache, std::int64_t id, std::int64_t count, mlbench_error* error) {
  return guarded(error, [&] { cache->cache->popn(id, count); });
}
std::int32_t enable_sliding_window(mlbench_cache* cache, std::int64_t id, std::int64_t window, std::int64_t sink,
                                   mlbench_error* error) {
  return guarded(error, [&] { cache->cache->enable_sliding_window_for_seq(id, window, sink); });
}

std::int32_t begin_forward(mlbench_cache* cache, const std::int64_t* ids, std::int64_t num_ids,
                           const std::int64_t* lengths, std::int64_t num_lengths, const std::int64_t* parents,
                           std::int64_t num_parents, mlbench_error* error) {
  return guarded(error, [&] {
    std::optional<std::vector<Index>> tree;
    if (parents != nullptr) {
      const auto given = list_of(parents, num_parents);
      tree.emplace(given.begin(), given.end());
    }
    cache->cache->begin_forward(list_of(ids, num_ids), list_of(lengths, num_lengths), tree);
  });
}
std::int32_t end_forward(mlbench_cache* cache, mlbench_error* error) {
  return guarded(error, [&] { cache->cache->end_forward(); });
}
std::int32_t commit_tree(mlbench_cache* cache, const std::int64_t* ids, std::int64_t num_ids,
                         const std::int64_t* leaves, std::int64_t num_leaves, mlbench_error* error) {
  return guarded(error, [&] {
    cache->cache->commit_accepted_token_tree_nodes(list_of(ids, num_ids), list_of(leaves, num_leaves));
  });
}
std::int32_t get_query_positions(mlbench_cache* cache, std::int32_t* out, std::int64_t capacity, std::int64_t* count,
                                 mlbench_error* error) {
  return guarded(error, [&] {
    const std::vector<std::int32_t> positions = cache->cache->get_query_positions();
    *count = static_cast<std::int64_t>(positions.size());
    std::copy_n(positions.begin(), std::min(*count, capacity), out);
  });
}
std::int32_t clear(mlbench_cache* cache, mlbench_error* error) {
  return guarded(error, [&] { cache->cache->clear(); });
}
std::int32_t empty(mlbench_cache* cache, std::int32_t* out, mlbench_error* error) {
  return guarded(error, [&] { *out = cache->cache->empty() ? 1 : 0; });
}
std::int32_t num_available_pages(mlbench_cache* cache, std::int64_t* out, mlbench_error* error) {
  return guarded(error, [&] { *out = cache->cache->num_available_pages(); });
}
std::int32_t total_sequence_length(mlbench_cache* cache, std::int64_t* out, mlbench_error* error) {
  return guarded(error, [&] { *out = cache->cache->total_sequence_length(); });
}
std::int32_t sequence_length(mlbench_cache* cache, std::int64_t id, std::int64_t* out, mlbench_error* error) {
  return guarded(error, [&] { *out = cache->cache->sequence_length(id); });
}
std::int32_t debug_get_kv(mlbench_cache* cache, std::int64_t id, std::int64_t begin, std::int64_t end,
                          const mlbench_tensor* keys, const mlbench_tensor* values, mlbench_error* error) {
  return guarded(error, [&] { cache->cache->debug_get_kv(id, begin, end, view_of(*keys), view_of(*values)); });
}
std::int32_t debug_set_kv(mlbench_cache* cache, std::int64_t id, std::int64_t begin, const mlbench_const_tensor* keys,
                          const mlbench_const_tensor* values, mlbench_error* error) {
  return guarded(error, [&] { cache->cache->debug_set_kv(id, begin, view_of(*keys), view_of(*values)); });
}

}  // namespace

std::int32_t BackendCalls::version(const Backend& backend, char* text, std::uint64_t capacity, mlbench_error* error) {
  return guarded(error, [&] { copy_text(backend.version(), text, capacity); });
}

std::int32_t BackendCalls::why_none(const Backend& backend, char* text, std::uint64_t capacity, mlbench_error* error) {
  return guarded(error, [&] { copy_text(backend.why_none(), text, capacity); });
}

std::int32_t BackendCalls::devices(const Backend& backend, mlbench_device* devices, std::uint64_t capacity,
                                   std::uint64_t* count, mlbench_error* error) {
  return guarded(error, [&] {
    const std::vector<backends::DeviceInfo> found = backend.devices();
    *count = found.size();
    for (std::size_t i = 0; i < std::min<std::uint64_t>(found.size(), capacity); ++i) {
      copy_text(found[i].id, devices[i].id, sizeof devices[i].id);
      copy_text(found[i].description, devices[i].description, sizeof devices[i].description);
      devices[i].memory_bytes = found[i].memory_bytes;
    }
  });
}

std::int32_t BackendCalls::supports(const Backend& backend, const mlbench_config* config, const mlbench_run* run,
                                    mlbench_support* support, mlbench_error* error) {
  return guarded(error, [&] { put(backend.supports(config_of(*config), run_of(*run)), support); });
}

std::int32_t BackendCalls::memory(const Backend& backend, const mlbench_config* config, const mlbench_run* run,
                                  const mlbench_kv_limits* limits, mlbench_memory* memory, mlbench_error* error) {
  return guarded(error, [&] {
    const backends::MemoryEstimate estimate = backend.memory(config_of(*config), run_of(*run), limits_of(*limits));
    memory->weights_bytes = estimate.weights_bytes;
    memory->cache_bytes = estimate.cache_bytes;
    memory->scratch_bytes = estimate.scratch_bytes;
  });
}

std::int32_t BackendCalls::load(Backend& backend, const mlbench_model* model, const mlbench_run* run,
                                mlbench_session** session, mlbench_error* error) {
  return guarded(error, [&] {
    auto out = std::make_unique<mlbench_session>();
    out->model = model_of(*model);
    backends::RunConfig under = run_of(*run);
    out->is_part = under.tensor_parallel > 1 || under.pipeline_parallel > 1;
    if (const mlbench_group* group = group_in(*run)) under.group = group_of(*group);
    if (out->is_part && under.group == nullptr)
      throw request_error("config.unsupported", "load: a part of a model, without a group where its workers meet");
    out->session = backend.load(out->model, under);
    *session = out.release();
  });
}

std::int32_t BackendCalls::measure_rates(Backend& backend, const mlbench_run* run, double seconds, mlbench_rates* rates,
                                         mlbench_error* error) {
  return guarded(error, [&] {
    const auto measured = backend.measure_rates(run_of(*run), seconds).value_or(backends::DeviceRates{});
    rates->read_bytes_per_second = measured.read_bytes_per_second;
    rates->flops_per_second = measured.flops_per_second;
  });
}

mlbench_plugin session_table(const char* name) {
  mlbench_plugin out{};
  out.abi_version = MLBENCH_PLUGIN_ABI_VERSION;
  out.struct_size = sizeof(mlbench_plugin);
  out.name = name;
  out.destroy_session = destroy_session;
  out.arithmetic = arithmetic;
  out.gives = gives;
  out.isolates_layers = isolates_layers;
  out.create_cache = create_cache;
  out.embed = embed;
  out.get_logits = get_logits;
  out.batch_select_last_hidden_states = batch_select;
  out.forward = forward;
  out.run_part = run_part;
  out.synchronize = synchronize;
  out.destroy_cache = destroy_cache;
  out.add_sequence = add_sequence;
  out.remove_sequence = remove_sequence;
  out.fork_sequence = fork_sequence;
  out.popn = popn;
  out.enable_sliding_window = enable_sliding_window;
  out.begin_forward = begin_forward;
  out.end_forward = end_forward;
  out.commit_tree = commit_tree;
  out.get_query_positions = get_query_positions;
  out.clear = clear;
  out.empty = empty;
  out.num_available_pages = num_available_pages;
  out.total_sequence_length = total_sequence_length;
  out.sequence_length = sequence_length;
  out.debug_get_kv = debug_get_kv;
  out.debug_set_kv = debug_set_kv;
  return out;
}

}  // namespace mlbench::plugin
