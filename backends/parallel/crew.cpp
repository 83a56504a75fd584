#include "backends/parallel/crew.h"

#include <algorithm>

namespace mlbench::parallel {

Crew::Crew(Index workers) : threads_(static_cast<std::size_t>(workers)) {
  for (Index worker = 0; worker < workers; ++worker)
    threads_[static_cast<std::size_t>(worker)].thread = std::jthread([this, worker] { serve(worker); });
}

Crew::~Crew() {
  const std::lock_guard lock(mutex_);
  over_ = true;
  changed_.notify_all();
}

std::vector<std::exception_ptr> Crew::run(Index first, Index count, const Work& work, const Work& failed) {
  std::unique_lock lock(mutex_);
  const std::span<Thread> threads =
      std::span(threads_).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count));
  for (Thread& thread : threads) {
    thread.thrown = nullptr;
    thread.failed = &failed;
    thread.work = &work;
  }
  changed_.notify_all();
  changed_.wait(lock, [&] { return std::ranges::all_of(threads, [](const Thread& t) { return t.work == nullptr; }); });
  std::vector<std::exception_ptr> thrown;
  for (const Thread& thread : threads) thrown.push_back(thread.thrown);
  return thrown;
}

void Crew::serve(Index worker) {
  Thread& own = threads_[static_cast<std::size_t>(worker)];
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return over_ || own.work != nullptr; });
    if (own.work == nullptr) return;
    lock.unlock();
    std::exception_ptr thrown;
    try {
      (*own.work)(worker);
    } catch (...) {
      thrown = std::current_exception();
      (*own.failed)(worker);
    }
    lock.lock();
    own.thrown = thrown;
    own.work = nullptr;
    changed_.notify_all();
  }
}

}  // namespace mlbench::parallel
