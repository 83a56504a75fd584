// The group of workers that are threads of one process: sums with shards in ascending order. For tests of everything
// that is parallel but the way between processes.
#pragma once

#include <memory>

#include "backends/group.h"
#include "models/parts.h"

namespace mlbench::parallel {

class ThreadGroups {
 public:
  explicit ThreadGroups(const Split& split);
  ~ThreadGroups();
  ThreadGroups(const ThreadGroups&) = delete;
  ThreadGroups& operator=(const ThreadGroups&) = delete;

  // Of one worker; all of them together outlive this.
  [[nodiscard]] std::shared_ptr<backends::Group> of(Index worker) const;
  // A worker failed: from now on the others do not wait for it, they fail too.
  void leave();

 private:
  class Meeting;
  class Worker;
  std::shared_ptr<Meeting> meeting_;
};

}  // namespace mlbench::parallel
