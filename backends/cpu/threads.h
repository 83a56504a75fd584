// OpenMP, behind two names.
#pragma once

#include <functional>

#include "core/tensor.h"

namespace mlbench::cpu {

// How many threads "all" are.
[[nodiscard]] int all_threads();

// How many of `threads` are worth waking for so many multiplications: one below a million, which take a thread less
// time than others need to come and go.
[[nodiscard]] int worthwhile(Index multiplications, int threads);

// Calls work(item, thread) once for every item in [0, count), on up to `threads` threads numbered from 0. One of the
// exceptions that pieces throw is thrown here; the pieces not yet begun are then left out.
void parallel_for(Index count, int threads, const std::function<void(Index item, int thread)>& work);

// While it lives, the regions that this thread opens, oneDNN's too, have `threads` threads, or as many as
// OMP_THREAD_LIMIT leaves.
class ThreadCount {
 public:
  explicit ThreadCount(int threads);
  ~ThreadCount();
  ThreadCount(const ThreadCount&) = delete;
  ThreadCount& operator=(const ThreadCount&) = delete;

 private:
  int before_;
};

}  // namespace mlbench::cpu
