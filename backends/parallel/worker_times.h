// Where a worker's time went.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace mlbench::parallel {

enum class Activity : unsigned char { work, all_reduce, send, receive, transfer };
[[nodiscard]] std::string_view name(Activity activity);

// One stretch of time, in seconds of this program's steady clock.
struct WorkerEvent {
  Activity activity = Activity::work;
  double begin = 0.0, end = 0.0;
};

// Since they were last taken. What stands between a worker's requests is in none of them.
struct WorkerTimes {
  double busy = 0.0;  // from a request to its answer, with what follows
  double all_reduce = 0.0, send = 0.0, receive = 0.0;
  double transfer = 0.0;  // entries of the cache to the other instance, or from it, with the wait for them
  std::uint64_t reduced_bytes = 0, sent_bytes = 0, transferred_bytes = 0;
  std::uint64_t peak_memory_bytes = 0;  // of its process so far
  std::vector<WorkerEvent> events;      // where they were asked for
};

// A session of several workers that measures them.
class MeasuredWorkers {
 public:
  virtual ~MeasuredWorkers() = default;
  // Of every worker, and starts anew; empty where they are not measured.
  [[nodiscard]] virtual std::vector<WorkerTimes> take_times(bool with_events) = 0;
};

}  // namespace mlbench::parallel
