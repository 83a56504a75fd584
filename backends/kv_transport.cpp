#include "backends/kv_transport.h"

#include <fmt/format.h>

#include "core/error.h"

namespace mlbench::backends {
namespace {

template <class Value>
void require_equal(const char* what, const Value& sender, const Value& receiver) {
  if (sender == receiver) return;
  throw request_error("parallel.unsupported",
                      fmt::format("disagg_mark_send: {} {} at the sender, {} at the receiver: they must be equal", what,
                                  sender, receiver));
}

}  // namespace

void require_alike(const KvEndpoint& sender, const KvEndpoint& receiver) {
  require_equal("tensor-parallel shards:", sender.split.tensor_parallel, receiver.split.tensor_parallel);
  require_equal("pipeline stages:", sender.split.pipeline_parallel, receiver.split.pipeline_parallel);
  require_equal("page size", sender.page_size, receiver.page_size);
  require_equal("type", name(sender.dtype), name(receiver.dtype));
  require_equal("layers:", sender.layers, receiver.layers);
  require_equal("key-value heads:", sender.heads, receiver.heads);
  require_equal("head width", sender.width, receiver.width);
}

}  // namespace mlbench::backends
