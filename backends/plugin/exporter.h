// A Backend of ours as a table of functions: how a backend that is written against backends/backend.h becomes a shared
// library. The library consists of one line:
//
//   MLBENCH_EXPORT_BACKEND("cuda", mlbench::cuda::make_cuda_backend)
//
#pragma once

#include <memory>

#include "backends/backend.h"
#include "backends/plugin.h"

namespace mlbench::plugin {

// The functions that need no session, of this backend.
struct BackendCalls {
  static std::int32_t version(const backends::Backend& backend, char* text, std::uint64_t capacity,
                              mlbench_error* error);
  static std::int32_t devices(const backends::Backend& backend, mlbench_device* devices, std::uint64_t capacity,
                              std::uint64_t* count, mlbench_error* error);
  static std::int32_t why_none(const backends::Backend& backend, char* text, std::uint64_t capacity,
                               mlbench_error* error);
  static std::int32_t supports(const backends::Backend& backend, const mlbench_config* config, const mlbench_run* run,
                               mlbench_support* support, mlbench_error* error);
  static std::int32_t memory(const backends::Backend& backend, const mlbench_config* config, const mlbench_run* run,
                             const mlbench_kv_limits* limits, mlbench_memory* memory, mlbench_error* error);
  static std::int32_t load(backends::Backend& backend, const mlbench_model* model, const mlbench_run* run,
                           mlbench_session** session, mlbench_error* error);
  static std::int32_t measure_rates(backends::Backend& backend, const mlbench_run* run, double seconds,
                                    mlbench_rates* rates, mlbench_error* error);
};

// A table of the session's and the cache's functions; the others are null.
[[nodiscard]] mlbench_plugin session_table(const char* name);

template <std::unique_ptr<backends::Backend> (*kMake)()>
const mlbench_plugin* table_of(const char* name) {
  static const std::unique_ptr<backends::Backend> backend = kMake();
  static const mlbench_plugin table = [name] {
    mlbench_plugin out = session_table(name);
    out.version = [](auto... args) { return BackendCalls::version(*backend, args...); };
    out.devices = [](auto... args) { return BackendCalls::devices(*backend, args...); };
    out.why_none = [](auto... args) { return BackendCalls::why_none(*backend, args...); };
    out.supports = [](auto... args) { return BackendCalls::supports(*backend, args...); };
    out.memory = [](auto... args) { return BackendCalls::memory(*backend, args...); };
    out.load = [](auto... args) { return BackendCalls::load(*backend, args...); };
    out.measure_rates = [](auto... args) { return BackendCalls::measure_rates(*backend, args...); };
    return out;
  }();
  return &table;
}

}  // namespace mlbench::plugin

// NOLINTNEXTLINE(cppcoreguidelines-macro-usage): the entry has a name of C
#define MLBENCH_EXPORT_BACKEND(name, make) \
  extern "C" const mlbench_plugin* mlbench_plugin_entry() { return mlbench::plugin::table_of<make>(name); }
