// Sums over the shards of a stage, of rows on their devices: by the vendor's library where every shard has a device of
// its own, else through the host and the group.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backends/gpu/runtime.h"

namespace mlbench::gpu {

class Collectives {
 public:
  virtual ~Collectives() = default;
  // In place, the sum of what all shards have: each of them gets the same bits. Queued, or done when this returns.
  virtual void all_reduce(Stream& stream, float* values, Index count) = 0;
  // Whether all_reduce() may be recorded.
  [[nodiscard]] virtual bool can_be_recorded() const = 0;
};

// A vendor's library that sums on devices, for one of them.
class CollectiveLibrary {
 public:
  // What one shard makes and all of them need.
  using Meeting = std::array<std::byte, 128>;

  virtual ~CollectiveLibrary() = default;
  [[nodiscard]] virtual std::string name() const = 0;    // with its version: "NCCL 2.28.9"
  [[nodiscard]] virtual std::string device() const = 0;  // which of which machine, the same text nowhere else
  [[nodiscard]] virtual Meeting new_meeting() = 0;
  // Asked by all shards together.
  [[nodiscard]] virtual std::unique_ptr<Collectives> join(const Meeting& meeting, Index shards, Index shard) = 0;
};

// Copies to the host, where the group sums, and back.
[[nodiscard]] std::unique_ptr<Collectives> make_host_collectives(Runtime& runtime,
                                                                 std::shared_ptr<backends::Group> group);

// Of the shards of run.stage, which all ask for theirs together: by their libraries where all have the same and no two
// share a device, which it would refuse; else through the host.
[[nodiscard]] std::unique_ptr<Collectives> make_collectives(Runtime& runtime, CollectiveLibrary* library,
                                                            const backends::RunConfig& run);

// What each shard has, of the same size, of all of them, in order.
[[nodiscard]] std::vector<std::byte> gathered(const backends::RunConfig& run, std::span<const std::byte> own);

}  // namespace mlbench::gpu
