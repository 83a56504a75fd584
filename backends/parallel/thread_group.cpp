#include "backends/parallel/thread_group.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <vector>

#include "core/error.h"

namespace mlbench::parallel {

class ThreadGroups::Meeting {
 public:
  explicit Meeting(const Split& split)
      : split_(split),
        stages_(static_cast<std::size_t>(split.pipeline_parallel)),
        boxes_(static_cast<std::size_t>(split.workers())) {
    for (Stage& stage : stages_) stage.parts.resize(static_cast<std::size_t>(split.tensor_parallel));
  }

  void all_reduce(Index worker, std::span<float> values) {
    std::unique_lock lock(mutex_);
    Stage& stage = stages_[static_cast<std::size_t>(worker / split_.tensor_parallel)];
    stage.parts[static_cast<std::size_t>(worker % split_.tensor_parallel)] = values;
    const std::size_t round = stage.round;
    if (++stage.arrived == split_.tensor_parallel) {
      stage.add_up();
      changed_.notify_all();
    }
    wait(lock, [&] { return stage.round != round; });
    std::ranges::copy(stage.sum, values.begin());  // stays until all have come again
  }

  void put(Index worker, std::span<const std::byte> bytes) {
    const std::lock_guard lock(mutex_);
    box(worker).emplace_back(bytes.begin(), bytes.end());
    changed_.notify_all();
  }

  void get(Index worker, std::span<std::byte> bytes) {
    std::unique_lock lock(mutex_);
    wait(lock, [&] { return !box(worker).empty(); });
    std::ranges::copy(box(worker).front(), bytes.begin());
    box(worker).pop_front();
  }

  void leave() {
    const std::lock_guard lock(mutex_);
    left_ = true;
    changed_.notify_all();
  }

  [[nodiscard]] Index shards() const { return split_.tensor_parallel; }

 private:
  struct Stage {
    std::vector<std::span<const float>> parts;
    std::vector<float> sum;
    Index arrived = 0;
    std::size_t round = 0;

    void add_up() {
      sum.assign(parts[0].begin(), parts[0].end());
      for (std::size_t shard = 1; shard < parts.size(); ++shard)
        std::ranges::transform(sum, parts[shard], sum.begin(), std::plus<>());
      arrived = 0;
      ++round;
    }
  };

  std::deque<std::vector<std::byte>>& box(Index worker) { return boxes_[static_cast<std::size_t>(worker)]; }

  template <class Happened>
  void wait(std::unique_lock<std::mutex>& lock, const Happened& happened) {
    changed_.wait(lock, [&] { return left_ || happened(); });
    if (!happened()) throw Error(ErrorKind::internal, "parallel.stopped", "it waited for another, which failed");
  }

  Split split_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Stage> stages_;
  std::vector<std::deque<std::vector<std::byte>>> boxes_;  // by the worker that receives
  bool left_ = false;
};

class ThreadGroups::Worker final : public backends::Group {
 public:
  Worker(std::shared_ptr<Meeting> meeting, Index worker) : meeting_(std::move(meeting)), worker_(worker) {}

  void all_reduce(std::span<float> values) override { meeting_->all_reduce(worker_, values); }
  void send_on(std::span<const std::byte> bytes) override { meeting_->put(worker_ + meeting_->shards(), bytes); }
  void receive(std::span<std::byte> bytes) override { meeting_->get(worker_, bytes); }

 private:
  std::shared_ptr<Meeting> meeting_;
  Index worker_;
};

ThreadGroups::ThreadGroups(const Split& split) : meeting_(std::make_shared<Meeting>(split)) {}
ThreadGroups::~ThreadGroups() = default;

std::shared_ptr<backends::Group> ThreadGroups::of(Index worker) const {
  return std::make_shared<Worker>(meeting_, worker);
}

void ThreadGroups::leave() { meeting_->leave(); }

}  // namespace mlbench::parallel
