// What the workers of a run reach each other with where they are threads of one process: the group of each replica of
// each instance, and the transports between the two instances of a disaggregated run.
#pragma once

#include <memory>
#include <vector>

#include "backends/backend.h"
#include "backends/parallel/thread_group.h"

namespace mlbench::parallel {

class ThreadLinks {
 public:
  explicit ThreadLinks(const backends::RunConfig& run);
  ~ThreadLinks();
  ThreadLinks(const ThreadLinks&) = delete;
  ThreadLinks& operator=(const ThreadLinks&) = delete;

  // Of one worker, numbered over replicas and both instances; all of them together outlive this.
  [[nodiscard]] std::shared_ptr<backends::Group> group(Index worker) const;
  // Null where the run is not disaggregated.
  [[nodiscard]] std::shared_ptr<backends::KvTransports> transports(Index worker) const;
  // A worker failed: the others do not wait for it.
  void leave();

 private:
  class Exchange;
  class Worker;

  Index workers_;  // of a group
  std::vector<std::unique_ptr<ThreadGroups>> groups_;
  std::shared_ptr<Exchange> exchange_;
};

}  // namespace mlbench::parallel
