// A rank: a process that holds a part of a model and does what the program asks, until the program is gone.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backends/backend.h"
#include "backends/kv_transport.h"
#include "backends/parallel/rank_protocol.h"
#include "models/parts.h"

namespace mlbench::parallel {

// What a worker reaches others with: those of its instance, and where there are two its like in the other.
struct RankLinks {
  std::shared_ptr<backends::Group> group;
  std::shared_ptr<backends::KvTransports> transports;  // null where there is one instance
};

// What of a rank depends on how ranks reach each other.
struct RankOptions {
  Index rank = 0, size = 1;
  Meeting meeting;
  std::string version;
  std::function<std::unique_ptr<backends::Backend>(const std::string& name)> make_backend;
  // Of this rank as one of the run's workers; called by all of them together.
  std::function<RankLinks(const backends::RunConfig& run, Index rank, std::atomic<Doing>& doing)> links;
};

// Connects to the program and serves it. Returns when the program is done; where it vanishes while this waits for other
// ranks, the process ends. Throws ErrorKind::unavailable, parallel.unreachable, where the program cannot be reached.
void serve_as_rank(const RankOptions& options);

// Runs the process, and threads that it will start, on its share of the processors that it may use, where there is one
// for every rank of the machine: place.local of place.locals. False where there is not. What a launcher has bound to
// some of the machine's processors stays there.
bool pin_to_share(const RankPlace& place);

// The device that a rank computes on: the one named; where none is, the devices of the machine go round among its
// ranks. (The host executor is none of them.)
[[nodiscard]] std::string device_of_rank(const std::string& named, const std::vector<backends::DeviceInfo>& devices,
                                         const RankPlace& place);

}  // namespace mlbench::parallel
