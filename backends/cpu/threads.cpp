#include "backends/cpu/threads.h"

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <exception>

namespace mlbench::cpu {

int all_threads() { return omp_get_num_procs(); }

int worthwhile(Index multiplications, int threads) { return multiplications < Index{1} << 20U ? 1 : threads; }

void parallel_for(Index count, int threads, const std::function<void(Index, int)>& work) {
  const int team = static_cast<int>(std::min<Index>(count, threads));
  if (team <= 1) {
    for (Index item = 0; item < count; ++item) work(item, 0);
    return;
  }
  std::exception_ptr failure;
  std::atomic<bool> failed = false;
#pragma omp parallel for schedule(dynamic) num_threads(team)
  for (Index item = 0; item < count; ++item) {
    if (failed) continue;
    try {
      work(item, omp_get_thread_num());
    } catch (...) {
      if (!failed.exchange(true)) failure = std::current_exception();
    }
  }
  if (failure) std::rethrow_exception(failure);
}

// oneDNN shares work out among as many threads as OpenMP promises and computes garbage where it then gets fewer, as
// under OMP_THREAD_LIMIT.
ThreadCount::ThreadCount(int threads) : before_(omp_get_max_threads()) {
  omp_set_num_threads(std::min(threads, omp_get_thread_limit()));
}
ThreadCount::~ThreadCount() { omp_set_num_threads(before_); }

}  // namespace mlbench::cpu
