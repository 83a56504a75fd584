#include "backends/backend.h"

#include <array>

#include <fmt/format.h>

#include "core/error.h"

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

Error no_transfer(const char* operation) {
  return request_error("kv.unsupported",
                       fmt::format("{}: this backend's cache neither sends entries nor receives them", operation));
}

}  // namespace

void KvCache::connect(KvTransport& /*transport*/) { throw no_transfer("connect"); }
SlotRuns KvCache::disagg_prepare_recv(SeqId /*id*/, Index /*count*/) { throw no_transfer("disagg_prepare_recv"); }
void KvCache::disagg_mark_send(SeqId /*id*/, Index /*begin*/, const SlotRuns& /*slots*/, Index /*receiver_offset*/) {
  throw no_transfer("disagg_mark_send");
}

std::string_view name(Method method) { return kNames[static_cast<std::size_t>(method)]; }

std::optional<Method> parse_method(std::string_view text) {
  for (int i = 0; i < kNumMethods; ++i) {
    if (kNames[static_cast<std::size_t>(i)] == text) return static_cast<Method>(i);
  }
  return std::nullopt;
}

bool returns_hidden(Method method) { return method >= Method::prefill_to_last_hidden_states; }

}  // namespace mlbench::backends
