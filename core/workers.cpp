#include "core/workers.h"

#include <system_error>

#include <fmt/format.h>

#include "core/error.h"

namespace mlbench {

Workers::Workers(int count) {
  threads_.reserve(static_cast<std::size_t>(count > 1 ? count - 1 : 0));
  try {
    for (int i = 1; i < count; ++i) threads_.emplace_back([this] { serve(); });
  } catch (const std::system_error& error) {
    stop();
    throw Error(ErrorKind::internal, "threads", fmt::format("{} threads cannot be started: {}", count, error.what()));
  }
}

Workers::~Workers() { stop(); }

void Workers::stop() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  start_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Workers::each(Index items, const std::function<void(Index)>& work) {
  if (items <= 1 || threads_.empty()) {  // waking the others would cost more than it brings
    for (Index item = 0; item < items; ++item) work(item);
    return;
  }
  std::unique_lock lock(mutex_);
  work_ = &work;
  items_ = items;
  next_ = 0;
  failure_ = nullptr;
  busy_ = static_cast<int>(threads_.size());
  ++round_;
  lock.unlock();
  start_.notify_all();
  take_items();
  lock.lock();
  done_.wait(lock, [this] { return busy_ == 0; });
  work_ = nullptr;
  if (failure_) std::rethrow_exception(failure_);
}

void Workers::serve() {
  std::uint64_t seen = 0;
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      start_.wait(lock, [&] { return stop_ || round_ != seen; });
      if (stop_) return;
      seen = round_;
    }
    take_items();
    {
      const std::lock_guard lock(mutex_);
      --busy_;
    }
    done_.notify_one();
  }
}

void Workers::take_items() {
  for (;;) {
    const std::function<void(Index)>* work = nullptr;
    Index item = 0;
    {
      const std::lock_guard lock(mutex_);
      if (next_ >= items_) return;
      item = next_++;
      work = work_;
    }
    try {
      (*work)(item);
    } catch (...) {
      const std::lock_guard lock(mutex_);
      failure_ = std::current_exception();
      next_ = items_;
    }
  }
}

int Workers::hardware() {
  const unsigned count = std::thread::hardware_concurrency();
  return count == 0 ? 1 : static_cast<int>(count);
}

}  // namespace mlbench
