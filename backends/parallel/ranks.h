// Processes that hold the parts of models (mlbench-rank), started or given, and the program's way to them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backends/parallel/launch.h"
#include "backends/parallel/part_holders.h"

namespace mlbench::parallel {

struct RanksOptions {
  Index count = 1;             // to be started; of given ranks, all
  bool given = false;          // the program runs under a launcher, as its first rank
  std::string backend;         // by name
  std::string version;         // of the program
  double time_limit_s = 60.0;  // for one call of one rank; 0: none
};

// One of them, as it said of itself.
struct RankInfo {
  std::string host;
  pid_t pid = 0;
  Index local = 0, locals = 1;  // among those of its machine
  Index processors = 1;         // that it may run on: of the machine, or those that a launcher bound it to
  bool pinned = false;          // to processors of its own
};

class Ranks : public PartHolders {
 public:
  [[nodiscard]] virtual const std::vector<RankInfo>& ranks() const = 0;
  // How many of them mapped a part of a checkpoint's files themselves since this was last asked.
  [[nodiscard]] virtual Index take_mapped() = 0;
};

// Returns when all of them are there. Throws ErrorKind::unavailable, parallel.no_ranks, where they cannot be started or
// do not come; what a rank's backend says that cannot be made is thrown by load().
[[nodiscard]] std::unique_ptr<Ranks> start_ranks(const Launcher& launcher, const RanksOptions& options);

}  // namespace mlbench::parallel
