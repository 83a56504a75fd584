// The transport between caches of one process, all driven by one thread: what is sent lies in a queue until its
// receiver looks for it.
#pragma once

#include <memory>
#include <vector>

#include "backends/kv_transport.h"

namespace mlbench::backends {

class InProcessKv {
 public:
  InProcessKv();
  ~InProcessKv();
  InProcessKv(const InProcessKv&) = delete;
  InProcessKv& operator=(const InProcessKv&) = delete;

  // The workers of an instance get the next numbers. Returns the first: the instance's receiver_offset.
  Index add_instance(const Split& split = {});
  // The end of worker `number`, which there must be.
  [[nodiscard]] KvTransport& worker(Index number);

 private:
  class End;
  std::vector<std::unique_ptr<End>> ends_;  // by number
};

}  // namespace mlbench::backends
