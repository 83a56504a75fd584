// The example, of which one bit of one result flips once, after so many calls that ask for logits: a device with a bad
// cell. MLBENCH_TEST_FLIP_AFTER of the environment says how many; 250 unless told. Where MLBENCH_TEST_FLIP_ALWAYS is
// set, the bit flips in every call from then on.
#include <cstdint>
#include <cstdlib>

#include <mlbench/plugin.h>

extern "C" const mlbench_plugin* example_entry();
#undef mlbench_plugin_entry

namespace {

long flips_after() {
  constexpr long kCalls = 250;
  const char* text = std::getenv("MLBENCH_TEST_FLIP_AFTER");
  return text == nullptr ? kCalls : std::strtol(text, nullptr, 10);
}

bool gives_logits(std::int32_t method) { return method <= MLBENCH_BATCH_VERIFY; }

std::int32_t forward(mlbench_session* session, std::int32_t method, const mlbench_const_tensor* x,
                     const std::int32_t* positions, std::int64_t count, mlbench_cache* cache, const mlbench_tensor* out,
                     const mlbench_tap_sink* taps, mlbench_error* error) {
  static long calls = 0;
  const std::int32_t status = example_entry()->forward(session, method, x, positions, count, cache, out, taps, error);
  if (!gives_logits(method)) return status;
  const long before = calls++;
  const bool always = std::getenv("MLBENCH_TEST_FLIP_ALWAYS") != nullptr;
  constexpr std::int64_t kByte = 4 * 17 + 1;  // of float 17
  constexpr char kBit = 1 << 2;               // bit 10 of the float
  if (before == flips_after() || (always && before > flips_after())) static_cast<char*>(out->data)[kByte] ^= kBit;
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
