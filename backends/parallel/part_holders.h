// Those who hold the parts of a model: threads of this process, or processes of this machine and of others. Numbered
// stage by stage (models/parts.h).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backends/backend.h"
#include "backends/parallel/worker_times.h"
#include "models/parts.h"

namespace mlbench::parallel {

// A session of each worker, and the parts that they were made from where these are here: replica after replica, and of
// a disaggregated run those of the prefill instance, then those of the decode instance.
struct LoadedParts {
  std::vector<std::shared_ptr<const Model>> models;
  std::vector<std::unique_ptr<backends::Session>> sessions;
};

class PartHolders {
 public:
  virtual ~PartHolders() = default;

  // "rank 2 of 4 on node7", for messages.
  [[nodiscard]] virtual std::string name(Index worker) const = 0;
  // `run` as for a model in one piece, but for the split.
  [[nodiscard]] virtual LoadedParts load(const Model& model, const backends::RunConfig& run) = 0;
  // Of the first so many workers (MeasuredWorkers::take_times).
  [[nodiscard]] virtual std::vector<WorkerTimes> take_times(Index /*workers*/, bool /*with_events*/) { return {}; }
  // A worker's call failed: the others are not to wait for it.
  virtual void leave() = 0;
  // Of workers that did not answer in time, because one of them waits for another: whom they wait for. `worker`: the
  // first that was noticed.
  [[nodiscard]] virtual Index culprit(Index worker) { return worker; }
};

// Threads, which share the backend.
[[nodiscard]] std::unique_ptr<PartHolders> make_thread_holders(backends::Backend& backend);

// How many workers there are under `run`, in both instances where it is disaggregated, and in one.
[[nodiscard]] Index workers_of(const backends::RunConfig& run);
[[nodiscard]] Index workers_of_instance(const backends::RunConfig& run);
[[nodiscard]] Split split_of(const backends::RunConfig& run);
// Under what a worker loads its part.
[[nodiscard]] backends::RunConfig run_of_worker(const backends::RunConfig& run, Index layers, Index worker);

}  // namespace mlbench::parallel
