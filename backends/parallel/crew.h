// One thread for each worker, which makes that worker's calls: workers wait for each other in them.
#pragma once

#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "core/tensor.h"

namespace mlbench::parallel {

class Crew {
 public:
  explicit Crew(Index workers);
  ~Crew();
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;

  using Work = std::function<void(Index worker)>;
  // Does the work for workers [first, first + count), each on its thread, and returns when all are done: what each of
  // them threw, in their order. `failed` is called once for each that threw, from its thread, when it does.
  [[nodiscard]] std::vector<std::exception_ptr> run(Index first, Index count, const Work& work, const Work& failed);

 private:
  struct Thread {
    const Work* work = nullptr;  // null: nothing to do
    const Work* failed = nullptr;
    std::exception_ptr thrown;
    std::jthread thread;
  };
  void serve(Index worker);

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Thread> threads_;
  bool over_ = false;
};

}  // namespace mlbench::parallel
