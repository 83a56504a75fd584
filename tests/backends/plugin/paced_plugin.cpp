// The example, of which every forward lasts a given time: it computes, then sleeps until the time is over. How long is
// compiled in, so that two libraries differ in nothing else.
#include <chrono>
#include <cstdint>
#include <thread>

#include <mlbench/plugin.h>

extern "C" const mlbench_plugin* example_entry();
#undef mlbench_plugin_entry

namespace {

std::int32_t forward(mlbench_session* session, std::int32_t method, const mlbench_const_tensor* x,
                     const std::int32_t* positions, std::int64_t count, mlbench_cache* cache, const mlbench_tensor* out,
                     const mlbench_tap_sink* taps, mlbench_error* error) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(PACE_MICROSECONDS);
  const std::int32_t status = example_entry()->forward(session, method, x, positions, count, cache, out, taps, error);
  std::this_thread::sleep_until(end);
  return status;
}

}  // namespace

extern "C" MLBENCH_PLUGIN_EXPORT const mlbench_plugin* mlbench_plugin_entry() {
  static const mlbench_plugin table = [] {
    mlbench_plugin out = *example_entry();
    out.forward = forward;
    return out;
  }();
  return &table;
}
