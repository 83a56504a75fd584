// Where the workers that hold the parts of one model meet while they compute (spec methods.md, sections 8 and 9). Given
// to a session by RunConfig::group; one for each worker, used by the thread that uses the session. Where another worker
// fails, calls throw Error, ErrorKind::internal with code backend.failed.
#pragma once

#include <cstddef>
#include <span>

namespace mlbench::backends {

class Group {
 public:
  virtual ~Group() = default;

  // In place, the sum of what all shards of this worker's stage have: each of them gets the same bits.
  virtual void all_reduce(std::span<float> values) = 0;
  // To the same shard of the next stage, and from that of the one before, in order. What was sent may be written again.
  virtual void send_on(std::span<const std::byte> bytes) = 0;
  virtual void receive(std::span<std::byte> bytes) = 0;
  // Whether rows that were sent have not gone yet. Where nothing moves by itself, moves them on: whoever has nothing
  // else to do asks until it is false.
  [[nodiscard]] virtual bool moving() { return false; }
};

}  // namespace mlbench::backends
