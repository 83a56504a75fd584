// A fixed set of threads that share out independent pieces of work.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "core/tensor.h"

namespace mlbench {

class Workers {
 public:
  // `count` threads take part in each(); the caller is one of them. count >= 1. Throws an internal error (threads) when
  // the system refuses them.
  explicit Workers(int count);
  ~Workers();
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  [[nodiscard]] int count() const { return static_cast<int>(threads_.size()) + 1; }

  // Calls work(item) once for every item in [0, items), on any thread, in any order, and returns when all are done.
  // Pieces must not depend on each other: results then do not depend on the number of threads.
  // If pieces throw, the remaining ones may be left out and one of the exceptions is thrown here.
  // One call at a time; a piece must not call each() itself.
  void each(Index items, const std::function<void(Index item)>& work);

  // The machine's hardware threads, at least 1.
  [[nodiscard]] static int hardware();

 private:
  void stop();
  void serve();
  void take_items();

  std::vector<std::thread> threads_;
  std::mutex mutex_;
  std::condition_variable start_;
  std::condition_variable done_;
  const std::function<void(Index)>* work_ = nullptr;  // guarded by mutex_, as are all below
  Index items_ = 0;
  Index next_ = 0;
  int busy_ = 0;
  std::uint64_t round_ = 0;
  bool stop_ = false;
  std::exception_ptr failure_;
};

}  // namespace mlbench
