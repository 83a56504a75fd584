// What workers that are MPI processes reach each other with: worker w of a run, numbered over its replicas and both
// instances where it is disaggregated, is rank w of the world.
#pragma once

#include <atomic>
#include <memory>

#include "backends/parallel/rank.h"
#include "backends/parallel/rank_protocol.h"
#include "models/parts.h"

namespace mlbench::parallel {

// The calling process's part in MPI, from its start to its end. One in a process.
class MpiWorld {
 public:
  MpiWorld();
  ~MpiWorld();
  MpiWorld(const MpiWorld&) = delete;
  MpiWorld& operator=(const MpiWorld&) = delete;

  [[nodiscard]] Index rank() const { return rank_; }
  [[nodiscard]] Index size() const { return size_; }
  // What rank 0 has, for everybody.
  [[nodiscard]] std::string told_by_first(std::string text) const;
  // Ends the process without waiting for others.
  [[noreturn]] static void abandon(int exit_code);

 private:
  Index rank_ = 0, size_ = 1;
};

// Of the calling process, which is one of the run's workers; all of them call it together. `doing` says `waiting` while
// it waits for others.
[[nodiscard]] RankLinks make_mpi_links(const backends::RunConfig& run, Index rank, std::atomic<Doing>& doing);

}  // namespace mlbench::parallel
