// What a rank notes of its time: requests, and what it does with its group meanwhile.
#pragma once

#include <chrono>
#include <memory>
#include <span>

#include "backends/group.h"
#include "backends/kv_transport.h"
#include "backends/parallel/worker_times.h"

namespace mlbench::parallel {

class Recorder {
 public:
  // Seconds of the steady clock.
  [[nodiscard]] static double now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  }
  void note(Activity activity, double begin, double end, std::size_t bytes = 0);
  // All since the last time, and starts anew.
  [[nodiscard]] WorkerTimes take();

 private:
  WorkerTimes times_;
};

// A group whose calls are noted. `recorder` must outlive it.
[[nodiscard]] std::shared_ptr<backends::Group> recorded(std::shared_ptr<backends::Group> group, Recorder& recorder);

// Transports whose ends are noted: what they send, and what they wait for.
[[nodiscard]] std::shared_ptr<backends::KvTransports> recorded(std::shared_ptr<backends::KvTransports> transports,
                                                               Recorder& recorder);

}  // namespace mlbench::parallel
