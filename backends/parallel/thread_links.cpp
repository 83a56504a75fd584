#include "backends/parallel/thread_links.h"

#include <map>
#include <mutex>

#include "backends/in_process_kv.h"
#include "backends/parallel/part_holders.h"

namespace mlbench::parallel {

// One InProcessKv for the n-th caches of all workers, as long as one of them is there. Two instances are never asked at
// the same time, and what the workers of one do, each does at an end of its own.
class ThreadLinks::Exchange {
 public:
  explicit Exchange(const backends::RunConfig& run) : split_(split_of(run)), groups_(2 * run.replicas) {}

  std::shared_ptr<backends::KvTransport> end(Index cache, Index worker) {
    const std::lock_guard lock(mutex_);
    std::shared_ptr<backends::InProcessKv> all = of_cache_[cache].lock();
    if (all == nullptr) {
      all = std::make_shared<backends::InProcessKv>();
      for (Index group = 0; group < groups_; ++group) (void)all->add_instance(split_);
      of_cache_[cache] = all;
    }
    return {all, &all->worker(worker)};
  }

 private:
  Split split_;
  Index groups_;
  std::mutex mutex_;
  std::map<Index, std::weak_ptr<backends::InProcessKv>> of_cache_;
};

class ThreadLinks::Worker final : public backends::KvTransports {
 public:
  Worker(std::shared_ptr<Exchange> exchange, Index worker) : exchange_(std::move(exchange)), worker_(worker) {}

  [[nodiscard]] std::shared_ptr<backends::KvTransport> next() override { return exchange_->end(caches_++, worker_); }

 private:
  std::shared_ptr<Exchange> exchange_;
  Index worker_, caches_ = 0;
};

ThreadLinks::ThreadLinks(const backends::RunConfig& run) : workers_(split_of(run).workers()) {
  for (Index first = 0; first < workers_of(run); first += workers_)
    groups_.push_back(std::make_unique<ThreadGroups>(split_of(run)));
  if (run.disaggregated) exchange_ = std::make_shared<Exchange>(run);
}
ThreadLinks::~ThreadLinks() = default;

std::shared_ptr<backends::Group> ThreadLinks::group(Index worker) const {
  return groups_[static_cast<std::size_t>(worker / workers_)]->of(worker % workers_);
}

std::shared_ptr<backends::KvTransports> ThreadLinks::transports(Index worker) const {
  return exchange_ == nullptr ? nullptr : std::make_shared<Worker>(exchange_, worker);
}

void ThreadLinks::leave() {
  for (const auto& group : groups_) group->leave();
}

}  // namespace mlbench::parallel
