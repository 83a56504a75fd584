#include "backends/backend.h"

#include <array>

namespace mlbench::backends {
namespace {

constexpr std::array<std::string_view, kNumMethods> kNames = {
    "prefill",
    "decode",
    "batch_prefill",
    "batch_decode",
    "batch_verify",
    "prefill_to_last_hidden_states",
    "decode_to_last_hidden_states",
    "batch_prefill_to_last_hidden_states",
    "batch_decode_to_last_hidden_states",
    "batch_verify_to_last_hidden_states",
};

}  // namespace

std::string_view name(Method method) { return kNames[static_cast<std::size_t>(method)]; }

std::optional<Method> parse_method(std::string_view text) {
  for (int i = 0; i < kNumMethods; ++i) {
    if (kNames[static_cast<std::size_t>(i)] == text) return static_cast<Method>(i);
  }
  return std::nullopt;
}

bool returns_hidden(Method method) { return method >= Method::prefill_to_last_hidden_states; }

}  // namespace mlbench::backends
